//! What was computed is cleared and computed again.

mod archived;
mod refused;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::{Call, Folder, alluvium, epochs, history, read};

/// Tables in a row, aggregates in the middle and beside, rejects, and processing times that tables show.
pub const SPEC: &str = r#"
pipeline: again
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint, word: string }, on_bad_row: quarantine,
             add: { at: ingest_time } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
  upper:   { kind: sql, input: first, query: "SELECT id, upper(word) AS word, at FROM input" }
  second:  { kind: delta, input: upper, table: "${LAKE}/second", partition_by: [word] }
  words:   { kind: aggregate, input: second, by: [word],
             columns: { n: { count: "*" }, least: { min: id }, newest: { max: at } } }
  third:   { kind: delta, input: words, table: "${LAKE}/third", mode: upsert }
  times:   { kind: aggregate, input: first, by: [at], columns: { n: { count: "*" } } }
  fourth:  { kind: delta, input: times, table: "${LAKE}/fourth", mode: upsert }
  bad:     { kind: delta, input: numbers.rejects, table: "${LAKE}/bad" }
"#;

pub const TABLES: [&str; 5] = ["first", "second", "third", "fourth", "bad"];

/// What another program reads of a table, epoch by epoch.
pub type Told = BTreeMap<u64, Vec<Value>>;

pub struct Case {
    pub folder: Folder,
    pub spec: String,
}

impl Case {
    pub fn new(name: &str, files: std::ops::Range<usize>) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        let case = Self { folder, spec };
        case.put(files);
        case
    }

    /// Ten rows and a line that is none.
    pub fn put(&self, files: std::ops::Range<usize>) {
        for n in files {
            let row = |r: usize| format!("{{\"id\":{},\"word\":\"w{}\"}}\n", n * 10 + r, (n + r) % 4);
            let rows: String = (0..10).map(row).collect();
            self.folder.write(&format!("in/{n:04}.json"), &format!("{rows}bad {n}\n"));
        }
    }

    pub fn call(&self, command: &str, arguments: &[&str]) -> Call {
        let all: Vec<&str> = [command, self.spec.as_str()].iter().chain(arguments).copied().collect();
        alluvium(&all).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    pub fn url(&self, table: &str) -> String {
        self.folder.text(&format!("lake/{table}"))
    }

    pub fn told(&self) -> BTreeMap<&'static str, Told> {
        let mut told: BTreeMap<&str, Told> = TABLES.iter().map(|t| (*t, epochs(&self.url(t)))).collect();
        for rows in told.values_mut().flat_map(Told::values_mut) {
            rows.sort_by_key(ToString::to_string);
        }
        told
    }

    pub fn commits(&self, table: &str) -> Vec<Value> {
        history(&self.url(table))
    }

    /// That a table was not touched: its commits are those.
    #[track_caller]
    pub fn assert_kept(&self, tables: &[&str], before: &BTreeMap<&str, Vec<Value>>) {
        for table in tables {
            assert_eq!(&self.commits(table), &before[table], "{table} was touched");
        }
    }

    pub fn all_commits(&self) -> BTreeMap<&'static str, Vec<Value>> {
        TABLES.iter().map(|t| (*t, self.commits(t))).collect()
    }

    /// Everything below the lake, with its content.
    pub fn lake(&self) -> BTreeMap<String, Vec<u8>> {
        let mut all = BTreeMap::new();
        walk(&self.folder.path("lake"), &mut all);
        all
    }
}

fn walk(folder: &Path, all: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            walk(&entry, all);
        } else {
            all.insert(entry.display().to_string(), std::fs::read(&entry).unwrap());
        }
    }
}

#[test]
fn an_aggregate_in_the_middle_comes_out_as_it_was() {
    let case = Case::new("middle", 0..4);
    case.call("run", &[]).ok();
    case.put(4..6);
    case.call("run", &["--workers", "2"]).ok();
    let (before, commits) = (case.told(), case.all_commits());
    let kept = |path: &String| ["/first/", "/second/", "/fourth/", "/bad/"].iter().any(|table| path.contains(table));
    let files: Vec<String> = case.lake().into_keys().filter(kept).collect();
    let out = case.call("refresh", &["--stage", "words", "--yes"]).ok();
    assert!(out.contains("the same epochs are computed again, from the same 6 objects"), "{out}");
    assert!(out.contains("these tables are kept: first, second, fourth, bad\n"), "{out}");
    assert!(out.contains("  table third  deleted: version 6, 4 rows  "), "{out}");
    assert!(out.contains("  state of words, times  deleted\n"), "{out}");
    assert_eq!(case.told(), before);
    // What was staged again for epochs that they held is gone.
    let now: Vec<String> = case.lake().into_keys().filter(kept).collect();
    assert_eq!(now, files);
    case.assert_kept(&["first", "second", "fourth", "bad"], &commits);
    // Made anew, all of it.
    let made = |commits: &[Value]| commits.iter().map(|c| c["timestamp"].as_i64().unwrap()).min();
    assert!(made(&case.commits("third")) > made(&commits["third"]));
    assert!(case.call("run", &[]).ok().contains("nothing new to process"));
    case.put(6..7);
    case.call("run", &[]).ok();
    let told = case.told();
    assert!(TABLES.iter().all(|table| told[table].len() == 7), "{told:?}");
    let n: i64 = read(&case.url("third")).select(&["n"]).iter().map(|row| row[0].as_i64().unwrap()).sum();
    assert_eq!(n, 70);
}

#[test]
fn all_tables_come_out_as_they_were() {
    let case = Case::new("all", 0..5);
    case.call("run", &[]).ok();
    let before = case.told();
    // What is not the table's, and what a failed attempt has left.
    let foreign = case.folder.write("lake/second/notes.txt", "mine");
    let other = case.folder.write("lake/second/other.parquet", "mine as well");
    let leftover = "lake/first/part-0000000003-0-0123456789abcdef0123456789abcdef.zstd.parquet";
    let leftover = case.folder.write(leftover, "x");
    let out = case.call("refresh", &["--yes", "--workers", "2"]).ok();
    assert!(out.contains("no table is kept"), "{out}");
    assert_eq!(case.told(), before);
    assert_eq!(std::fs::read_to_string(foreign).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(other).unwrap(), "mine as well");
    assert!(!leftover.exists());
    for table in TABLES {
        let named = case.lake().keys().filter(|k| k.contains(&format!("/lake/{table}/_delta_log/"))).count();
        assert_eq!(named, case.commits(table).len(), "entries of the old log of {table}");
    }
}

#[test]
fn a_changed_stage_and_a_new_one_are_filled_from_the_beginning() {
    let case = Case::new("changed", 0..3);
    case.call("run", &[]).ok();
    let commits = case.all_commits();
    let changed = SPEC.replace("least: { min: id }", "least: { min: id }, most: { max: id }");
    let added = "  more:    { kind: aggregate, input: first, by: [word], columns: { sum: { sum: id } } }\n  \
                 fifth:   { kind: delta, input: more, table: \"${LAKE}/fifth\", mode: upsert }\n";
    std::fs::write(&case.spec, format!("{changed}{added}")).unwrap();
    let done = case.call("run", &[]).run();
    assert_eq!(done.code, Some(1));
    assert!(
        done.err.contains("alluvium refresh SPEC --stage more")
            || done.err.contains("alluvium refresh SPEC --stage words"),
        "{}",
        done.err
    );
    let done = case.call("refresh", &["--stage", "more", "--yes"]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("stage `words` has changed since its state was written"), "{}", done.err);
    assert!(done.err.contains("`--stage words`"), "{}", done.err);
    case.call("refresh", &["--stage", "more", "--stage", "words", "--yes"]).ok();
    case.assert_kept(&["first", "second", "fourth", "bad"], &commits);
    let third = read(&case.url("third")).select(&["word", "least", "most"]);
    let fifth = read(&case.url("fifth")).select(&["word", "sum"]);
    for word in 0..4 {
        let ids: Vec<usize> = (0..30).filter(|id| (id / 10 + id % 10) % 4 == word).collect();
        let (least, most, sum) = (ids[0], ids[ids.len() - 1], ids.iter().sum::<usize>());
        assert_eq!(third[word], [format!("W{word}").into(), least.into(), Value::from(most)]);
        assert_eq!(fifth[word], [format!("w{word}").into(), Value::from(sum)]);
    }
}

#[test]
fn full_reads_what_is_there_now() {
    let case = Case::new("full", 0..4);
    case.call("run", &[]).ok();
    case.folder.write("in/0001.json", "{\"id\":500,\"word\":\"new\"}\n");
    std::fs::remove_file(case.folder.path("in/0002.json")).unwrap();
    let lake = case.lake();
    let done = case.call("refresh", &["--yes"]).run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    let told = "of 4 objects that source `numbers` has read, 1 are not there any more and 1 were written again";
    assert!(done.err.contains(told), "{}", done.err);
    assert!(done.err.contains("0001.json") && done.err.contains("with `--full`"), "{}", done.err);
    assert_eq!(without_lease(case.lake()), without_lease(lake), "nothing was changed");
    let out = case.call("refresh", &["--full", "--yes"]).ok();
    assert!(out.contains("everything is forgotten") && out.contains("4 objects were"), "{out}");
    let mut ids: Vec<i64> = read(&case.url("first")).select(&["id"]).iter().map(|r| r[0].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..10).chain(30..40).chain([500]).collect::<Vec<_>>());
    assert_eq!(case.told()["third"].len(), 3, "epochs are counted anew");
    let ledger = case.call("ledger", &["--format", "csv"]).ok();
    assert_eq!(ledger.lines().count(), 4, "{ledger}");
}

#[test]
fn full_forgets_what_stages_have_resolved() {
    let case = Case::new("resolved", 0..1);
    let inferred = SPEC.replace("schema: { id: bigint, word: string }, on_bad_row: quarantine,", "schema: infer,");
    let inferred = inferred.replace("  bad:     { kind: delta, input: numbers.rejects, table: \"${LAKE}/bad\" }\n", "");
    std::fs::write(&case.spec, inferred).unwrap();
    case.folder.write("in/0000.json", "{\"id\":1,\"word\":\"a\"}\n");
    case.call("run", &[]).ok();
    case.folder.write("in/0000.json", "{\"id\":\"x\",\"word\":\"a\"}\n");
    case.call("refresh", &["--full", "--yes"]).ok();
    assert_eq!(read(&case.url("first")).select(&["id"]), [["x"]]);
}

/// Who has the lease is written down whatever comes of it.
pub fn without_lease(mut lake: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    lake.retain(|path, _| !path.contains("/_state/lease/"));
    lake
}

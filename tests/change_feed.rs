//! What our own tables tell their readers of changes, read by another program.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::support::{Call, Folder, alluvium, history, read_feed, read_version, write_table};

/// Counts of words: rows of a key change, and leave the table when the sum is not even.
const SPEC: &str = r#"
pipeline: feed
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  words:  { kind: files, url: "${IN}", format: json, schema: { word: string, size: bigint } }
  counts: { kind: aggregate, input: words, by: [word], columns: { n: { count: "*" }, sum: { sum: size } } }
  even:   { kind: sql, input: counts, query: "SELECT word, sum FROM input WHERE sum % 2 = 0" }
  table:  { kind: delta, input: even, table: "${LAKE}/table", mode: upsert, change_feed: true }
"#;

struct Case {
    folder: Folder,
    spec: String,
    table: String,
}

impl Case {
    fn new(name: &str, spec: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", spec).display().to_string();
        let table = folder.text("lake/table");
        Self { folder, spec, table }
    }

    fn call(&self) -> Call {
        let call = alluvium(&["run", &self.spec, "--workers", "2"]);
        call.env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn put(&self, file: i64, words: i64) {
        let line = |n: i64| format!("{{\"word\":\"w{}\",\"size\":{}}}\n", (n * 7 + file * 3) % words, (n + file) % 5);
        self.folder.write(&format!("in/{file:02}.json"), &(0..20).map(line).collect::<String>());
    }

    /// Every version is the one before with its feed; gives how many rows each version tells, by what became of them.
    #[track_caller]
    fn replay(&self, columns: &[&str], first: u64) -> Vec<BTreeMap<String, usize>> {
        let newest = history(&self.table)[0]["version"].as_u64().unwrap();
        let all = [&["_commit_version", "_change_type"], columns].concat();
        let feed = read_feed(&self.table, first + 1).select(&all);
        let mut held = read_version(&self.table, first).select(columns);
        let mut counts = Vec::new();
        for version in first + 1..=newest {
            let mut told: BTreeMap<String, usize> = BTreeMap::new();
            let of_version: Vec<&Vec<Value>> = feed.iter().filter(|row| row[0] == json!(version)).collect();
            for row in &of_version {
                *told.entry(row[1].as_str().unwrap().into()).or_default() += 1;
            }
            for row in of_version.iter().filter(|r| matches!(r[1].as_str(), Some("delete" | "update_preimage"))) {
                let place = held.iter().position(|h| h == &row[2..]);
                held.remove(place.unwrap_or_else(|| panic!("version {version} has no row {row:?}")));
            }
            for row in of_version.iter().filter(|r| matches!(r[1].as_str(), Some("insert" | "update_postimage"))) {
                held.push(row[2..].to_vec());
            }
            held.sort_by_key(|r| serde_json::to_string(r).unwrap());
            assert_eq!(read_version(&self.table, version).select(columns), held, "version {version}");
            counts.push(told);
        }
        counts
    }
}

#[test]
fn the_feed_of_an_upsert_leads_from_version_to_version() {
    let case = Case::new("feed", SPEC);
    for file in 0..12 {
        case.put(file, 9);
    }
    case.call().ok();
    let told = case.replay(&["word", "sum"], 0);
    assert_eq!(told.len(), 12);
    for what in ["insert", "delete", "update_preimage", "update_postimage"] {
        assert!(told.iter().any(|of| of.contains_key(what)), "no {what}: {told:?}");
    }
}

#[test]
fn the_feed_has_each_epoch_once_after_kills() {
    for point in ["after-binding", "after-staging", "after-commit:table", "after-complete"] {
        let case = Case::new("feed-killed", SPEC);
        for file in 0..6 {
            case.put(file, 9);
        }
        for epoch in [2, 4] {
            let failing = case.call().env("ALLUVIUM_FAILPOINT", &format!("{point}@{epoch}"));
            assert_eq!(failing.command().output().unwrap().status.signal(), Some(9), "{point}@{epoch}");
        }
        case.call().ok();
        assert_eq!(case.replay(&["word", "sum"], 0).len(), 6, "{point}");
    }
}

const KEYED: &str = r#"
pipeline: keyed
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  rows:  { kind: files, url: "${IN}", format: json, schema: { id: bigint, city: string, at: bigint } }
  table: { kind: delta, input: rows, table: "${LAKE}/table", mode: upsert, key: [id], latest_by: at }
"#;

#[test]
fn a_property_that_another_program_sets_is_enough_and_equal_rows_are_no_change() {
    let case = Case::new("feed-set", KEYED);
    let lines = |rows: &[(i64, &str, i64)]| -> String {
        rows.iter().map(|(id, city, at)| format!("{}\n", json!({ "id": id, "city": city, "at": at }))).collect()
    };
    case.folder.write("in/1.json", &lines(&[(1, "Kyoto", 1), (2, "Lima", 1), (3, "Bern", 5)]));
    case.call().ok();
    write_table(&case.table, &json!([{ "set": { "delta.enableChangeDataFeed": "true" } }]));
    // The same row again, a newer one, an older one, and a new key.
    case.folder.write("in/2.json", &lines(&[(1, "Kyoto", 1), (2, "Oslo", 2), (3, "Rome", 4), (4, "Cork", 1)]));
    case.folder.write("in/3.json", &lines(&[(1, "Kyoto", 1), (3, "Rome", 4)]));
    case.folder.write("in/4.json", &lines(&[(5, "Nice", 1)]));
    case.call().ok();
    let told = case.replay(&["id", "city", "at"], 1);
    let of = |counts: &[(&str, usize)]| counts.iter().map(|(what, n)| ((*what).to_owned(), *n)).collect();
    let set = BTreeMap::new();
    assert_eq!(
        told,
        [set, of(&[("insert", 1), ("update_postimage", 1), ("update_preimage", 1)]), of(&[]), of(&[("insert", 1)])]
    );
}

#[test]
fn a_feed_can_be_turned_on_for_rows_that_are_added() {
    let spec = KEYED.replace("mode: upsert, key: [id], latest_by: at", "change_feed: true");
    let before = Case::new("feed-append", &spec.replace("change_feed: true", ""));
    before.put(0, 5);
    before.call().ok();
    // An existing table gets the property, a new one has it from the beginning.
    std::fs::write(&before.spec, &spec).unwrap();
    before.put(1, 5);
    before.call().ok();
    let told = before.replay(&["id", "city", "at"], 1);
    assert_eq!(told.iter().map(|of| of.get("insert").copied()).collect::<Vec<_>>(), [None, Some(20)]);

    let new = Case::new("feed-new", &spec);
    new.put(0, 5);
    new.call().ok();
    let told = new.replay(&["id", "city", "at"], 0);
    assert_eq!(told.iter().map(|of| of.get("insert").copied()).collect::<Vec<_>>(), [Some(20)]);
}

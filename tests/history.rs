//! What epochs have read and written, and tables as they were after an epoch.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Call, Folder, alluvium, epochs, history, python};

/// An epoch for every object; a table with rows, one with a row per key, and a model's name in the commits of one.
const SPEC: &str = r#"
pipeline: past
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  all:     { kind: delta, input: numbers, table: "${LAKE}/all" }
  parts:   { kind: sql, input: all, query: "SELECT id % 3 AS part FROM input" }
  counted: { kind: aggregate, input: parts, by: [part], columns: { n: { count: "*" } } }
  totals:  { kind: delta, input: counted, table: "${LAKE}/totals", mode: upsert }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str, files: std::ops::Range<usize>) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        let case = Self { folder, spec };
        case.put(files);
        case
    }

    /// The n-th has n + 1 rows.
    fn put(&self, files: std::ops::Range<usize>) {
        for n in files {
            let rows: String = (0..=n).map(|r| format!("{{\"id\":{}}}\n", n * 1_000 + r)).collect();
            self.folder.write(&format!("in/{n:04}.json"), &rows);
        }
    }

    fn call(&self, command: &str, arguments: &[&str]) -> Call {
        let all: Vec<&str> = [command, self.spec.as_str()].iter().chain(arguments).copied().collect();
        alluvium(&all).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn url(&self, table: &str) -> String {
        self.folder.text(&format!("lake/{table}"))
    }

    fn rows(&self, command: &str, arguments: &[&str]) -> Vec<Value> {
        let all: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
        self.call(command, &all).ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn bytes(&self, n: usize) -> u64 {
        std::fs::metadata(self.folder.path(&format!("in/{n:04}.json"))).unwrap().len()
    }

    /// The version that holds each epoch, as another program sees it.
    fn versions(&self, table: &str) -> BTreeMap<u64, u64> {
        let commits = history(&self.url(table));
        commits.iter().filter_map(|c| Some((c["epoch"].as_u64()?, c["version"].as_u64()?))).collect()
    }
}

#[test]
fn each_epoch_is_told_from_records_archive_and_logs() {
    let case = Case::new("told", 0..70);
    let none = case.call("history", &[]).ok();
    assert!(none.contains("| epoch | bound | committed | numbers.objects | numbers.bytes | numbers.rows |"), "{none}");
    assert!(none.ends_with("0 rows\n"), "{none}");
    case.call("run", &[]).ok();
    let rows = case.rows("history", &["--limit", "100"]);
    assert_eq!(rows.len(), 70);
    let plan = case.call("check", &[]).ok().split_once("(plan ").unwrap().1[..16].to_owned();
    let versions = ["all", "totals"].map(|table| (table, case.versions(table)));
    for (row, epoch) in rows.iter().zip((1..=70_usize).rev()) {
        assert_eq!(row["epoch"], json!(epoch), "newest first");
        assert_eq!((&row["numbers.objects"], &row["numbers.bytes"]), (&json!(1), &json!(case.bytes(epoch - 1))));
        // Completion records of archived epochs are gone, but for the newest of them.
        let known = (epoch >= 64).then_some(epoch);
        assert_eq!(row.get("numbers.rows").and_then(Value::as_u64), known.map(|n| n as u64), "epoch {epoch}");
        for (table, versions) in &versions {
            let version = json!(versions[&(epoch as u64)]);
            assert_eq!(row[&format!("{table}.version")], version, "{table} at {epoch}");
        }
        assert_eq!(row["plan"], json!(plan));
        let (bound, committed) = (row["bound"].as_str().unwrap(), row["committed"].as_str().unwrap());
        assert!(bound.starts_with("20") && bound < committed, "{bound} {committed}");
    }
    assert_eq!(case.rows("history", &[]).len(), 20);
    let csv = case.call("history", &["--limit", "1", "--format", "csv"]).ok();
    assert!(csv.starts_with("epoch,bound,committed,numbers.objects,"), "{csv}");
    assert!(csv.lines().nth(1).unwrap().starts_with("70,"), "{csv}");
    assert_eq!(case.call("history", &["--limit", "0"]).run().code, Some(2));
}

#[test]
fn the_model_of_an_epoch_is_told() {
    let folder = Folder::new("lineage");
    let spec = "\
pipeline: scored
state: ${LAKE}/_state
stages:
  texts: { kind: generate, rows: 3, columns: { text: { choice: [good] } } }
  score: { kind: classify, input: texts, text: text, model: builtin }
  gold:  { kind: delta, input: score, table: \"${LAKE}/gold\" }
";
    let spec = folder.write("spec.yaml", spec).display().to_string();
    let call = |command: &str| alluvium(&[command, &spec]).env("LAKE", &folder.text("lake"));
    call("run").ok();
    let commit = history(&folder.text("lake/gold")).into_iter().find(|c| c["epoch"] == json!(1)).unwrap();
    let shown = call("history").ok();
    for fact in ["modelName", "modelVersion", "modelHash"] {
        let fact = format!("{fact}={}", commit[fact].as_str().unwrap());
        assert!(shown.contains(&fact), "{fact} is missing: {shown}");
    }
}

#[test]
fn an_epoch_that_is_not_complete_is_not_told() {
    let case = Case::new("open", 0..3);
    case.call("run", &[]).killed_at("after-commit:all@3");
    let told: Vec<Value> = case.rows("history", &[]).iter().map(|row| row["epoch"].clone()).collect();
    assert_eq!(told, [json!(2), json!(1)]);
}

#[test]
fn all_tables_as_of_an_epoch() {
    let case = Case::new("as-of", 0..6);
    case.call("run", &[]).ok();
    let optimized = alluvium(&["table", "optimize", &case.spec]);
    optimized.env("IN", &case.folder.text("in")).env("LAKE", &case.folder.text("lake")).ok();
    case.put(6..8);
    case.call("run", &[]).ok();
    let (all, totals) = (epochs(&case.url("all")), epochs(&case.url("totals")));
    for epoch in 1..=8 {
        let at = epoch.to_string();
        let count = case.rows("query", &["SELECT count(*) AS n FROM \"all\"", "--epoch", &at]);
        assert_eq!(count[0]["n"].as_u64().unwrap() as usize, all[&epoch].len(), "epoch {epoch}");
        let mut found = case.rows("query", &["SELECT n, part FROM totals ORDER BY part", "--epoch", &at]);
        let mut expected = totals[&epoch].clone();
        for rows in [&mut found, &mut expected] {
            rows.sort_by_key(|row| row["part"].as_i64());
        }
        assert_eq!(found, expected, "epoch {epoch}");
    }
    // What only an older version names is vacuumed.
    let version = case.versions("totals")[&3];
    let log = std::fs::read_to_string(case.folder.path(&format!("lake/totals/_delta_log/{version:020}.json"))).unwrap();
    let added = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for path in added.filter_map(|line| Some(line["add"]["path"].as_str()?.to_owned())) {
        std::fs::remove_file(case.folder.path("lake/totals").join(path)).unwrap();
    }
    let done = case.call("query", &["SELECT * FROM totals", "--epoch", "3"]).run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.err.contains("was the table vacuumed? Ask for a later epoch"), "{}", done.err);
    case.call("query", &["SELECT * FROM totals"]).ok();
    for wrong in ["0", "9"] {
        let done = case.call("query", &["SELECT 1", "--epoch", wrong]).run();
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains(&format!("epoch {wrong} is not complete")), "{}", done.err);
        assert!(done.err.contains("complete are 1 to 8"), "{}", done.err);
    }
}

#[test]
fn a_log_that_was_cleaned_up_says_how_far_back_it_reaches() {
    let case = Case::new("cleaned", 0..8);
    let none = case.call("query", &["SELECT 1", "--epoch", "1"]).run();
    assert!(
        none.err.contains("epoch 1 is not complete") && none.err.contains("no epoch is complete yet"),
        "{}",
        none.err
    );
    case.call("run", &[]).ok();
    // As another program does it: a checkpoint, then the log before it goes.
    let code = "import sys, os, deltalake\n\
                table = deltalake.DeltaTable(sys.argv[1])\n\
                table.load_as_version(int(sys.argv[2]))\n\
                table.create_checkpoint()\n\
                for version in range(int(sys.argv[2])):\n\
                \x20   os.remove(f'{sys.argv[1]}/_delta_log/{version:020}.json')";
    let fifth = case.versions("all")[&5].to_string();
    python(&["-c", code, &case.url("all"), &fifth]);
    let count =
        |epoch: &str| case.call("query", &["SELECT count(*) AS n FROM \"all\"", "--epoch", epoch, "--format", "csv"]);
    assert_eq!(count("5").ok(), "n\n15\n");
    assert_eq!(count("8").ok(), "n\n36\n");
    let done = count("4").run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the log of table `all` does not reach back to epoch 4"), "{}", done.err);
    assert!(done.err.contains("ask for epoch 5 or a later one"), "{}", done.err);
    let known: Vec<bool> = case.rows("history", &[]).iter().map(|row| row.get("all.version").is_some()).collect();
    assert_eq!(known, [true, true, true, true, false, false, false, false]);
}

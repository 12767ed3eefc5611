//! Upkeep of tables, ours and that of other programs, while a pipeline writes them.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::{Call, Folder, Running, alluvium, history, python, read, until, write_table};

const SPEC: &str = r#"
pipeline: upkeep
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  plain:   { kind: delta, input: numbers, table: "${LAKE}/plain", upkeep: { UPKEEP } }
  tens:    { kind: sql, input: plain, query: "SELECT id, id % 10 AS ten FROM input" }
  groups:  { kind: aggregate, input: tens, by: [ten], columns: { n: { count: "*" } } }
  keyed:   { kind: delta, input: groups, table: "${LAKE}/keyed", mode: upsert, upkeep: { UPKEEP } }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str, upkeep: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", &SPEC.replace("UPKEEP", upkeep)).display().to_string();
        std::fs::create_dir(folder.path("in")).unwrap();
        Self { folder, spec }
    }

    fn put(&self, files: std::ops::Range<usize>) {
        for id in files {
            let made = self.folder.write("made", &format!("{{\"id\":{id}}}\n"));
            std::fs::rename(made, self.folder.path("in").join(format!("{id:04}.json"))).unwrap();
        }
    }

    fn call(&self, arguments: &[&str]) -> Call {
        alluvium(arguments).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn run(&self) -> String {
        self.call(&["run", &self.spec]).ok()
    }

    fn watch(&self) -> Running {
        self.call(&["run", &self.spec, "--watch", "--interval", "20ms"]).start()
    }

    fn table(&self, name: &str) -> PathBuf {
        self.folder.path("lake").join(name)
    }

    #[track_caller]
    fn complete(&self, epoch: usize) {
        let path = self.folder.path(&format!("lake/_state/complete/{epoch:020}.json"));
        until(&format!("epoch {epoch} is complete"), || path.exists());
    }

    #[track_caller]
    fn assert_exact(&self, files: usize) {
        let mut ids: Vec<i64> =
            read(&self.folder.text("lake/plain")).rows.iter().map(|r| r[0].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..files as i64).collect::<Vec<_>>());
        let expected: Vec<Vec<Value>> = (0..10.min(files))
            .map(|ten| vec![json!(ten), json!((0..files).filter(|id| id % 10 == ten).count())])
            .collect();
        assert_eq!(read(&self.folder.text("lake/keyed")).select(&["ten", "n"]), expected);
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path());
    all.filter(|p| p.extension().is_some_and(|e| e == "parquet")).collect()
}

fn operations(url: &str) -> Vec<String> {
    history(url).iter().map(|commit| commit["operation"].as_str().unwrap_or_default().to_owned()).collect()
}

/// As if everything had been written two days ago.
fn age(folder: &Path) {
    let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3_600);
    for entry in std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()) {
        if entry.is_dir() {
            age(&entry);
        } else {
            std::fs::File::options().write(true).open(entry).unwrap().set_modified(then).unwrap();
        }
    }
}

#[test]
fn small_files_are_merged_between_epochs() {
    let case = Case::new("optimize", "optimize: 5");
    case.put(0..12);
    case.run();
    let plain = case.folder.text("lake/plain");
    assert_eq!(operations(&plain).iter().filter(|o| *o == "OPTIMIZE").count(), 2, "{:?}", operations(&plain));
    case.assert_exact(12);
    case.put(12..14);
    case.run();
    case.assert_exact(14);
}

#[test]
fn checkpoints_log_and_old_files_at_checkpoints() {
    let case = Case::new("checkpoints", "checkpoint: 5, optimize: 3, vacuum: 1d, log: 1d");
    case.put(0..4);
    case.run();
    let table = case.table("plain");
    // A leftover of a failed attempt.
    std::fs::write(table.join("part-0000000009-leftover.zstd.parquet"), "x").unwrap();
    age(&table);
    let before = parquet_files(&table).len();
    case.put(4..40);
    case.run();
    case.assert_exact(40);
    assert!(!table.join("part-0000000009-leftover.zstd.parquet").exists());
    assert!(!table.join("_delta_log/00000000000000000000.json").exists(), "the log was not cleaned");
    assert!(table.join("_delta_log/_last_checkpoint").exists());
    assert!(before >= 5 && operations(&case.folder.text("lake/plain")).iter().any(|o| o == "VACUUM END"));
    assert!(case.run().contains("nothing new to process"));
}

#[test]
fn upkeep_by_hand_while_the_pipeline_runs() {
    let case = Case::new("by-hand", "checkpoint: 1000");
    case.put(0..10);
    let run = case.watch();
    case.complete(10);
    let table = |arguments: &[&str]| {
        let all: Vec<&str> = ["table"]
            .iter()
            .chain(&arguments[..1])
            .chain([&case.spec.as_str()])
            .chain(&arguments[1..])
            .copied()
            .collect();
        case.call(&all).run()
    };
    let done = table(&["optimize"]);
    assert_eq!(
        (done.code, done.out.as_str()),
        (Some(0), "plain: 10 files merged\nkeyed: 0 files merged\n"),
        "{}",
        done.err
    );
    case.put(10..13);
    case.complete(13);
    let done = table(&["checkpoint", "plain"]);
    assert!(done.out.starts_with("plain: checkpoint of version "), "{}{}", done.out, done.err);
    assert!(case.table("plain").join("_delta_log/_last_checkpoint").exists());
    let done = table(&["vacuum", "plain", "--dry-run"]);
    assert_eq!(done.out, "plain: 0 files would be deleted\n", "{}", done.err);
    age(&case.table("plain"));
    let done = table(&["vacuum", "plain", "--keep", "1d"]);
    // Only what was replaced two days ago, and that was now.
    assert_eq!(done.code, Some(0), "{}", done.err);
    let done = table(&["vacuum", "--keep", "1h"]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("write `1d` or more"), "{}", done.err);
    let done = table(&["optimize", "nothing"]);
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("no stage `nothing` writes a table; there are: plain, keyed"), "{}", done.err);
    case.put(13..15);
    case.complete(15);
    run.signal("TERM");
    assert_eq!(run.end().code, Some(130));
    case.assert_exact(15);
}

#[test]
fn another_program_optimizes_and_vacuums_while_the_pipeline_runs() {
    let case = Case::new("foreign", "checkpoint: 1000");
    let run = case.watch();
    let code = "import sys, deltalake\n\
                for url in sys.argv[1:]:\n\
                \x20   table = deltalake.DeltaTable(url)\n\
                \x20   table.optimize.compact()\n\
                \x20   table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)";
    for round in 0..5 {
        case.put(round * 6..round * 6 + 6);
        case.complete(round * 6 + 3);
        python(&["-c", code, &case.folder.text("lake/plain"), &case.folder.text("lake/keyed")]);
    }
    case.complete(30);
    run.signal("TERM");
    let done = run.end();
    assert_eq!(done.code, Some(130), "{}", done.err);
    case.assert_exact(30);
    let plain = case.folder.text("lake/plain");
    assert!(operations(&plain).iter().any(|o| o == "OPTIMIZE"));
}

/// The table's own property says that its log is kept for a day; the stage says nothing of it.
#[test]
fn merging_files_deletes_nothing_of_the_log() {
    let case = Case::new("whole-log", "checkpoint: 5, optimize: 3, vacuum: 1d");
    case.put(0..8);
    case.run();
    let table = case.table("plain");
    let set = json!([{ "set": { "delta.logRetentionDuration": "interval 1 days" } }]);
    write_table(&table.display().to_string(), &set);
    // A leftover of a failed attempt, so that there is something to delete.
    std::fs::write(table.join("part-0000000009-leftover.zstd.parquet"), "x").unwrap();
    age(&table);
    case.put(8..20);
    case.run();
    case.assert_exact(20);
    let done = operations(&case.folder.text("lake/plain"));
    assert!(done.iter().filter(|o| *o == "OPTIMIZE").count() >= 4, "{done:?}");
    assert!(done.iter().any(|o| o == "VACUUM END"), "{done:?}");
    assert!(table.join("_delta_log/00000000000000000000.json").exists(), "the log was cleaned");
}

#[test]
fn a_column_that_another_program_adds_stops_the_stream_with_the_reason() {
    let code = "import sys, deltalake\n\
                table = deltalake.DeltaTable(sys.argv[1])\n\
                table.alter.add_columns([deltalake.Field('note', 'string')])\n\
                deltalake.DeltaTable(sys.argv[1]).update({'note': \"'of ours'\"})";
    for (name, upkeep) in [("plain", "checkpoint: 1000"), ("keyed", "checkpoint: 1000"), ("keyed", "optimize: 2")] {
        let case = Case::new("altered", upkeep);
        case.put(0..2);
        let run = case.watch();
        case.complete(2);
        let table = case.folder.text(&format!("lake/{name}"));
        python(&["-c", code, &table]);
        case.put(2..4);
        let done = run.end();
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains(&format!("stage `{name}` failed at epoch 3")), "{}", done.err);
        assert!(done.err.contains("the rows lack `note`"), "{}", done.err);
        assert_eq!(read(&table).select(&["note"]), vec![vec![json!("of ours")]; 2], "{name}, {upkeep}");
    }
}

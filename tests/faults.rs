//! What stops a run, and what it leaves behind.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Call, Folder, alluvium, history, read};

fn epochs(url: &str) -> Vec<i64> {
    let mut epochs: Vec<i64> = history(url).iter().filter_map(|c| c.get("epoch").and_then(Value::as_i64)).collect();
    epochs.sort_unstable();
    epochs
}

/// One file is one epoch; a row of the second cannot be cast.
fn poisoned(name: &str) -> (Folder, String) {
    let folder = Folder::new(name);
    for file in 0..3 {
        let number = |i: i32| if file == 1 && i == 7 { "seven".into() } else { (file * 10 + i).to_string() };
        folder.write(
            &format!("in/{file}.json"),
            &(0..10).map(|i| format!("{{\"text\":\"{}\"}}\n", number(i))).collect::<String>(),
        );
    }
    let spec = folder.write(
        "spec.yaml",
        r#"
pipeline: poison
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  texts:   { kind: files, url: "${IN}", format: json, schema: { text: string } }
  raw:     { kind: delta, input: texts, table: "${LAKE}/raw" }
  parse:   { kind: sql, input: raw, query: "SELECT CAST(text AS BIGINT) AS number FROM input" }
  numbers: { kind: delta, input: parse, table: "${LAKE}/numbers" }
"#,
    );
    (folder, spec.display().to_string())
}

fn call(folder: &Folder, spec: &str, workers: usize) -> Call {
    alluvium(&["run", spec, "--workers", &workers.to_string()])
        .env("IN", &folder.text("in"))
        .env("LAKE", &folder.text("lake"))
}

#[test]
fn a_failing_stage_stops_all_workers_and_commits_nothing_of_its_epoch() {
    for workers in [1, 3] {
        let (folder, spec) = poisoned("poison");
        let done = call(&folder, &spec, workers).run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains("error: stage `parse` failed at epoch 2"), "{}", done.err);
        assert!(done.err.contains(r#"row: {"text":"seven"}"#), "{}", done.err);
        assert!(done.err.contains("hint: change the query, or set `on_bad_row:`"), "{}", done.err);
        for table in ["raw", "numbers"] {
            // The first epoch may have been on its way; the second must be in no table.
            assert!(
                epochs(&folder.text(&format!("lake/{table}"))).iter().all(|e| *e == 1),
                "{table} with {workers} workers"
            );
        }
        // Put right, the same epoch goes through, and nothing comes twice.
        std::fs::write(&spec, std::fs::read_to_string(&spec).unwrap().replace("CAST(", "TRY_CAST(")).unwrap();
        call(&folder, &spec, workers).ok();
        for table in ["raw", "numbers"] {
            assert_eq!(epochs(&folder.text(&format!("lake/{table}"))), [1, 2, 3], "{table}");
            assert_eq!(read(&folder.text(&format!("lake/{table}"))).rows.len(), 30, "{table}");
        }
    }
}

#[test]
fn a_table_that_cannot_be_written_is_named_before_anything_is_read() {
    let (folder, spec) = poisoned("blocked");
    folder.write("lake/numbers", "a file where the table's folder should be");
    let done = call(&folder, &spec, 1).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("error: stage `numbers` failed: the table's folder cannot be made"), "{}", done.err);
    assert!(!folder.path("lake/_state/bindings").exists());
}

#[test]
fn a_table_with_other_columns_is_refused_or_extended() {
    let folder = Folder::new("columns");
    // Each version of the spec is a pipeline of its own, so that each adds its ten rows.
    let run = |pipeline: &str, columns: &str, mode: &str| {
        let spec = format!(
            "pipeline: {pipeline}\nstate: ${{LAKE}}/{pipeline}\nstages:\n  rows: {{ kind: generate, rows: 10, columns: {{ {columns} }} }}\n  table: {{ kind: delta, input: rows, table: \"${{LAKE}}/t\", on_schema_change: {mode} }}\n"
        );
        alluvium(&["run", &folder.write("spec.yaml", &spec).display().to_string()])
            .env("LAKE", &folder.text("lake"))
            .run()
    };
    assert_eq!(run("one", "a: { sequence: 0 }", "fail").code, Some(0));
    let refused = run("two", "a: { sequence: 100 }, b: { sequence: 5 }", "fail");
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("the table has other columns: it lacks `b`"), "{}", refused.err);
    assert_eq!(run("two", "a: { sequence: 100 }, b: { sequence: 5 }", "add").code, Some(0));
    let table = read(&folder.text("lake/t"));
    assert_eq!(table.rows.len(), 20);
    assert_eq!(table.select(&["b"]).iter().filter(|r| r[0].is_null()).count(), 10);
    let refused = run("three", "a: { sequence: 0 }, b: { choice: [x] }", "add");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("columns have other types in the table: `b` is bigint there and string here"),
        "{}",
        refused.err
    );
}

/// A pipeline that is still running when it is interrupted: many epochs.
struct Long {
    folder: Folder,
    spec: String,
}

impl Long {
    const ROWS: usize = 12 * 65_536;

    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write(
            "spec.yaml",
            &format!(
                "pipeline: long\nstate: ${{LAKE}}/_state\nepoch: {{ splits: 1 }}\nstages:\n  rows: {{ kind: generate, rows: {}, columns: {{ id: {{ sequence: 0 }} }} }}\n  table: {{ kind: delta, input: rows, table: \"${{LAKE}}/t\" }}\n",
                Self::ROWS
            ),
        );
        Self { spec: spec.display().to_string(), folder }
    }

    fn call(&self) -> Call {
        alluvium(&["run", &self.spec]).env("LAKE", &self.folder.text("lake"))
    }

    /// Starts it and waits until an epoch is bound.
    fn start(&self) -> Child {
        let child = self.call().command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let bound = self.folder.path("lake/_state/bindings/00000000000000000001.json");
        wait_for("the first binding", || bound.exists());
        child
    }

    fn assert_complete_after_another_run(&self) {
        self.call().ok();
        let ids = read(&self.folder.text("lake/t")).select(&["id"]);
        assert_eq!(ids.len(), Self::ROWS);
        let mut ids: Vec<i64> = ids.iter().map(|r| r[0].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert!(ids.iter().zip(0..).all(|(id, n)| *id == n));
    }
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupt_finishes_the_open_epochs() {
    let long = Long::new("drain");
    let child = long.start();
    interrupt(&child);
    let done = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert_eq!(done.status.code(), Some(130), "{err}");
    assert!(err.contains("finishing the open epochs"), "{err}");
    assert!(out.contains("rows written"), "{out}");
    let state = |name: &str| std::fs::read_dir(long.folder.path(&format!("lake/_state/{name}"))).unwrap().count();
    assert_eq!(state("bindings"), state("complete"), "every epoch that was bound is complete");
    assert!(state("bindings") < 12, "it was interrupted before its end");
    long.assert_complete_after_another_run();
}

#[test]
fn a_second_interrupt_stops_at_once_and_loses_nothing() {
    let long = Long::new("twice");
    let mut child = long.start();
    interrupt(&child);
    let mut err = child.stderr.take().unwrap();
    let mut said = String::new();
    wait_for("the first answer", || {
        let mut byte = [0];
        std::io::Read::read_exact(&mut err, &mut byte).unwrap();
        said.push(char::from(byte[0]));
        said.contains("once more to stop at once")
    });
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    long.assert_complete_after_another_run();
}

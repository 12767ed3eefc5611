//! Each row once, whatever happens to the process.

use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::support::{Folder, Running, Table, alluvium, history, read, until};

/// Two tables in a row and an aggregate with state: everything that has a part in a commit.
const SPEC: &str = r#"
pipeline: crash
state: ${LAKE}/_state
epoch: { splits: 2 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint, word: string, price: double },
             add: { at: ingest_time } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
  upper:   { kind: sql, input: first, query: "SELECT id, upper(word) AS word, price FROM input" }
  second:  { kind: delta, input: upper, table: "${LAKE}/second" }
  words:   { kind: aggregate, input: second, by: [word],
             columns: { n: { count: "*" }, total: { sum: price }, least: { min: id } } }
  third:   { kind: delta, input: words, table: "${LAKE}/third", mode: upsert }
"#;

/// Files of 40 rows each; two make an epoch.
const FILES: usize = 7;
const ROWS: usize = 40;

fn input(folder: &Folder, files: std::ops::Range<usize>) {
    for file in files {
        let row = |r: usize| {
            let id = file * ROWS + r;
            format!("{{\"id\":{id},\"word\":\"w{}\",\"price\":{}.1}}\n", id % 11, id)
        };
        folder.write(&format!("in/f{file:02}.json"), &(0..ROWS).map(row).collect::<String>());
    }
}

struct Pipeline {
    folder: Folder,
    spec: String,
}

impl Pipeline {
    fn new(name: &str, files: usize) -> Self {
        let folder = Folder::new(name);
        input(&folder, 0..files);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        Self { folder, spec }
    }

    fn call(&self, workers: usize) -> crate::support::Call {
        let call = alluvium(&["run", &self.spec, "--workers", &workers.to_string()]);
        call.env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn table(&self, name: &str) -> Table {
        read(&self.folder.text(&format!("lake/{name}")))
    }

    fn epochs(&self, name: &str) -> Vec<i64> {
        let mut epochs: Vec<i64> = history(&self.folder.text(&format!("lake/{name}")))
            .iter()
            .filter_map(|c| c.get("epoch").and_then(Value::as_i64))
            .collect();
        epochs.sort_unstable();
        epochs
    }

    /// Every table holds what the first `files` files say, each epoch once.
    #[track_caller]
    fn assert_exact(&self, files: usize, epochs: i64) {
        let ids: Vec<Vec<Value>> = self.table("first").select(&["id"]);
        assert_eq!(ids.len(), files * ROWS, "rows of first");
        let mut seen: Vec<i64> = ids.iter().map(|r| r[0].as_i64().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..(files * ROWS) as i64).collect::<Vec<_>>(), "ids of first");
        let mut expected: Vec<Vec<Value>> =
            (0..files * ROWS).map(|id| vec![json!(id), json!(format!("W{}", id % 11))]).collect();
        expected.sort_by_key(|r| serde_json::to_string(r).unwrap());
        assert_eq!(self.table("second").select(&["id", "word"]), expected, "second");
        let mut groups: Vec<Vec<Value>> = (0..11)
            .map(|w| {
                let ids: Vec<usize> = (0..files * ROWS).filter(|id| id % 11 == w).collect();
                // Exact decimal arithmetic, so that the test does not share the engine's way of adding.
                let tenths: usize = ids.iter().map(|id| id * 10 + 1).sum();
                json_row(&format!("W{w}"), ids.len(), tenths, ids[0])
            })
            .collect();
        groups.sort_by_key(|r| serde_json::to_string(r).unwrap());
        let mut third = self.table("third").select(&["word", "n", "total", "least"]);
        for row in &mut third {
            row[2] = json!((row[2].as_f64().unwrap() * 10.0).round() as usize);
        }
        third.sort_by_key(|r| serde_json::to_string(r).unwrap());
        assert_eq!(third, groups, "third");
        for table in ["first", "second", "third"] {
            assert_eq!(self.epochs(table), (1..=epochs).collect::<Vec<_>>(), "epochs of {table}");
        }
    }
}

fn json_row(word: &str, n: usize, tenths: usize, least: usize) -> Vec<Value> {
    vec![json!(word), json!(n), json!(tenths), json!(least)]
}

#[test]
fn a_second_run_adds_nothing_and_new_files_are_added() {
    let pipeline = Pipeline::new("twice", 5);
    pipeline.call(1).ok();
    pipeline.assert_exact(5, 3);
    let again = pipeline.call(1).ok();
    assert!(again.contains("nothing new to process"), "{again}");
    pipeline.assert_exact(5, 3);
    input(&pipeline.folder, 5..FILES);
    pipeline.call(1).ok();
    pipeline.assert_exact(FILES, 4);
}

#[test]
fn any_number_of_workers_gives_the_same_tables() {
    let one = Pipeline::new("one", FILES);
    one.call(1).ok();
    one.assert_exact(FILES, 4);
    for workers in [2, 3, 5] {
        let many = Pipeline::new("many", FILES);
        many.call(workers).ok();
        many.assert_exact(FILES, 4);
        for (table, columns) in [
            ("first", vec!["id", "word", "price"]),
            ("second", vec!["id", "word", "price"]),
            ("third", vec!["word", "n", "total", "least"]),
        ] {
            assert_eq!(
                many.table(table).select(&columns),
                one.table(table).select(&columns),
                "{table} with {workers} workers"
            );
        }
    }
}

#[test]
fn all_rows_of_an_epoch_have_its_processing_time_also_after_a_replay() {
    let pipeline = Pipeline::new("ingest", 2);
    kill_at(&pipeline, "after-commit:first@1", 1);
    let before = pipeline.table("first").select(&["at"]);
    pipeline.call(1).ok();
    assert_eq!(pipeline.table("first").select(&["at"]), before);
    assert!(before.iter().all(|row| row == &before[0]), "{before:?}");
}

/// Runs with a point at which the process kills itself, and makes sure that it did.
#[track_caller]
fn kill_at(pipeline: &Pipeline, point: &str, workers: usize) {
    let done = pipeline.call(workers).env("ALLUVIUM_FAILPOINT", point).command().output().unwrap();
    assert_eq!(done.status.signal(), Some(9), "{point} was not reached:\n{}", String::from_utf8_lossy(&done.stderr));
}

const POINTS: [&str; 7] = [
    "after-binding",
    "after-staging",
    "after-commit:first",
    "after-commit:second",
    "after-commit:third",
    "after-commits",
    "after-complete",
];

/// Killed at every point of the epoch, started again, also with another number of workers.
fn killed_everywhere(workers: usize, then: usize) {
    for point in POINTS {
        for epoch in [1, 3] {
            let pipeline = Pipeline::new("kill", FILES);
            kill_at(&pipeline, &format!("{point}@{epoch}"), workers);
            pipeline.call(then).ok();
            pipeline.assert_exact(FILES, 4);
        }
    }
}

#[test]
fn killed_at_every_point_with_1_worker() {
    killed_everywhere(1, 1);
}

#[test]
fn killed_at_every_point_with_3_workers() {
    killed_everywhere(3, 3);
}

#[test]
fn killed_at_every_point_and_started_with_another_number_of_workers() {
    killed_everywhere(2, 4);
}

#[test]
fn killed_again_and_again_in_one_pipeline() {
    let pipeline = Pipeline::new("often", FILES);
    for (epoch, point) in [
        (1, "after-binding"),
        (1, "after-commit:second"),
        (1, "after-commits"),
        (2, "after-staging"),
        (2, "after-complete"),
        (4, "after-commit:third"),
    ] {
        kill_at(&pipeline, &format!("{point}@{epoch}"), 2);
    }
    pipeline.call(2).ok();
    pipeline.assert_exact(FILES, 4);
}

/// Starts a run that stands still at a point, and waits until it does.
#[track_caller]
fn stopped_at(pipeline: &Pipeline, point: &str) -> Running {
    let run = pipeline.call(1).env("ALLUVIUM_FAILPOINT", &format!("stop:{point}")).start();
    let stat = format!("/proc/{}/stat", run.id());
    until("it stands still", || {
        // The state follows the name in parentheses.
        let stat = std::fs::read_to_string(&stat).unwrap();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    });
    run
}

/// The first instance has looked at its lease and is about to commit; the second takes over meanwhile.
#[test]
fn of_two_instances_the_one_that_was_asleep_before_its_commits_stops() {
    let pipeline = Pipeline::new("asleep", FILES);
    let first = stopped_at(&pipeline, "before-commits@2");
    pipeline.call(2).ok();
    first.signal("CONT");
    let done = first.end();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("another instance of this pipeline has taken over: process "), "{}", done.err);
    pipeline.assert_exact(FILES, 4);
}

/// The same while the second is in the middle of that epoch.
#[test]
fn an_instance_goes_on_when_the_one_whose_epoch_it_completes_wakes_up() {
    let pipeline = Pipeline::new("awake", FILES);
    let first = stopped_at(&pipeline, "before-commits@2");
    let second = stopped_at(&pipeline, "after-commit:first@2");
    first.signal("CONT");
    let done = first.end();
    assert_eq!(done.code, Some(1), "{}", done.err);
    let name = format!("another instance of this pipeline has taken over: process {} on", second.id());
    assert!(done.err.contains(&name), "{}", done.err);
    second.signal("CONT");
    let done = second.end();
    assert_eq!(done.code, Some(0), "{}", done.err);
    pipeline.assert_exact(FILES, 4);
}

#[test]
fn a_lost_state_is_noticed_before_anything_is_written() {
    let pipeline = Pipeline::new("lost", 3);
    pipeline.call(1).ok();
    std::fs::remove_dir_all(pipeline.folder.path("lake/_state")).unwrap();
    let done = pipeline.call(1).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("the table holds epoch 2, but the pipeline's state knows only 0"), "{}", done.err);
    pipeline.assert_exact(3, 2);
}

#[test]
fn a_table_that_was_deleted_is_noticed() {
    let pipeline = Pipeline::new("deleted", 3);
    pipeline.call(1).ok();
    std::fs::remove_dir_all(pipeline.folder.path("lake/second")).unwrap();
    input(&pipeline.folder, 3..5);
    let done = pipeline.call(1).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("stage `second` failed"), "{}", done.err);
    assert!(done.err.contains("the table is new, but epoch 2 was completed"), "{}", done.err);
    assert_eq!(pipeline.epochs("first"), [1, 2]);
}

#[test]
fn state_of_another_pipeline_is_refused() {
    let pipeline = Pipeline::new("other", 1);
    pipeline.call(1).ok();
    let renamed = pipeline.folder.write("renamed.yaml", &SPEC.replace("pipeline: crash", "pipeline: other"));
    let call = alluvium(&["run", &renamed.display().to_string()])
        .env("IN", &pipeline.folder.text("in"))
        .env("LAKE", &pipeline.folder.text("lake"));
    let done = call.run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the state belongs to pipeline `crash`"), "{}", done.err);
}

//! Runs that go on with what arrives, and two instances of one pipeline.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Call, Folder, Running, alluvium, history, read, until};

const SPEC: &str = r#"
pipeline: watched
state: ${LAKE}/_state
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  table:   { kind: delta, input: numbers, table: "${LAKE}/table" }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        std::fs::create_dir(folder.path("in")).unwrap();
        Self { folder, spec }
    }

    /// Files appear whole, as they do in a bucket.
    fn put(&self, name: &str, id: i64) {
        let made = self.folder.write(&format!("made/{name}"), &format!("{{\"id\":{id}}}\n"));
        std::fs::rename(made, self.folder.path("in").join(name)).unwrap();
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> = ["run", self.spec.as_str()].iter().chain(arguments).copied().collect();
        alluvium(&all).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn watch(&self) -> Running {
        self.call(&["--watch", "--interval", "50ms"]).start()
    }

    /// Waits until so many epochs are complete.
    #[track_caller]
    fn complete(&self, epochs: usize) {
        let folder = self.folder.path("lake/_state/complete");
        until(&format!("{epochs} epochs are complete"), || files(&folder) >= epochs);
    }

    #[track_caller]
    fn assert_ids(&self, ids: &[i64]) {
        let rows = read(&self.folder.text("lake/table")).rows;
        assert_eq!(rows, ids.iter().map(|id| vec![json!(id)]).collect::<Vec<_>>());
    }
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn what_arrives_is_read_until_the_run_is_stopped() {
    let case = Case::new("arrives");
    let run = case.watch();
    case.put("b.json", 1);
    case.complete(1);
    // A name that comes before, and one in a folder that was not there.
    case.put("a.json", 2);
    case.complete(2);
    std::fs::create_dir(case.folder.path("in/new")).unwrap();
    case.put("new/c.json", 3);
    case.complete(3);
    run.signal("TERM");
    let done = run.end();
    assert_eq!(done.code, Some(130), "{}", done.err);
    assert!(done.out.contains("3 rows in 3 epochs"), "{}", done.out);
    case.assert_ids(&[1, 2, 3]);
}

#[test]
fn what_is_found_and_not_done_yet_is_told() {
    let case = Case::new("backlog");
    for id in 0..2_000 {
        case.put(&format!("{id:04}.json"), id);
    }
    let oldest = std::fs::File::options().write(true).open(case.folder.path("in/1999.json")).unwrap();
    let two_days = std::time::Duration::from_secs(2 * 86_400);
    oldest.set_modified(std::time::SystemTime::now() - two_days).unwrap();
    case.folder.write("spec.yaml", &SPEC.replace("stages:", "epoch: { splits: 1 }\nstages:"));
    let run = case.watch();
    case.complete(3);
    run.signal("TERM");
    let done = run.end();
    assert_eq!(done.code, Some(130), "{}", done.err);
    // Each object is one row, one epoch, and nine to thirteen bytes.
    let epochs = read(&case.folder.text("lake/table")).rows.len();
    assert!(done.out.contains(&format!("{epochs} rows in {epochs} epochs")), "{}", done.out);
    let bytes: u64 = (epochs..2_000).map(|id| format!("{{\"id\":{id}}}\n").len() as u64).sum();
    let told = format!(
        "{} objects ({:.2} KiB) outstanding, the oldest of 2days ago",
        thousands(2_000 - epochs),
        bytes as f64 / 1024.0
    );
    assert!(done.out.contains(&told), "{told} in {}", done.out);
}

fn thousands(n: usize) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) }
}

#[test]
fn of_two_instances_the_first_goes_on() {
    let case = Case::new("two");
    case.put("a.json", 1);
    let mut first = case.watch();
    case.complete(1);
    let second = case.call(&[]).run();
    assert_eq!(second.code, Some(1));
    let named = format!("another instance of this pipeline is running: process {} on ", first.id());
    assert!(second.err.contains(&named), "{}", second.err);
    assert!(first.is_running());
    case.put("b.json", 2);
    case.complete(2);
    first.signal("TERM");
    assert_eq!(first.end().code, Some(130));
    case.assert_ids(&[1, 2]);
}

#[test]
fn of_many_instances_that_start_at_once_one_goes_on() {
    let case = Case::new("many");
    case.put("a.json", 1);
    let mut all: Vec<Running> = (0..5).map(|_| case.watch()).collect();
    case.complete(1);
    until("four have stopped", || all.iter_mut().map(|r| usize::from(r.is_running())).sum::<usize>() == 1);
    let winner = all.iter_mut().position(Running::is_running).unwrap();
    let winner = all.swap_remove(winner);
    for done in all.into_iter().map(Running::end) {
        assert_eq!(done.code, Some(1));
        let named = format!("another instance of this pipeline is running: process {} on ", winner.id());
        assert!(done.err.contains(&named), "{}", done.err);
    }
    case.put("b.json", 2);
    case.complete(2);
    winner.signal("TERM");
    assert_eq!(winner.end().code, Some(130));
    case.assert_ids(&[1, 2]);
}

#[test]
fn an_instance_that_slept_is_replaced_and_writes_nothing_when_it_wakes() {
    let case = Case::new("asleep");
    case.put("a.json", 1);
    let sleeper = case.watch();
    case.complete(1);
    sleeper.signal("STOP");
    case.put("b.json", 2);
    let next = case.watch();
    case.complete(2);
    case.put("c.json", 3);
    sleeper.signal("CONT");
    let done = sleeper.end();
    assert_eq!(done.code, Some(1), "{}", done.err);
    let named = format!("another instance of this pipeline has taken over: process {} on ", next.id());
    assert!(done.err.contains(&named), "{}", done.err);
    case.complete(3);
    next.signal("TERM");
    assert_eq!(next.end().code, Some(130));
    case.assert_ids(&[1, 2, 3]);
    let epochs: Vec<i64> = history(&case.folder.text("lake/table"))
        .iter()
        .filter_map(|commit| commit.get("epoch").and_then(Value::as_i64))
        .collect();
    assert_eq!(epochs, [3, 2, 1]);
}

#[test]
fn an_instance_whose_process_is_gone_is_replaced_at_once() {
    let case = Case::new("gone");
    case.put("a.json", 1);
    let run = case.watch();
    case.complete(1);
    run.signal("KILL");
    run.end();
    case.put("b.json", 2);
    let done = case.call(&[]).run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!done.err.contains("looking whether it still does"), "{}", done.err);
    case.assert_ids(&[1, 2]);
}

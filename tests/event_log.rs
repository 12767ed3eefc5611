//! What happened to a pipeline is a table in its state.

use serde_json::{Value, json};

use crate::support::{Act, Call, Done, Folder, Proxy, alluvium, history, python, read};

/// Columns that are inferred and may grow, rows that are rejected, a table whose small files are merged.
const SPEC: &str = r#"
pipeline: told
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: infer, evolution: add }
  halves:  { kind: sql, input: numbers, query: "SELECT id, 100 / (id - 7) AS half FROM input", on_bad_row: quarantine }
  table:   { kind: delta, input: halves, table: "${LAKE}/table", upkeep: { optimize: 3 } }
  bad:     { kind: delta, input: halves.rejects, table: "${LAKE}/bad" }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        Self { folder, spec }
    }

    fn put(&self, name: &str, rows: &str) {
        self.folder.write(&format!("in/{name}.json"), rows);
    }

    fn call(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> =
            arguments[..1].iter().chain([&self.spec.as_str()]).chain(&arguments[1..]).copied().collect();
        alluvium(&all).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn run(&self) -> Done {
        self.call(&["run", "--workers", "2"]).run()
    }

    fn url(&self) -> String {
        self.folder.text("lake/_state/events")
    }

    /// Rows in the order in which they were said, over all runs.
    fn events(&self) -> Vec<Value> {
        self.query("SELECT * FROM alluvium.events ORDER BY min(time) OVER (PARTITION BY run_id), sequence")
    }

    fn query(&self, query: &str) -> Vec<Value> {
        let out = self.call(&["query", query, "--format", "json"]).ok();
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| e["kind"].as_str().unwrap()).collect()
}

#[test]
fn everything_that_happens_is_there_in_its_order() {
    let case = Case::new("told");
    assert_eq!(case.call(&["check"]).run().code, Some(2), "nothing to infer from");
    case.put("a", "{\"id\": 1}\n{\"id\": 7}\n{\"id\": 9}\n");
    assert_eq!(case.query("SELECT count(*) AS n FROM alluvium.events"), [json!({"n": 0})]);
    assert_eq!(case.run().code, Some(0));
    let first = case.events();
    assert_eq!(kinds(&first), ["start", "schema", "rejects", "commit", "commit", "epoch", "stop"], "{first:#?}");
    let of = |n: usize| &first[n];
    assert_eq!(of(0)["message"], format!("alluvium {} begins with 2 workers in 1 process", env!("CARGO_PKG_VERSION")));
    assert_eq!((&of(1)["stage"], &of(1)["level"]), (&json!("numbers"), &json!("warn")));
    assert!(of(1)["details"].as_str().unwrap().contains("\"id\""), "{}", of(1));
    assert_eq!((&of(2)["stage"], &of(2)["epoch"], &of(2)["rows"]), (&json!("halves"), &json!(1), &json!(1)));
    assert_eq!(of(2)["message"], "1 row rejected, 2 passed");
    assert_eq!((&of(5)["epoch"], &of(5)["rows"]), (&json!(1), &json!(3)));
    let details: Value = serde_json::from_str(of(5)["details"].as_str().unwrap()).unwrap();
    assert_eq!((&details["batchId"], &details["numInputRows"]), (&json!(1), &json!(3)));
    assert_eq!(of(6)["message"], "everything is processed");

    // Small files are merged, a column appears, a row cannot be read: each is told once.
    for name in ["b", "c", "d"] {
        case.put(name, "{\"id\": 2}\n");
    }
    assert_eq!(case.run().code, Some(0));
    let merged = case.query("SELECT message FROM alluvium.events WHERE kind = 'upkeep' AND stage = 'table'");
    assert_eq!(merged, [json!({"message": "merged 3 small files"})]);
    case.put("e", "{\"id\": 3, \"new\": true}\n");
    assert_eq!(case.run().code, Some(0));
    let schema = case.query("SELECT message FROM alluvium.events WHERE kind = 'schema' AND message LIKE '%new%'");
    assert_eq!(schema.len(), 1, "{:#?}", case.events());
    case.put("f", "{\"id\": ");
    let failed = case.run();
    assert_eq!(failed.code, Some(1));
    let events = case.events();
    let last = events.last().unwrap();
    assert_eq!(
        (&last["kind"], &last["level"], &last["stage"], &last["epoch"]),
        (&json!("fault"), &json!("error"), &json!("numbers"), &json!(6)),
        "{last}"
    );
    assert!(failed.err.contains(last["message"].as_str().unwrap()), "{last}\n{}", failed.err);

    // What is said of epochs and versions is what the tables say.
    let told =
        case.query("SELECT epoch, version FROM alluvium.events WHERE kind = 'commit' AND stage = 'table' ORDER BY 1");
    let told: Vec<_> = told.iter().map(|e| (e["epoch"].as_u64().unwrap(), e["version"].as_u64().unwrap())).collect();
    let commits = history(&case.folder.text("lake/table"));
    let mut held: Vec<_> =
        commits.iter().filter_map(|c| Some((c["epoch"].as_u64()?, c["version"].as_u64()?))).collect();
    held.sort_unstable();
    assert_eq!(told, held);
    assert_eq!(told.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    // Another program reads the same.
    let others = read(&case.url());
    assert_eq!(others.rows.len(), events.len());
    assert_eq!(others.columns["time"], "timestamp[us, tz=UTC]");
    let sequences =
        case.query("SELECT count(*) AS n, count(DISTINCT concat(run_id, sequence)) AS d FROM alluvium.events");
    assert_eq!(sequences[0]["n"], sequences[0]["d"]);
}

#[test]
fn a_refresh_is_told_and_forgets_nothing() {
    let case = Case::new("refreshed");
    case.put("a", "{\"id\": 1}\n");
    assert_eq!(case.run().code, Some(0));
    let before = case.events();
    case.call(&["refresh", "--full", "--yes"]).ok();
    let after = case.events();
    assert_eq!(after[..before.len()], before);
    let refresh = &after[before.len()];
    assert_eq!(
        (&refresh["kind"], &refresh["message"]),
        (
            &json!("refresh"),
            &json!(
                "cleared to be computed again: `bad`, `halves`, `numbers`, `table`, with everything that is known of sources"
            )
        )
    );
    assert_eq!(kinds(&after[before.len() + 1..]), ["start", "schema", "commit", "commit", "epoch", "stop"]);
}

#[test]
fn a_log_that_cannot_be_written_is_a_warning() {
    let case = Case::new("unwritten");
    case.put("a", "{\"id\": 1}\n");
    std::fs::create_dir_all(case.folder.path("lake/_state")).unwrap();
    let in_the_way = case.folder.write("lake/_state/events", "not a folder");
    let done = case.run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("the event log cannot be written"), "{}", done.err);
    assert_eq!(read(&case.folder.text("lake/table")).rows.len(), 1);
    std::fs::remove_file(in_the_way).unwrap();
    assert_eq!(case.run().code, Some(0));
    assert_eq!(kinds(&case.events()), ["start", "stop"]);
}

/// A commit whose answer was lost is not made again.
#[test]
fn each_event_is_there_once() {
    for act in [Act::LoseAnswer, Act::CarryOutAndAnswer(500), Act::CarryOutAndAnswer(409)] {
        let case = crate::s3::Case::new("events", 2);
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule("PUT", "/_state/events/_delta_log/", act, 1);
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "2s").run();
        assert_eq!((proxy.hits(), done.code), (1, Some(0)), "{act:?}\n{}", done.err);
        let rows = read(&case.bucket.url("lake/_state/events")).select(&["kind", "sequence"]);
        let mut sequences: Vec<_> = rows.iter().map(|row| row[1].as_u64().unwrap()).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (1..=rows.len() as u64).collect::<Vec<_>>(), "{act:?}: {rows:?}");
        assert!(rows.iter().any(|row| row[0] == "stop"), "{act:?}: {rows:?}");
    }
}

#[test]
fn its_small_files_are_merged() {
    let case = Case::new("merged");
    case.put("a", "{\"id\": 1}\n");
    assert_eq!(case.run().code, Some(0));
    let version = |n: u64| case.folder.path(&format!("lake/_state/events/_delta_log/{n:020}.json"));
    let newest = (0..).take_while(|n| version(*n).exists()).last().unwrap();
    // Another program appends until one commit is missing.
    let columns = ["level", "kind", "stage", "message", "details", "run_id"].map(|c| (c, "string"));
    let numbers = ["epoch", "version", "rows", "sequence"].map(|c| (c, "int64"));
    let schema: serde_json::Map<_, _> =
        [("time", "time")].into_iter().chain(columns).chain(numbers).map(|(c, t)| (c.to_owned(), json!(t))).collect();
    let row = json!({"time": "2026-01-01T00:00:00+00:00", "level": "info", "kind": "other", "message": "", "run_id": "", "sequence": 1});
    let row = json!({"append": [row], "schema": schema, "new_schema": true});
    let steps: Vec<_> = (newest + 1..100).map(|_| row.clone()).collect();
    python(&["tests/support/write_table.py", &case.url(), &json!(steps).to_string()]);
    assert!(version(99).exists() && !version(100).exists());
    let before = read(&case.url()).rows.len();
    assert_eq!(case.run().code, Some(0));
    assert!(version(100).with_file_name(format!("{:020}.checkpoint.parquet", 101)).exists());
    assert_eq!(read(&case.url()).rows.len(), before + 2);
    let live = case.query("SELECT count(*) AS n FROM alluvium.events");
    assert_eq!(live, [json!({"n": before + 2})]);
}

//! Epochs as traces, and the log, at a collector.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Call, Folder, alluvium, history, root};

const SPEC: &str = r#"
pipeline: told
description: ${API_TOKEN}
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint }, on_bad_row: drop }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
  tens:    { kind: sql, input: first, query: "SELECT id * 10 AS id FROM input" }
  second:  { kind: delta, input: tens, table: "${LAKE}/second" }
"#;

/// It is the name of an object.
const SECRET: &str = "zebra-9f8e7d";

/// What a collector was sent.
struct Collector {
    child: Child,
    port: String,
}

impl Collector {
    fn start(status: &str) -> Self {
        let python = std::env::var("ALLUVIUM_TEST_PYTHON").expect("run the tests with `tests/run`");
        let mut command = Command::new(python);
        let mut child = command
            .args(["tests/opentelemetry/collector.py", status])
            .current_dir(root())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let out = child.stdout.take().unwrap();
        let mut out = BufReader::new(out);
        out.read_line(&mut port).unwrap();
        // A pipe holds 64 KiB, more than comes here; what was read ahead must not be lost.
        assert!(out.buffer().is_empty());
        child.stdout = Some(out.into_inner());
        Self { child, port: port.trim().to_owned() }
    }

    /// Every request.
    fn end(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        let out = self.child.wait_with_output().unwrap().stdout;
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Nothing is skipped in silence.
fn require_feature() {
    #[cfg(not(feature = "opentelemetry"))]
    panic!("these tests need `--features opentelemetry`; `tests/run` has it");
}

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str) -> Self {
        require_feature();
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        folder.write("in/a.json", "{\"id\": 1}\n{\"id\": 2}\n");
        folder.write(&format!("in/{SECRET}.json"), "{\"id\": 3}\n{\"id\": \"none\"}\n");
        Self { folder, spec }
    }

    fn run(&self, port: &str) -> Call {
        alluvium(&["run", &self.spec])
            .env("IN", &self.folder.text("in"))
            .env("LAKE", &self.folder.text("lake"))
            .env("API_TOKEN", SECRET)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{port}"))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer abc")
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// Everything that came at a path.
fn all(requests: &[Value], path: &str, resources: &str, scopes: &str, items: &str) -> Vec<Value> {
    let resources = requests.iter().filter(|r| r["path"] == path).flat_map(|r| list(&r["message"][resources]));
    let resources = resources.inspect(|r| assert_eq!(attributes(&r["resource"])["service.name"], "alluvium"));
    resources.flat_map(|r| list(&r[scopes])).flat_map(|s| list(&s[items])).collect()
}

fn spans(requests: &[Value]) -> Vec<Value> {
    all(requests, "/v1/traces", "resourceSpans", "scopeSpans", "spans")
}

fn lines(requests: &[Value]) -> Vec<Value> {
    all(requests, "/v1/logs", "resourceLogs", "scopeLogs", "logRecords")
}

/// Attributes by name, as text.
fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_object().unwrap().values().next().unwrap().to_string();
    let named = |a: &Value| (a["key"].as_str().unwrap().to_owned(), text(&a["value"]).trim_matches('"').to_owned());
    list(&of["attributes"]).iter().map(named).collect()
}

fn time(span: &Value) -> (u64, u64) {
    let at = |name: &str| span[name].as_str().unwrap().parse().unwrap();
    (at("startTimeUnixNano"), at("endTimeUnixNano"))
}

#[test]
fn epochs_are_traces_and_the_log_says_where() {
    let case = Case::new("otel");
    let collector = Collector::start("200");
    case.run(&collector.port).ok();
    let requests = collector.end();
    assert!(requests.iter().all(|r| r["authorization"] == "Bearer abc"));
    let spans = spans(&requests);
    let epochs: Vec<&Value> = spans.iter().filter(|s| s["name"] == "epoch").collect();
    assert_eq!(epochs.len(), 2);
    for (epoch, rows) in [("1", "2"), ("2", "1")] {
        let root = epochs.iter().find(|s| attributes(s)["alluvium.epoch"] == epoch).unwrap();
        assert_eq!(
            (&attributes(root)["alluvium.pipeline"][..], &attributes(root)["alluvium.rows"][..]),
            ("told", rows)
        );
        assert!(root.get("parentSpanId").is_none(), "{root}");
        let (begun, ended) = time(root);
        let below = |parent: &Value| -> BTreeMap<String, Value> {
            let children = spans.iter().filter(|s| s["parentSpanId"] == parent["spanId"]);
            let children = children.inspect(|s| {
                assert_eq!(s["traceId"], root["traceId"]);
                assert!(begun <= time(s).0 && time(s).0 <= time(s).1 && time(s).1 <= ended, "{s} of {root}");
            });
            children.map(|s| (s["name"].as_str().unwrap().to_owned(), s.clone())).collect()
        };
        let parts = below(root);
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["bind", "commit", "process"]);
        assert_eq!(attributes(&parts["process"])["alluvium.stage.tens.rows"], rows);
        let commits = below(&parts["commit"]);
        for table in ["first", "second"] {
            let commit = attributes(&commits[&format!("commit {table}")]);
            let held = history(&case.folder.text(&format!("lake/{table}")));
            let held = held.iter().find(|c| c["epoch"] == epoch.parse::<u64>().unwrap()).unwrap();
            assert_eq!(commit["alluvium.version"], held["version"].to_string());
            assert_eq!(commit["alluvium.rows"], rows);
        }
    }
    let run = spans.iter().find(|s| s["name"] == "run").unwrap();
    assert_eq!((&attributes(run)["alluvium.epochs"][..], run["status"].get("code")), ("2", None));

    let lines = lines(&requests);
    let line = lines.iter().find(|l| l["body"]["stringValue"] == "bad rows were dropped").unwrap();
    let about = attributes(line);
    assert_eq!((&about["rows"][..], &line["severityText"]), ("1", &json!("WARN")));
    assert_eq!((&about["pipeline"][..], &about["stage"][..], &about["epoch"][..]), ("told", "numbers", "2"));
    assert!(about["object"].ends_with(".json"), "{about:?}");
    assert!(!json!(requests).to_string().contains(SECRET));
}

#[test]
fn a_fault_is_the_status_of_the_run() {
    let case = Case::new("otel-fault");
    let spec = std::fs::read_to_string(&case.spec).unwrap().replace(", on_bad_row: drop", "");
    std::fs::write(&case.spec, spec).unwrap();
    let collector = Collector::start("200");
    assert_eq!(case.run(&collector.port).run().code, Some(1));
    let requests = collector.end();
    let spans = spans(&requests);
    let run = spans.iter().find(|s| s["name"] == "run").unwrap();
    assert_eq!(
        (&run["status"]["code"], &attributes(run)["alluvium.stage"][..]),
        (&json!("STATUS_CODE_ERROR"), "numbers")
    );
    assert!(run["status"]["message"].as_str().unwrap().contains("stage `numbers`"), "{run}");
    assert!(!json!(requests).to_string().contains(SECRET));
}

/// A run does not depend on who listens.
#[test]
fn a_collector_that_is_out_of_order_costs_nothing_but_a_warning() {
    let case = Case::new("otel-gone");
    let done = case.run("9").run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("the OpenTelemetry collector"), "{}", done.err);
    let collector = Collector::start("400");
    let done = case.run(&collector.port).run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(!collector.end().is_empty());
}

//! A run is seen and steered: what is shown is what the tables hold, and nobody gets in who must not.

pub mod client;
mod faults;
mod guarded;
mod page;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Numbers, alluvium, python, read, until};
use client::Served;

const WATCH: [&str; 3] = ["--watch", "--interval", "20ms"];

/// Epochs as they are told on standard output.
fn told(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_epoch_is_told_as_one_json_object() {
    let mut numbers = Numbers::local("told");
    numbers.feed(6);
    let epochs = told(&numbers.call(&["--progress", "json", "--workers", "2"]).ok());
    assert_eq!(epochs.iter().map(|e| e["batchId"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    for epoch in &epochs {
        assert_eq!(epoch["name"], "numbers");
        assert_eq!(epoch["numInputRows"], 20);
        assert_eq!(
            epoch["sources"],
            json!([{
                "description": "numbers",
                "numInputObjects": 2,
                "numInputBytes": epoch["sources"][0]["numInputBytes"],
                "numInputRows": 20,
                "processedRowsPerSecond": epoch["processedRowsPerSecond"],
            }])
        );
        let flow = |stage: &str| {
            epoch["stages"].as_array().unwrap().iter().find(|s| s["name"] == stage).unwrap()["rows"].clone()
        };
        for stage in ["numbers", "first", "upper", "second"] {
            assert_eq!(flow(stage), 20, "{stage}");
        }
        for part in ["walCommit", "addBatch", "commitOffsets", "triggerExecution"] {
            assert!(epoch["durationMs"][part].as_f64().unwrap() >= 0.0, "{epoch}");
        }
        assert!(epoch["frontiers"].as_object().unwrap().contains_key("third"));
        let first = epoch["sinks"].as_array().unwrap().iter().find(|s| s["description"] == "first").unwrap();
        // Two workers have read, so there are one or two files.
        assert_eq!(first["numOutputRows"], 20);
        assert!(
            [1, 2].contains(&first["numFiles"].as_u64().unwrap()) && first["numBytes"].as_u64().unwrap() > 0,
            "{first}"
        );
        let keeps = epoch["stateOperators"].as_array().unwrap();
        assert!(
            keeps.iter().any(|s| s["operatorName"] == "words" && s["bytesTotal"].as_u64().unwrap() > 0),
            "{keeps:?}"
        );
    }
    let versions = epochs.iter().map(|e| {
        e["sinks"].as_array().unwrap().iter().find(|s| s["description"] == "first").unwrap()["version"].clone()
    });
    assert_eq!(versions.collect::<Vec<_>>(), versions_of_epochs(&numbers.place.url("lake/first")));
    // Nothing new: nothing is told.
    assert_eq!(numbers.call(&["--progress", "json"]).ok(), "");
}

/// The versions that hold an epoch, oldest first; upkeep makes others.
fn versions_of_epochs(table: &str) -> Vec<u64> {
    let commits = crate::support::history(table);
    let mut versions: Vec<u64> =
        commits.iter().filter(|c| !c["epoch"].is_null()).filter_map(|c| c["version"].as_u64()).collect();
    versions.sort_unstable();
    versions
}

#[test]
fn every_process_of_a_cluster_tells_of_all() {
    let mut numbers = Numbers::local("told-cluster");
    numbers.feed(12);
    let running = crate::cluster::start(&numbers, 2, &["--progress", "json", "--workers", "2"]);
    for of_one in crate::cluster::all_end(running, 0) {
        let epochs = told(&of_one.out);
        assert_eq!(epochs.len(), 6, "{}", of_one.out);
        for epoch in epochs {
            let rows = |stage: &str| {
                epoch["stages"].as_array().unwrap().iter().find(|s| s["name"] == stage).unwrap()["rows"]
                    .as_u64()
                    .unwrap()
            };
            assert_eq!((rows("numbers"), rows("second")), (20, 20), "{epoch}");
        }
    }
}

/// Name, labels and value, as Prometheus's own parser has them.
fn samples(metrics: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let file = crate::support::Folder::new("metrics");
    let path = file.write("metrics.txt", metrics).display().to_string();
    serde_json::from_slice(&python(&["tests/monitor/metrics.py", &path])).unwrap()
}

/// Whichever process is asked.
#[test]
fn what_stages_measure_is_that_of_all_processes() {
    let mut numbers = Numbers::local("measured");
    let spec = std::fs::read_to_string(&numbers.spec).unwrap();
    let first = spec.lines().take_while(|line| !line.contains("upper:")).collect::<Vec<_>>().join("\n");
    std::fs::write(&numbers.spec, first + "\n  score: { kind: classify, input: first, text: word, model: builtin }\n  out: { kind: blackhole, input: score }\n").unwrap();
    numbers.feed(8);
    let hosts = crate::cluster::hosts(2);
    let other = Served::launch(crate::cluster::process(&numbers, &hosts, 1, &WATCH));
    let leader = Served::launch(crate::cluster::process(&numbers, &hosts, 0, &WATCH));
    let texts = |of: &Served| {
        let status = of.status();
        let score = status["stages"].as_array().unwrap().iter().find(|s| s["name"] == "score").unwrap();
        let metrics = score["metrics"].as_array().unwrap();
        let texts = metrics.iter().find(|m| m["name"] == "alluvium_classify_texts_total").cloned();
        texts.map_or(0.0, |m| m["value"].as_f64().unwrap())
    };
    for process in [&leader, &other] {
        until("all texts are counted", || texts(process) >= 80.0);
        assert_eq!(texts(process), 80.0);
    }
    // A metric is that of one process: who scrapes all adds them up.
    let texts = |of: &Served| {
        let samples = samples(&of.get("/metrics").body);
        samples.iter().find(|(name, ..)| name == "alluvium_classify_texts_total").map_or(0.0, |(.., value)| *value)
    };
    assert_eq!(texts(&leader) + texts(&other), 80.0);
    leader.command(&numbers, &["stop", "--all"]).ok();
    assert_eq!(leader.running.end().code, Some(130));
    assert_eq!(other.running.end().code, Some(130));
}

#[test]
fn what_is_shown_is_what_the_tables_hold() {
    let mut numbers = Numbers::local("shown");
    numbers.feed(7);
    let served = Served::start(&numbers, &[&WATCH[..], &["--workers", "2"]].concat(), None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    let status = served.status();
    assert_eq!(status["state"], "running");
    assert_eq!((&status["rows"], &status["workers"], &status["processes"]), (&json!(70), &json!(2), &json!(1)));
    assert_eq!(status["epochs"]["completed"], 4);
    assert_eq!(status["backlog"], json!({ "objects": 0, "bytes": 0, "oldestSeconds": null }));
    let stages: BTreeMap<&str, &Value> =
        status["stages"].as_array().unwrap().iter().map(|s| (s["name"].as_str().unwrap(), s)).collect();
    for stage in ["numbers", "first", "upper", "second", "words", "third"] {
        assert_eq!(stages[stage]["condition"], "idle", "{stage}");
        assert_eq!(stages[stage]["frontier"], 5, "{stage}");
        assert_eq!(stages[stage]["lag"], json!({ "epochs": 0, "seconds": 0.0, "rows": 0 }), "{stage}");
        assert_eq!(stages[stage]["queueRows"], 0, "{stage}");
    }
    for stage in ["upper", "second", "words"] {
        assert_eq!(stages[stage]["rowsIn"], 70, "{stage}");
    }
    let rows_of_workers: u64 =
        stages["second"]["workers"].as_array().unwrap().iter().map(|w| w["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows_of_workers, 70);
    for table in status["tables"].as_array().unwrap() {
        let stage = table["stage"].as_str().unwrap();
        let url = table["url"].as_str().unwrap();
        let newest = crate::support::history(url).iter().filter_map(|c| c["epoch"].as_u64()).max();
        assert_eq!(table["epoch"].as_u64(), newest, "{stage}");
        assert_eq!(table["version"].as_u64(), versions_of_epochs(url).pop(), "{stage}");
    }
    assert_eq!(read(&numbers.place.url("lake/first")).rows.len(), 70);
    assert_eq!(served.get("/api/epochs").json().as_array().unwrap().len(), 4);
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(served.get("/readyz").status, 200);
    served.command(&numbers, &["stop", &numbers.spec]).ok();
    assert_eq!(served.running.end().code, Some(130));
}

#[test]
fn commands_find_and_steer_a_run() {
    let mut numbers = Numbers::local("steered");
    numbers.feed(2);
    let served = Served::start(&numbers, &WATCH, None);
    let command = |arguments: &[&str]| served.command(&numbers, arguments);
    let spec = numbers.spec.clone();
    command(&["await", &spec, "--epoch", "1"]).ok();
    let ps = command(&["ps"]).ok();
    assert!(ps.contains("numbers") && ps.contains("running") && ps.contains(&served.running.id().to_string()), "{ps}");
    let text = command(&["status", &spec]).ok();
    for part in ["numbers is running", "epoch 1 complete", "third", "up to date"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A name does as well as a file.
    let json: Value = serde_json::from_str(&command(&["status", "numbers", "--format", "json"]).ok()).unwrap();
    assert_eq!(json["epochs"]["completed"], 1);

    command(&["pause", &spec]).ok();
    numbers.feed(4);
    let command = |arguments: &[&str]| served.command(&numbers, arguments);
    until("new objects are seen", || served.status()["backlog"]["objects"] == 4);
    let paused = served.status();
    assert_eq!((&paused["state"], &paused["epochs"]["opened"]), (&json!("paused"), &json!(1)));
    let waited = command(&["await", &spec, "--timeout", "300ms"]).run();
    assert_eq!(waited.code, Some(124), "{}{}", waited.out, waited.err);
    assert_eq!(served.status()["epochs"]["completed"], 1);
    command(&["resume", &spec]).ok();
    command(&["await", &spec]).ok();
    assert_eq!(served.status()["epochs"]["completed"], 3);

    let stopped = command(&["stop", &spec]).ok();
    assert!(stopped.contains("numbers has stopped"), "{stopped}");
    for (arguments, code) in
        [(["status", &spec], 3), (["pause", &spec], 3), (["await", &spec], 3), (["stop", "numbers"], 2)]
    {
        let done = command(&arguments).run();
        assert_eq!(done.code, Some(code), "{arguments:?}: {}{}", done.out, done.err);
    }
    let after = command(&["status", &spec]).run();
    assert!(after.out.contains("complete up to epoch 3") && after.out.contains("ended in order"), "{}", after.out);
    assert_eq!(command(&["ps"]).ok().lines().count(), 1);
    let known = command(&["ps", &spec]).ok();
    assert!(known.contains("numbers") && known.contains("not running"), "{known}");
    assert_eq!(served.running.end().code, Some(130));
    numbers.assert_exact();
}

#[test]
fn limits_change_while_it_runs() {
    let mut numbers = Numbers::local("limits");
    numbers.feed(2);
    let token = "a-token-of-a-test-1234";
    let served = Served::start(&numbers, &WATCH, Some(token));
    let bearer = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    let status = || served.ask("GET", "/api/status", &bearer, "").json();
    until("the first epoch is complete", || status()["epochs"]["completed"] == 1);
    let changed =
        served.ask("POST", "/api/control", &bearer, r#"{"paused": true, "epochSplits": 5, "intervalMs": 30}"#);
    assert_eq!(changed.json()["epochSplits"], 5);
    numbers.feed(10);
    until("new objects are seen", || status()["backlog"]["objects"] == 10);
    assert_eq!(status()["intervalSeconds"], 0.03);
    served.ask("POST", "/api/resume", &bearer, "").json();
    until("all is done", || status()["backlog"]["objects"] == 0 && status()["epochs"]["open"] == 0);
    // The spec says 2 splits.
    assert_eq!(status()["epochs"]["completed"], 3);
    for (body, code) in [(r#"{"epochSplits": 0}"#, 400), (r#"{"epochSplit": 5}"#, 422), ("{", 400)] {
        assert_eq!(served.ask("POST", "/api/control", &bearer, body).status, code, "{body}");
    }
    served.command(&numbers, &["stop", "--all"]).ok();
    served.running.end();
    numbers.assert_exact();
}

#[test]
fn rows_of_an_edge_are_shown_as_they_pass() {
    let mut numbers = Numbers::local("tapped");
    numbers.feed(1);
    let served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    let mut tap = served.command(&numbers, &["tap", &numbers.spec, "upper", "--rows", "3"]).start();
    until("rows have passed", || {
        // The tap may not be there yet when the first rows pass.
        numbers.feed(1);
        served.command(&numbers, &["await", &numbers.spec]).ok();
        !tap.is_running()
    });
    let done = tap.end();
    let rows: Vec<Value> = done.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), 3, "{}", done.out);
    for row in rows {
        assert!(row["word"].as_str().unwrap().starts_with('W') && row["id"].is_string(), "{row}");
    }
    let unknown = served.command(&numbers, &["tap", &numbers.spec, "lower"]).run();
    assert!(unknown.code == Some(1) && unknown.err.contains("no stage `lower`"), "{}", unknown.err);
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn metrics_are_what_the_status_says() {
    let mut numbers = Numbers::local("metrics");
    numbers.feed(3);
    let served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    let metrics = served.get("/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    let samples = samples(&metrics.body);
    let value = |name: &str, stage: &str| {
        let found = samples.iter().find(|(n, labels, _)| n == name && labels.get("stage").is_none_or(|s| s == stage));
        found.unwrap_or_else(|| panic!("{name} of {stage} in {}", metrics.body)).2
    };
    assert_eq!(value("alluvium_stage_rows_total", "second"), 30.0);
    assert_eq!(value("alluvium_stage_frontier", "third"), 3.0);
    assert_eq!(value("alluvium_epoch_completed", ""), 2.0);
    assert_eq!(value("alluvium_table_rows_total", "first"), 30.0);
    assert_eq!(value("alluvium_backlog_objects", "numbers"), 0.0);
    // All of them are documented, and those that are documented and always there are there.
    let documented = std::fs::read_to_string("stages/monitor/METRICS.md").unwrap();
    for (name, ..) in &samples {
        let family = name.strip_suffix("_sum").or(name.strip_suffix("_count")).unwrap_or(name);
        assert!(documented.contains(&format!("`{family}`")), "{name} is not in METRICS.md");
    }
    served.command(&numbers, &["stop", "--all", "--now"]).ok();
}

#[test]
fn logs_are_json_lines_that_say_where_they_come_from() {
    let mut numbers = Numbers::local("logged");
    numbers.feed(1);
    numbers.call(&["--progress", "json"]).ok();
    // Written again: a warning about the source.
    let file = std::fs::read_dir(numbers.place.url("in")).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&file, "{\"id\": 1, \"word\": \"other\"}\n").unwrap();
    let done = numbers.call(&["--progress", "json"]).env("ALLUVIUM_LOG_FORMAT", "json").run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    let lines = told(&done.err);
    let warning = lines.iter().find(|l| l["message"].as_str().unwrap().contains("written again")).unwrap();
    assert_eq!((&warning["level"], &warning["stage"]), (&json!("WARN"), &json!("numbers")));
    let spans = warning["spans"].as_array().unwrap();
    assert_eq!((&spans[0]["name"], &spans[0]["pipeline"]), (&json!("run"), &json!("numbers")));
    assert_eq!((&spans[1]["name"], &spans[1]["stage"]), (&json!("stage"), &json!("numbers")));
}

#[test]
fn a_run_that_was_killed_is_told_from_one_that_goes_on() {
    let mut numbers = Numbers::local("killed");
    numbers.feed(1);
    let served = Served::start(&numbers, &WATCH, None);
    served.command(&numbers, &["await", &numbers.spec]).ok();
    served.running.signal("KILL");
    until("it is gone", || served.command(&numbers, &["ps"]).ok().lines().count() == 1);
    let status = served.command(&numbers, &["status", &numbers.spec]).run();
    assert_eq!(status.code, Some(3));
    assert!(status.out.contains("was killed"), "{}", status.out);
    let known = served.command(&numbers, &["ps", &numbers.spec]).ok();
    assert!(known.contains("elsewhere, or killed: process"), "{known}");
    assert_eq!(alluvium(&["ps", "--format", "json"]).env("ALLUVIUM_RUN_DIR", "/dev/null/runs").run().code, Some(1));
    served.running.end();
}

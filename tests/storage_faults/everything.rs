//! Every request that makes something durable, or that a commit depends on, meets every fault. Several requests of a run
//! meet the same one.

use std::time::Duration;

use serde_json::json;

use crate::s3::Case;
use crate::support::{Act, Proxy, read, write_table};

/// Columns that are found out, a change feed, upkeep after few epochs.
const SPEC: &str = r#"
pipeline: everything
state: ${LAKE}/_state
epoch: { splits: 2 }
storage: { timeout: "${TIMEOUT:-30s}" }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: infer }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first", upkeep: { checkpoint: 3, optimize: 3 } }
  words:   { kind: aggregate, input: first, by: [word], columns: { n: { count: "*" }, most: { max: id } } }
  second:
    { kind: delta, input: words, table: "${LAKE}/second", mode: upsert, change_feed: true, upkeep: { checkpoint: 3 } }
"#;
const FILES: usize = 8;

/// What is written besides the records and commits of epochs. Versions are known: four epochs, and what upkeep commits.
const WRITING: [(&str, &str); 9] = [
    ("PUT", "/_state/resolved/numbers/"),
    ("PUT", "/_state/lease/00000000000000000001.beat"),
    ("PUT", "/lake/second/_delta_log/00000000000000000000.json"),
    ("PUT", "/lake/second/part-"),
    ("PUT", "/lake/second/_change_data/"),
    // Small files are merged.
    ("PUT", "/lake/first/_delta_log/00000000000000000004.json"),
    ("PUT", "/lake/first/part-00000-"),
    ("PUT", ".checkpoint.parquet"),
    ("PUT", "/_delta_log/_last_checkpoint"),
];

/// What commits read.
const READING: [(&str, &str); 2] = [("GET", "/lake/second/part-"), ("GET", "/lake/second/_delta_log/")];

fn ridden_out(requests: &[(&'static str, &str)], act: Act) {
    let case = Case::with("everything", FILES, SPEC);
    let proxy = Proxy::start(&case.bucket.endpoint);
    for (method, part) in requests {
        proxy.rule(method, part, act, 1);
    }
    let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "1s").run();
    assert_eq!(proxy.missed(), Vec::<String>::new(), "{act:?}:\n{}", done.err);
    assert_eq!(done.code, Some(0), "{act:?}:\n{}", done.err);
    case.assert_exact(FILES);
    case.input(FILES..FILES + 1);
    let done = case.run();
    assert_eq!(done.code, Some(0), "after {act:?}:\n{}", done.err);
    case.assert_exact(FILES + 1);
}

#[test]
fn answers_that_are_lost() {
    ridden_out(&WRITING, Act::LoseAnswer);
    ridden_out(&READING, Act::LoseAnswer);
}

#[test]
fn answers_that_are_wrong() {
    for status in [500, 503, 409, 412] {
        ridden_out(&WRITING, Act::CarryOutAndAnswer(status));
    }
    ridden_out(&WRITING, Act::Answer(409));
    ridden_out(&READING, Act::Answer(500));
    ridden_out(&READING, Act::Answer(503));
}

#[test]
fn answers_that_are_late_or_cut() {
    ridden_out(&WRITING, Act::Delay(Duration::from_millis(1_500)));
    ridden_out(&READING, Act::Delay(Duration::from_millis(1_500)));
    ridden_out(&READING, Act::CutBody);
}

#[test]
fn requests_that_are_cut_or_late() {
    ridden_out(&WRITING, Act::CutUpload);
    ridden_out(&WRITING, Act::Late(Duration::ZERO));
}

/// The table gets columns, and a change feed, when a run starts.
#[test]
fn tables_that_are_altered() {
    let altered = SPEC.replace("change_feed: true", "on_schema_change: add, change_feed: true");
    for act in [Act::LoseAnswer, Act::CarryOutAndAnswer(500), Act::CutUpload, Act::Late(Duration::ZERO)] {
        let case = Case::with("altered", 2, &altered);
        let table = |schema| json!([{ "append": [], "schema": schema }]);
        write_table(&case.bucket.url("lake/second"), &table(json!({ "word": "string" })));
        let proxy = Proxy::start(&case.bucket.endpoint);
        // The columns, then the property.
        proxy.rule("PUT", "/lake/second/_delta_log/00000000000000000001.json", act, 1);
        proxy.rule("PUT", "/lake/second/_delta_log/00000000000000000002.json", act, 1);
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "1s").run();
        assert_eq!(proxy.missed(), Vec::<String>::new(), "{act:?}:\n{}", done.err);
        assert_eq!(done.code, Some(0), "{act:?}:\n{}", done.err);
        case.assert_exact(2);
    }
}

/// An object that vanishes before it is read is dropped from its epoch, and found again.
#[test]
fn what_is_written_of_dropped_objects() {
    let skipping = SPEC.replace("schema: infer", "schema: { id: bigint, word: string }, on_missing: skip");
    for act in [Act::LoseAnswer, Act::CarryOutAndAnswer(500), Act::CutUpload, Act::Late(Duration::ZERO)] {
        let case = Case::with("dropped", 4, &skipping);
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule("GET", "/in/f01.json", Act::Answer(404), 1);
        proxy.rule("PUT", "/_state/dropped/", act, 1);
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "1s").run();
        assert_eq!(proxy.missed(), Vec::<String>::new(), "{act:?}:\n{}", done.err);
        assert_eq!(done.code, Some(0), "{act:?}:\n{}", done.err);
        case.assert_exact(4);
        assert_eq!(case.run().code, Some(0));
        case.assert_exact(4);
    }
}

/// 64 epochs are archived together, and their records deleted.
#[test]
fn what_is_written_and_deleted_when_epochs_are_archived() {
    const LEDGER: &str = r#"
pipeline: archived
state: ${LAKE}/_state
epoch: { splits: 1 }
storage: { timeout: "${TIMEOUT:-30s}" }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
"#;
    let acts = [Act::LoseAnswer, Act::CarryOutAndAnswer(500), Act::CutUpload, Act::Late(Duration::ZERO)];
    for act in acts {
        let case = Case::with("archived", 65, LEDGER);
        let proxy = Proxy::start(&case.bucket.endpoint);
        for (method, part) in [("PUT", "/_state/ledger/segments/"), ("PUT", "/_state/ledger/0"), ("POST", "delete")] {
            proxy.rule(method, part, act, 1);
        }
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "1s").run();
        assert_eq!(proxy.missed(), Vec::<String>::new(), "{act:?}:\n{}", done.err);
        assert_eq!(done.code, Some(0), "{act:?}:\n{}", done.err);
        assert!(case.run().out.contains("nothing new to process"), "{act:?}");
        assert_eq!(read(&case.bucket.url("lake/first")).rows.len(), 65 * 20, "{act:?}");
    }
}

/// The parts of a large file: the first of each kind of request, then the last.
#[test]
fn files_that_go_up_in_parts() {
    let acts = [Act::LoseAnswer, Act::CarryOutAndAnswer(500), Act::CutUpload, Act::Late(Duration::ZERO)];
    for act in acts {
        let case = Case::new("parts", 1);
        crate::s3::put_large(&case);
        let proxy = Proxy::start(&case.bucket.endpoint);
        for (method, part) in
            [("POST", "uploads"), ("PUT", "partNumber=1&"), ("PUT", "partNumber=2&"), ("POST", "uploadId=")]
        {
            proxy.rule(method, part, act, 1);
        }
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "2s").run();
        assert_eq!(proxy.missed(), Vec::<String>::new(), "{act:?}:\n{}", done.err);
        assert_eq!(done.code, Some(0), "{act:?}:\n{}", done.err);
        assert_eq!(read(&case.bucket.url("lake/first")).rows.len(), crate::s3::LARGE + 20, "{act:?}");
    }
}

/// Gone at the very moment.
#[test]
fn a_server_that_is_gone_for_half_a_minute_at_a_decisive_request() {
    let requests = [
        ("PUT", "/_state/bindings/00000000000000000002.json"),
        ("PUT", "/lake/second/_delta_log/00000000000000000002.json"),
    ];
    std::thread::scope(|scope| {
        for (method, part) in requests {
            scope.spawn(move || {
                let case = Case::new("gone", 4);
                let proxy = Proxy::start(&case.bucket.endpoint);
                proxy.rule(method, part, Act::Outage(Duration::from_secs(30)), 1);
                let done = case.call(&["run"], &proxy.url()).run();
                assert_eq!(done.code, Some(0), "{method} {part}:\n{}", done.err);
                assert_eq!(proxy.missed(), Vec::<String>::new());
                case.assert_exact(4);
            });
        }
    });
}

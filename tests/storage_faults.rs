//! What networks and servers do to requests: nothing is lost, doubled or deleted.

mod everything;
mod takeover;

use std::time::Duration;

use crate::s3::Case;
use crate::support::{Act, Proxy, until};

/// Requests that decide what is durable: method, part of the path.
const DECISIVE: [(&str, &str); 9] = [
    ("PUT", "/_state/pipeline.json"),
    ("PUT", "/_state/lease/00000000000000000001.json"),
    ("PUT", "/_state/bindings/00000000000000000001.json"),
    ("PUT", "/_state/operators/words/"),
    ("PUT", "/_state/complete/00000000000000000002.json"),
    ("PUT", "/lake/first/part-"),
    ("PUT", "/lake/first/_delta_log/00000000000000000000.json"),
    ("PUT", "/lake/first/_delta_log/00000000000000000002.json"),
    ("PUT", "/lake/second/_delta_log/00000000000000000002.json"),
];

/// Whatever is answered to a request that decides, the run rides it out and every row is there once.
fn ridden_out(requests: &[(&'static str, &str)], act: Act) {
    for (method, part) in requests {
        let case = Case::new("fault", 4);
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule(method, part, act, 1);
        let done = case.call(&["run"], &proxy.url()).env("TIMEOUT", "2s").run();
        assert_eq!(proxy.hits(), 1, "{method} {part} was not met:\n{}", done.err);
        assert_eq!(done.code, Some(0), "{act:?} of {method} {part}:\n{}", done.err);
        case.assert_exact(4);
        assert_eq!(case.run().code, Some(0));
        case.assert_exact(4);
    }
}

#[test]
fn lost_answers() {
    ridden_out(&DECISIVE, Act::LoseAnswer);
}

#[test]
fn errors_of_requests_that_were_carried_out() {
    ridden_out(&DECISIVE, Act::CarryOutAndAnswer(500));
    ridden_out(&DECISIVE, Act::CarryOutAndAnswer(503));
}

#[test]
fn conflicts_that_are_none() {
    ridden_out(&DECISIVE, Act::CarryOutAndAnswer(409));
    ridden_out(&DECISIVE, Act::CarryOutAndAnswer(412));
    ridden_out(&DECISIVE, Act::Answer(409));
}

#[test]
fn answers_that_come_too_late() {
    ridden_out(&DECISIVE, Act::Delay(Duration::from_secs(3)));
}

#[test]
fn requests_that_are_cut_or_carried_out_after_their_client_has_given_up() {
    ridden_out(&DECISIVE, Act::CutUpload);
    ridden_out(&DECISIVE, Act::Late(Duration::ZERO));
}

/// Requests that read what the run depends on.
const READING: [(&str, &str); 3] =
    [("GET", "/in/f00.json"), ("GET", "list-type=2"), ("GET", "/lake/first/_delta_log/")];

#[test]
fn answers_that_are_cut_or_refused_while_reading() {
    ridden_out(&READING[..1], Act::CutBody);
    ridden_out(&READING, Act::LoseAnswer);
    ridden_out(&READING, Act::Answer(500));
    ridden_out(&READING, Act::Answer(503));
}

#[test]
fn what_is_read_when_a_run_starts_again_may_be_cut() {
    for part in ["/_state/complete/", "/_state/bindings/", "/_state/operators/", "/lake/first/_delta_log/"] {
        let case = Case::new("restart", 2);
        assert_eq!(case.run().code, Some(0));
        case.input(2..4);
        let proxy = Proxy::start(&case.bucket.endpoint);
        proxy.rule("GET", part, Act::CutBody, 1);
        let done = case.call(&["run"], &proxy.url()).run();
        assert_eq!(done.code, Some(0), "{part}:\n{}", done.err);
        case.assert_exact(4);
    }
}

/// An error while asking what a table holds is never "nothing".
#[test]
fn a_table_that_cannot_be_asked_is_not_written() {
    let case = Case::new("asked", 2);
    assert_eq!(case.run().code, Some(0));
    case.input(2..4);
    let before = case.bucket.list("lake");
    for status in [403, 500] {
        let proxy = Proxy::start(&case.bucket.endpoint);
        for (method, part) in
            [("GET", "/lake/first/_delta_log/"), ("HEAD", "/lake/first/"), ("GET", "first%2F_delta_log")]
        {
            proxy.rule(method, part, Act::Answer(status), usize::MAX);
        }
        let done = case.call(&["run"], &proxy.url()).env("RETRIES", "2").run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        assert!(done.err.contains("stage `first` failed: the table cannot be"), "{}", done.err);
        // The event log tells of it.
        let others = |path: &String| !["/lease/", "/_state/events/"].iter().any(|p| path.contains(p));
        let written = case.bucket.list("lake").into_iter().filter(|p| others(p) && !before.contains(p));
        assert_eq!(written.collect::<Vec<_>>(), Vec::<String>::new());
    }
    assert_eq!(case.run().code, Some(0));
    case.assert_exact(4);
}

#[test]
fn a_server_that_is_gone_for_half_a_minute_is_waited_for() {
    let case = Case::new("outage", 6);
    let proxy = Proxy::start(&case.bucket.endpoint);
    let run = case.call(&["run"], &proxy.url()).start();
    until("an epoch is bound", || !case.bucket.list("lake/_state/bindings").is_empty());
    proxy.refuse(true);
    std::thread::sleep(Duration::from_secs(30));
    proxy.refuse(false);
    let done = run.end();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("backing off"), "nothing was said of the outage:\n{}", done.err);
    case.assert_exact(6);
}

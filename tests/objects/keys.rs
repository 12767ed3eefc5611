//! How objects are named, how many there are, and how they came there.

use std::time::Duration;

use super::{Case, lines};
use crate::support::{Act, Proxy};

/// Characters that URLs, listings and signatures treat in ways of their own.
const NAMES: [&str; 10] = [
    "with space.json",
    "per%20cent.json",
    "per%cent.json",
    "hash#tag.json",
    "what?.json",
    "a+b&c=d.json",
    "Überraschung 🎉.json",
    "tilde~*'(!).json",
    "[brackets]{braces}.json",
    "fol der/%2F;,@:$.json",
];

#[test]
fn names_with_any_characters() {
    let case = Case::new("names", "format: json, add: { object: path }");
    for (at, name) in NAMES.iter().enumerate() {
        case.bucket.put(&format!("in/{name}"), lines(at..at + 1, 16));
    }
    case.call().ok();
    let mut rows: Vec<(i64, String)> = case
        .table()
        .select(&["id", "object"])
        .iter()
        .map(|row| (row[0].as_i64().unwrap(), row[1].as_str().unwrap().to_owned()))
        .collect();
    rows.sort();
    let expected = NAMES.iter().zip(0..).map(|(name, at)| (at, case.bucket.url(&format!("in/{name}"))));
    assert_eq!(rows, expected.collect::<Vec<_>>());
    assert!(case.call().ok().contains("nothing new to process"));
}

/// Its ETag is not a hash of its content, and must be the same in a listing and in an answer.
#[test]
fn an_object_that_came_in_parts() {
    let case = Case::new("multipart", "format: json");
    let content = lines(0..10_000, 800);
    assert!(content.len() > 6 << 20);
    case.bucket.put_in_parts("in/large.json", content.as_bytes());
    let tag = case.bucket.head("in/large.json").e_tag.unwrap();
    assert!(tag.trim_matches('"').ends_with("-2"), "{tag}");
    case.call().ok();
    case.assert_ids(0..10_000);
    assert!(case.call().ok().contains("nothing new to process"));
}

/// A listing comes in pages of 1,000; what comes later may have a name before all others.
#[test]
fn a_listing_of_several_pages() {
    let case = Case::new("pages", "format: json");
    let name = |at: usize| format!("in/{:05}.json", 10_000 + at);
    case.bucket.put_all((0..1_100).map(|at| (name(at), lines(at..at + 1, 0))));
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "continuation-token", Act::Delay(Duration::ZERO), usize::MAX);
    let done = case.through(&proxy.url()).run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(proxy.hits() > 0, "there was one page");
    case.assert_ids(0..1_100);
    case.bucket.put_all((1_100..1_105).map(|at| (format!("in/{at:05}.json"), lines(at..at + 1, 0))));
    case.call().ok();
    case.assert_ids(0..1_105);
    assert!(case.call().ok().contains("nothing new to process"));
}

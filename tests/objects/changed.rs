//! Objects that are written again, or go, when they are bound to an epoch and not yet read.
#![cfg(debug_assertions)]

use std::time::Duration;

use super::{Case, lines};
use crate::support::{Act, Proxy, python, until};

/// A Parquet file with these numbers, in row groups of a thousand.
fn parquet(ids: std::ops::Range<usize>) -> Vec<u8> {
    let code = "import sys, io, pyarrow as pa, pyarrow.parquet as pq\n\
                out = io.BytesIO()\n\
                ids = pa.table({'id': list(range(int(sys.argv[1]), int(sys.argv[2])))})\n\
                pq.write_table(ids, out, row_group_size=1000, compression='none', use_dictionary=False)\n\
                sys.stdout.buffer.write(out.getvalue())";
    python(&["-c", code, &ids.start.to_string(), &ids.end.to_string()])
}

fn content(format: &str, ids: std::ops::Range<usize>) -> Vec<u8> {
    match format {
        "parquet" => parquet(ids),
        _ => lines(ids, 64).into_bytes(),
    }
}

/// A pipeline that was killed when its first epoch had been bound, but nothing read.
fn bound(name: &str, source: &str, format: &str) -> Case {
    let case = Case::new(name, &format!("format: {format}{source}"));
    case.bucket.put("in/a", content(format, 0..10)).put("in/b", content(format, 10..20));
    case.call().killed_at("after-binding@1");
    case
}

#[test]
fn an_object_that_was_written_again_before_it_was_read_is_read_as_it_is() {
    for format in ["json", "parquet"] {
        let case = bound("again", "", format);
        let before = case.bucket.head("in/b");
        case.bucket.put("in/b", content(format, 20..30));
        let now = case.bucket.head("in/b");
        assert!(now.size == before.size && now.e_tag != before.e_tag, "{before:?} {now:?}");
        let done = case.call().run();
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.err.contains("it has the same size, but was written again; it is left out"), "{}", done.err);
        case.assert_ids((0..10).chain(20..30));
    }
}

#[test]
fn an_object_that_was_written_again_when_a_table_holds_its_rows_is_a_fault() {
    for format in ["json", "parquet"] {
        let case = Case::new("fixed", &format!("format: {format}"));
        case.bucket.put("in/a", content(format, 0..10));
        case.call().killed_at("after-commit:rows@1");
        case.assert_ids(0..10);
        case.bucket.put("in/a", content(format, 10..25));
        let done = case.call().run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        for part in ["the object has changed since it was bound to the epoch: it had ", &case.bucket.url("in/a")] {
            assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
        }
        case.assert_ids(0..10);
    }
}

/// Row groups are fetched one after the other, each on the condition that the object is the same.
#[test]
fn a_parquet_file_that_is_written_again_between_two_of_its_parts_is_a_fault() {
    let case = Case::new("parts", "format: parquet");
    case.bucket.put("in/a", parquet(0..100_000));
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "/in/a", Act::Delay(Duration::from_millis(100)), usize::MAX);
    let run = case.through(&proxy.url()).start();
    // The footer, then group by group.
    until("some row groups were asked for", || proxy.hits() > 6);
    case.bucket.put("in/a", parquet(100_000..200_000));
    let done = run.end();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("the object has changed since it was bound to the epoch"), "{}", done.err);
    case.call().ok();
    case.assert_ids(100_000..200_000);
}

#[test]
fn an_object_that_is_gone_is_a_fault_or_left_out() {
    for format in ["json", "parquet"] {
        let case = bound("gone", ", on_missing: skip", format);
        case.bucket.delete("in/b");
        let done = case.call().run();
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(
            done.err.contains("the object has vanished since it was bound to the epoch; it is left out"),
            "{}",
            done.err
        );
        case.assert_ids(0..10);

        let case = bound("gone", "", format);
        let kept = content(format, 10..20);
        case.bucket.delete("in/b");
        let done = case.call().run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        for part in
            ["the object has vanished since it was bound to the epoch", &case.bucket.url("in/b"), "hint: put it back"]
        {
            assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
        }
        // A copy that is put back is another version, and nothing of it was committed.
        case.bucket.put("in/b", kept);
        case.call().ok();
        case.assert_ids(0..20);
    }
}

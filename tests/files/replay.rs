//! Objects that are no longer what they were when they were bound to an epoch.
#![cfg(debug_assertions)]

use std::os::unix::process::ExitStatusExt;

use serde_json::json;

use super::{Case, python};

/// A pipeline that was killed when its first epoch had been bound, but nothing read.
#[track_caller]
fn bound(name: &str, format: &str, content: &[u8]) -> Case {
    let case = Case::new(name, &format!("format: {format}, schema: {{ id: bigint }}"));
    case.put("a.data", content).put("b.data", content);
    let done = case.call().env("ALLUVIUM_FAILPOINT", "after-binding@1").command().output().unwrap();
    assert_eq!(done.status.signal(), Some(9), "{}", String::from_utf8_lossy(&done.stderr));
    case
}

fn parquet() -> Vec<u8> {
    let code = "import sys, io, pyarrow as pa, pyarrow.parquet as pq\n\
                out = io.BytesIO(); pq.write_table(pa.table({'id': [1, 2]}), out); print(out.getvalue().hex())";
    let hex = python(code, &[]);
    (0..hex.trim().len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn an_object_that_has_changed_is_a_fault() {
    let parquet = parquet();
    for (format, content) in [("json", &b"{\"id\":1}\n"[..]), ("csv", b"id\n1\n"), ("parquet", &parquet)] {
        let case = bound("changed", format, content);
        // The same content written again cannot be told from another one of this size.
        case.put("b.data", content);
        let object = format!("object: {}", case.url("b.data"));
        let says = "stage `objects` failed at epoch 1: the object has changed since it was bound to the epoch";
        case.fault(&[
            &format!("{says}: it has the same size, but was written again"),
            &object,
            "hint: bring back the original",
        ]);
        case.put("b.data", [content, b"\n"].concat());
        let sizes = format!("it had {} bytes, now {}", content.len(), content.len() + 1);
        case.fault(&[says, &sizes, &object]);
    }
}

#[test]
fn an_object_that_has_vanished_is_a_fault_until_it_is_back() {
    let parquet = parquet();
    for (format, content) in [("json", &b"{\"id\":1}\n{\"id\":2}\n"[..]), ("csv", b"id\n1\n2\n"), ("parquet", &parquet)]
    {
        let case = bound("vanished", format, content);
        std::fs::rename(case.folder.path("in/b.data"), case.folder.path("kept")).unwrap();
        let object = format!("object: {}", case.url("b.data"));
        case.fault(&[
            "stage `objects` failed at epoch 1: the object has vanished since it was bound to the epoch",
            &object,
            "hint: put it back",
        ]);
        std::fs::rename(case.folder.path("kept"), case.folder.path("in/b.data")).unwrap();
        assert_eq!(case.rows().rows, [[json!(1)], [json!(1)], [json!(2)], [json!(2)]]);
    }
}

#[test]
fn another_url_is_a_fault_while_an_epoch_is_open() {
    let case = bound("moved", "json", b"{\"id\":1}\n");
    std::fs::rename(case.folder.path("in"), case.folder.path("elsewhere")).unwrap();
    let done = case.call().env("IN", &case.folder.text("elsewhere")).run();
    assert_eq!(done.code, Some(1));
    assert!(
        done.err.contains("the object has vanished since it was bound") && done.err.contains(&case.url("")),
        "{}",
        done.err
    );
}

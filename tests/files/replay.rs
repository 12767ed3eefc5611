//! Objects that are no longer what they were when they were bound to an epoch.
#![cfg(debug_assertions)]

use std::io::Write;
use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use super::{Case, numbered, python};
use crate::support::until;

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

/// No table holds anything of it, so what is there now is read instead, as a whole.
#[test]
fn an_object_that_has_changed_before_anything_was_committed_is_read_as_it_is() {
    let parquet = parquet();
    for (format, content) in [("json", &b"{\"id\":1}\n{\"id\":2}\n"[..]), ("csv", b"id\n1\n2\n"), ("parquet", &parquet)]
    {
        let case = bound("changed", format, content);
        // The same content written again cannot be told from another one of this size.
        case.put("b.data", content);
        let done = case.call().run();
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.err.contains("it has the same size, but was written again; it is left out"), "{}", done.err);
        assert_eq!(case.rows().rows, [[json!(1)], [json!(1)], [json!(2)], [json!(2)]], "{format}");
    }
    let case = bound("grown", "json", b"{\"id\":1}\n");
    case.put("b.data", b"{\"id\":1}\n{\"id\":7}\n");
    let done = case.call().run();
    assert!(done.err.contains("it had 9 bytes, now 18; it is left out of the epoch"), "{}", done.err);
    assert_eq!(case.rows().rows, [[json!(1)], [json!(1)], [json!(7)]]);
}

#[test]
fn an_object_that_has_changed_when_a_table_holds_its_rows_is_a_fault() {
    let parquet = parquet();
    for (format, content) in [("json", &b"{\"id\":1}\n"[..]), ("csv", b"id\n1\n"), ("parquet", &parquet)] {
        let case = Case::new("fixed", &format!("format: {format}, schema: {{ id: bigint }}"));
        case.put("a.data", content).put("b.data", content);
        let done = case.call().env("ALLUVIUM_FAILPOINT", "after-commit:rows@1").command().output().unwrap();
        assert_eq!(done.status.signal(), Some(9), "{}", String::from_utf8_lossy(&done.stderr));
        let held = crate::support::read(&case.folder.text("lake/rows"));
        case.put("b.data", [content, b"\n"].concat());
        let done = case.call().run();
        assert_eq!(done.code, Some(1), "{}", done.err);
        for part in [
            "stage `objects` failed at epoch 1: the object has changed since it was bound to the epoch",
            &format!("it had {} bytes, now {}", content.len(), content.len() + 1),
            &format!("object: {}", case.url("b.data")),
            "hint: bring back the original",
        ] {
            assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
        }
        assert_eq!(crate::support::read(&case.folder.text("lake/rows")), held);
    }
}

/// What an epoch consists of, by the record.
fn binding(case: &Case, lake: &str, epoch: u64) -> (std::path::PathBuf, Value) {
    let path = case.folder.path(lake).join(format!("_state/bindings/{epoch:020}.json"));
    let text = std::fs::read(&path).unwrap_or_default();
    (path, serde_json::from_slice(&text).unwrap_or_default())
}

/// It is bound a second time while the first epoch waits to be read.
#[test]
fn an_object_that_is_bound_again_before_it_was_read_is_read_once() {
    let case = Case::new("twice", "format: json, schema: { id: bigint }, on_change: reprocess");
    case.put("a.data", b"{\"id\":1}\n");
    let bind = |lake: &str| {
        let call = case.call().env("LAKE", &case.folder.text(lake)).env("ALLUVIUM_FAILPOINT", "after-binding@1");
        let done = call.command().output().unwrap();
        assert_eq!(done.status.signal(), Some(9), "{}", String::from_utf8_lossy(&done.stderr));
    };
    bind("lake");
    case.put("a.data", b"{\"id\":2}\n");
    // As a run would bind it that is not killed: in the next epoch, as it is now.
    bind("other");
    let (_, mut next) = binding(&case, "other", 1);
    let (_, first) = binding(&case, "lake", 1);
    for (field, value) in [("epoch", json!(2)), ("generation", first["generation"].clone())] {
        next[field] = value;
    }
    assert_ne!(next["splits"], first["splits"]);
    std::fs::write(binding(&case, "lake", 2).0, next.to_string()).unwrap();
    assert_eq!(case.rows().rows, [[json!(2)]]);
    assert!(case.call().ok().contains("nothing new to process"));
}

#[test]
fn an_object_that_has_vanished_may_be_left_out() {
    let skip = "format: json, on_missing: skip, schema: { id: bigint }";
    let case = Case::new("skipped", skip);
    case.put("a.data", b"{\"id\":1}\n").put("b.data", b"{\"id\":2}\n");
    let done = case.call().env("ALLUVIUM_FAILPOINT", "after-binding@1").command().output().unwrap();
    assert_eq!(done.status.signal(), Some(9));
    std::fs::rename(case.folder.path("in/b.data"), case.folder.path("kept")).unwrap();
    let done = case.call().run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(
        done.err.contains("the object has vanished since it was bound to the epoch; it is left out"),
        "{}",
        done.err
    );
    assert_eq!(case.rows().rows, [[json!(1)]]);
    // It was not read, so it is new when it is back.
    std::fs::rename(case.folder.path("kept"), case.folder.path("in/b.data")).unwrap();
    assert_eq!(case.rows().rows, [[json!(1)], [json!(2)]]);
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

/// Stops a run in the middle of the only object, which is at least so large, does something, and lets it go on.
#[track_caller]
fn in_the_middle(case: &Case, bytes: u64, meanwhile: impl FnOnce()) -> crate::support::Done {
    let run = case.call().start();
    // What the process has read of files; there is no other one of this size.
    let read = || {
        let io = std::fs::read_to_string(format!("/proc/{}/io", run.id())).unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse::<u64>().unwrap()
    };
    until("a quarter of the object is read", || read() > bytes / 4);
    run.signal("STOP");
    assert!(read() < bytes / 4 * 3, "the object was read too quickly: {} of {bytes}", read());
    meanwhile();
    run.signal("CONT");
    run.end()
}

/// A Parquet file of about 2 KB a row, in many row groups.
fn large_parquet(seed: u32, rows: usize) -> Vec<u8> {
    let code = "import sys, io, random, pyarrow as pa, pyarrow.parquet as pq\n\
                rows, bytes_of = int(sys.argv[2]), random.Random(int(sys.argv[1])).randbytes\n\
                table = pa.table({'id': list(range(rows)), 'noise': [bytes_of(1000).hex() for _ in range(rows)]})\n\
                out = io.BytesIO()\n\
                pq.write_table(table, out, row_group_size=500, compression='none', use_dictionary=False)\n\
                sys.stdout.buffer.write(out.getvalue())";
    crate::support::python(&["-c", code, &seed.to_string(), &rows.to_string()])
}

const TORN: &str = "the object has changed since it was bound to the epoch";

#[test]
fn a_file_that_is_rewritten_while_it_is_read_is_a_fault_and_then_read_as_a_whole() {
    const ROWS: usize = 30_000;
    let old = numbered(100_000..100_000 + ROWS, 2_000);
    // Longer, as long, and shorter.
    for rows in [ROWS + 5_000, ROWS, ROWS - 5_000] {
        let case = Case::new("rewritten", "format: json, schema: { id: bigint, text: string }");
        case.put("a.data", &old);
        let new = numbered(200_000..200_000 + rows, 2_000);
        let done = in_the_middle(&case, old.len() as u64, || _ = case.put("a.data", &new));
        assert_eq!(done.code, Some(1), "{rows} rows: {}", done.err);
        assert!(done.err.contains(TORN) && done.err.contains(&case.url("a.data")), "{}", done.err);
        let ids: Vec<Vec<serde_json::Value>> = (200_000..200_000 + rows).map(|id| vec![json!(id)]).collect();
        assert!(case.rows().select(&["id"]) == ids, "{rows} rows are not those of the new file");
    }
}

#[test]
fn a_file_may_grow_or_be_touched_while_it_is_read() {
    const ROWS: usize = 30_000;
    let old = numbered(0..ROWS, 2_000);
    for more in ["", "{\"id\":1,\"text\":\"more\"}\n"] {
        let case = Case::new("grown", "format: json, schema: { id: bigint, text: string }");
        case.put("a.data", &old);
        let append = || {
            let mut file = std::fs::File::options().append(true).open(case.folder.path("in/a.data")).unwrap();
            file.write_all(more.as_bytes()).unwrap();
            file.set_modified(std::time::SystemTime::now()).unwrap();
        };
        let done = in_the_middle(&case, old.len() as u64, append);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert_eq!(crate::support::read(&case.folder.text("lake/rows")).rows.len(), ROWS);
    }
}

#[test]
fn a_parquet_file_that_is_written_between_two_of_its_parts_is_a_fault() {
    let case = Case::new("parts", "format: parquet, schema: { id: bigint, noise: string }");
    let (old, new) = (large_parquet(1, 40_000), large_parquet(2, 40_000));
    assert_eq!(old.len(), new.len());
    case.put("a.data", &old);
    let done = in_the_middle(&case, old.len() as u64, || _ = case.put("a.data", &new));
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains(TORN) && done.err.contains(&case.url("a.data")), "{}", done.err);
    assert_eq!(case.rows().rows.len(), 40_000);
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

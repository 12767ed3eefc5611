//! Which objects are read, in which order, and when.

use serde_json::{Value, json};

use super::Case;

const COLUMNS: &str = "schema: { id: bigint }, add: { file: path }";

/// Names of the objects that were read, by epoch.
fn read_by_epoch(case: &Case) -> Vec<Vec<String>> {
    let folder = case.folder.path("lake/_state/bindings");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    let names = |path: &std::path::PathBuf| {
        let binding: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let splits = binding["splits"]["objects"].as_array().unwrap().clone();
        let base = case.url("");
        splits.iter().map(|s| s["id"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned()).collect()
    };
    files.iter().map(names).collect()
}

#[test]
fn patterns_choose_objects_by_name_or_path() {
    let patterns = "include: [\"*.json\", \"2009/**/x.txt\"], exclude: [\"b*\", \"old/**\"]";
    let case = Case::new("patterns", &format!("format: json, {COLUMNS}, {patterns}"));
    for (id, name) in [
        "a.json",
        "b.json",
        "c.csv",
        "deep/er/d.json",
        "2009/04/x.txt",
        "2009/x.txt",
        "x.txt",
        "old/e.json",
        "old/f/g.json",
    ]
    .iter()
    .enumerate()
    {
        case.put(name, format!("{{\"id\":{id}}}\n"));
    }
    let ids: Vec<Value> = case.rows().select(&["id"]).into_iter().map(|mut r| r.remove(0)).collect();
    assert_eq!(ids, [json!(0), json!(3), json!(4), json!(5)]);
}

#[test]
fn objects_are_read_in_the_order_that_was_asked_for_and_late_ones_too() {
    for (order, first, second) in [("name", ["a", "b"], ["c", "d"]), ("mtime", ["c", "a"], ["d", "b"])] {
        let case = Case::with("order", &format!("format: json, {COLUMNS}, order: {order}"), "epoch: { splits: 2 }");
        for (seconds, name) in [(1_000, "c"), (2_000, "a"), (3_000, "d"), (4_000, "b")] {
            case.put(name, "{\"id\":1}\n");
            written(&case, name, seconds);
        }
        case.call().ok();
        assert_eq!(read_by_epoch(&case), [first, second], "{order}");
        case.put("0", "{\"id\":2}\n");
        written(&case, "0", 500);
        case.call().ok();
        assert_eq!(read_by_epoch(&case)[2], ["0"], "{order}");
    }
}

/// Sets when a file was last written.
fn written(case: &Case, name: &str, seconds: u64) {
    let file = std::fs::File::options().write(true).open(case.folder.path("in").join(name)).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
}

#[test]
fn epochs_are_closed_by_objects_bytes_and_rows() {
    let twenty = |case: &Case| {
        for file in 0..20 {
            let rows = (0..10).map(|row| format!("{{\"id\":{:>5}}}\n", file * 10 + row));
            case.put(&format!("{file:02}"), rows.collect::<String>());
        }
    };
    // An object has 10 rows of 13 bytes.
    for (limits, expected) in [
        ("{ splits: 7 }", vec![7, 7, 6]),
        ("{ bytes: 600 }", vec![4; 5]),
        ("{ bytes: 1 }", vec![1; 20]),
        ("{ rows: 50, open: 1 }", [vec![1], vec![5; 3], vec![4]].concat()),
        ("{ rows: 50, splits: 3, open: 1 }", [vec![1], vec![3; 6], vec![1]].concat()),
    ] {
        let case = Case::with("limits", &format!("format: json, {COLUMNS}"), &format!("epoch: {limits}"));
        twenty(&case);
        case.call().ok();
        let sizes: Vec<usize> = read_by_epoch(&case).iter().map(Vec::len).collect();
        assert_eq!(sizes, expected, "{limits}");
        // How large rows are is known from the last run.
        if limits.contains("rows: 50, open") {
            for file in 20..40 {
                case.put(&format!("{file:02}"), "{\"id\":    7}\n".repeat(10));
            }
            case.call().ok();
            let sizes: Vec<usize> = read_by_epoch(&case).iter().map(Vec::len).collect();
            assert_eq!(sizes[expected.len()..], [5, 5, 5, 5]);
        }
    }
}

#[test]
fn an_object_that_is_written_again_after_it_was_read() {
    for (policy, ids) in [("ignore", vec![1]), ("error", vec![1]), ("reprocess", vec![1, 2])] {
        let case = Case::new("again", &format!("format: json, {COLUMNS}, on_change: {policy}"));
        case.put("a", "{\"id\":1}\n");
        case.call().ok();
        case.put("a", "{\"id\":2}\n");
        let done = case.call().run();
        match policy {
            "error" => {
                assert_eq!(done.code, Some(1));
                assert!(done.err.contains("stage `objects` failed"), "{}", done.err);
                assert!(
                    done.err.contains("an object was written again after it had been bound to an epoch"),
                    "{}",
                    done.err
                );
                assert!(done.err.contains(&format!("object: {}", case.url("a"))), "{}", done.err);
            }
            "ignore" => {
                assert_eq!(done.code, Some(0), "{}", done.err);
                assert!(
                    done.err.contains("objects written again after they had been bound to an epoch: 1, for example"),
                    "{}",
                    done.err
                );
            }
            _ => assert_eq!(done.code, Some(0), "{}", done.err),
        }
        let found: Vec<i64> = crate::support::read(&case.folder.text("lake/rows"))
            .select(&["id"])
            .iter()
            .map(|r| r[0].as_i64().unwrap())
            .collect();
        assert_eq!(found, ids, "{policy}");
        // And once read again it is known as it is.
        if policy == "reprocess" {
            assert!(case.call().ok().contains("nothing new to process"));
        }
    }
}

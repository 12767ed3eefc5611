//! What cannot be read is told, with what to do.

use serde_json::{Value, json};

use super::{Case, append, create};
use crate::support::read;

#[test]
fn rows_that_are_rewritten_stop_a_reader_of_added_rows() {
    let case = Case::new("rewritten", "", "");
    case.write(json!([create(0, 20)]));
    case.run();
    case.write(json!([append(20, 5), { "delete": "id = 3" }, append(25, 5)]));
    let error = case.refused(1);
    assert!(error.contains("version 2 (DELETE) of the table removes or rewrites rows"), "{error}");
    assert!(error.contains("`on_change: skip`") && error.contains("`changes: true`"), "{error}");
    assert!(error.contains("stage `source` failed"), "{error}");

    let spec = std::fs::read_to_string(&case.spec).unwrap().replace("source\", ", "source\", on_change: skip");
    std::fs::write(&case.spec, spec).unwrap();
    case.run();
    assert_eq!(super::ids(&read(&case.copy)), (0..30).collect::<Vec<_>>(), "the deleted row stays");
}

/// What a table says of itself.
fn metadata(case: &Case) -> Value {
    let log = std::fs::read_to_string(format!("{}/_delta_log/00000000000000000000.json", case.source)).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|action| action.get("metaData").cloned()).next().unwrap()
}

/// A file with rows that are taken out by a list beside it.
fn file() -> Value {
    let vector = json!({ "storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L", "sizeInBytes": 40, "cardinality": 6 });
    json!({ "path": "x.parquet", "partitionValues": {}, "size": 1, "modificationTime": 1, "dataChange": true, "deletionVector": vector })
}

/// What cannot be read: the actions of a version, and what is said when it comes and when it is there from the beginning.
fn unreadable(metadata: &Value) -> Vec<(Value, &'static str, &'static str)> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut metadata = metadata.clone();
        change(&mut metadata);
        json!([{ "metaData": metadata }])
    };
    let protocol = json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["typeWidening"], "writerFeatures": ["typeWidening"] });
    let text = metadata["schemaString"].as_str().unwrap().replace("\"double\"", "\"string\"");
    vec![
        (
            json!([{ "add": file() }, { "remove": { "path": "y.parquet", "dataChange": true } }]),
            "version 1 of the table has deletion vectors, which are not supported",
            "version 1 of the table has deletion vectors, which are not supported",
        ),
        (
            json!([{ "protocol": protocol }]),
            "since version 1 the table asks readers for what is not supported",
            "the table asks readers for what is not supported",
        ),
        (
            with(&|m| m["configuration"]["delta.columnMapping.mode"] = json!("name")),
            "since version 1 the table cannot be read: its columns have other names in its files",
            "the table cannot be read: its columns have other names in its files",
        ),
        (
            with(&|m| m["schemaString"] = json!(text)),
            "since version 1 columns have another type: `size` is string and was double",
            "",
        ),
        (with(&|m| m["id"] = json!("another")), "since version 1 it is another table", ""),
    ]
}

#[test]
fn what_a_table_asks_of_readers_and_is_not_supported_is_told() {
    for at in 0..5 {
        let case = Case::new("comes", "changes: true", "mode: changes");
        case.write(json!([create(0, 4)]));
        let (actions, comes, there) = unreadable(&metadata(&case)).swap_remove(at);
        case.run();
        // A later version puts it right, so that only the one between is wrong.
        let right =
            json!([{ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }, { "metaData": metadata(&case) }]);
        case.write(json!([{ "raw": actions }])).write(json!([{ "raw": right }]));
        let error = case.refused(1);
        assert!(error.contains(comes), "{error}");
        assert_eq!(read(&case.copy).rows.len(), 4);
        if !there.is_empty() {
            let case = Case::new("there", "", "");
            case.write(json!([create(0, 4), { "raw": actions }]));
            let done = case.call(1).run();
            assert!(done.code != Some(0) && done.err.contains(there), "{}", done.err);
        }
    }
}

#[test]
fn another_table_in_the_same_place_is_told() {
    let case = Case::new("another", "", "");
    case.write(json!([create(0, 4)]));
    case.run();
    std::fs::remove_dir_all(&case.source).unwrap();
    let error = case.refused(2);
    assert!(error.contains("there is no table at"), "{error}");
    case.write(json!([create(0, 4), append(4, 4)]));
    let error = case.refused(2);
    assert!(error.contains("this is another table than the one that was read before"), "{error}");
}

#[test]
fn what_a_spec_asks_of_a_table_that_cannot_be_is_told() {
    let refused = |source: &str, sink: &str| {
        let case = Case::new("asked", source, sink);
        case.write(json!([create(0, 4)]));
        case.refused(2)
    };
    let error = refused("from: 9", "");
    assert!(error.contains("the table has no version 9: the newest is 0"), "{error}");
    let error = refused("from: newest", "");
    assert!(error.contains("earliest") && error.contains("latest"), "{error}");
    let error = refused("key: [id]", "");
    assert!(error.contains("`key` is for changes"), "{error}");
    let error = refused("changes: true, on_change: skip", "mode: changes");
    assert!(error.contains("`on_change` is for rows that are only added"), "{error}");
    let error = refused("changes: true, key: [ID]", "mode: upsert");
    assert!(error.contains("the table has no column `ID`"), "{error}");
    let error = refused("changes: true", "");
    assert!(error.contains("`source` gives changes"), "{error}");

    let case = Case::new("itself", "", "");
    case.write(json!([create(0, 4)]));
    let spec = std::fs::read_to_string(&case.spec).unwrap().replace("lake/copy", "source/");
    std::fs::write(&case.spec, spec).unwrap();
    let error = case.refused(2);
    assert!(error.contains("`source` reads the table that `copy` writes"), "{error}");

    let log = Case::new("log", "changes: true", "mode: changes");
    log.write(json!([create(0, 4)]));
    log.run();
    let spec = std::fs::read_to_string(&log.spec).unwrap().replace("/source\"", "/lake/copy\"");
    let spec = spec.replace("lake/copy\", mode", "lake/other\", mode").replace("_state", "_other");
    std::fs::write(&log.spec, spec).unwrap();
    let error = log.refused(2);
    assert!(error.contains("the table has a column `_diff`: it is a log of changes"), "{error}");
}

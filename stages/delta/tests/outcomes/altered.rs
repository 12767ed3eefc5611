//! Another program alters the table.

use std::path::Path;

use deltalake::kernel::{DataType as Kind, StructField};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

/// Another program adds a column and fills it.
async fn note(path: &Path) {
    let note = StructField::nullable("note", Kind::STRING);
    let table = table(path).await.add_columns().with_fields([note]).await.unwrap();
    table.update().with_update("note", "concat('of ', cast(key as varchar))").await.unwrap();
}

async fn notes(path: &Path) -> Vec<Vec<String>> {
    select(path, "select key, n, coalesce(note, '-') from t").await
}

fn texts(rows: &[[&str; 3]]) -> Vec<Vec<String>> {
    rows.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
}

/// Who sees a change first.
const SEEN: [&str; 3] = ["a commit", "upkeep", "a new run"];

/// Two epochs, between which the table is altered.
async fn altered(path: &Path, mode: &str, seen: &str, more: Value) -> Result<(), StageError> {
    let sink = sink_with(path, mode, "p", more);
    let mut committer = open(sink.as_ref()).await;
    committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1), ("b", 1)]).await)).await?;
    note(path).await;
    match seen {
        "upkeep" => assert!(!committer.upkeep().await.is_empty()),
        "a new run" => {
            committer = sink.committer().unwrap();
            committer.committed().await?;
        }
        _ => {}
    }
    committer.commit(commit(2, stage(sink.as_ref(), 2, &[("a", 2), ("c", 2)]).await)).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_stops_the_stream_whoever_sees_it_first() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        for seen in SEEN {
            let path = folder.0.join(format!("{mode} {seen}"));
            let error = altered(&path, mode, seen, json!({ "upkeep": { "checkpoint": 1 } })).await.unwrap_err();
            let text = error.text();
            assert!(text.contains("the table has other columns: the rows lack `note`"), "{mode}, {seen}: {text}");
            assert_eq!(notes(&path).await, texts(&[["a", "1", "of a"], ["b", "1", "of b"]]), "{mode}, {seen}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_may_come_keeps_its_values() {
    let folder = Folder::new();
    for seen in SEEN {
        let more = json!({ "on_schema_change": "add", "upkeep": { "checkpoint": 1 } });
        let path = folder.0.join(format!("append {seen}"));
        altered(&path, "append", seen, more.clone()).await.unwrap();
        let expected = [["a", "1", "of a"], ["a", "2", "-"], ["b", "1", "of b"], ["c", "2", "-"]];
        assert_eq!(notes(&path).await, texts(&expected), "{seen}");

        let path = folder.0.join(format!("upsert {seen}"));
        altered(&path, "upsert", seen, more).await.unwrap();
        // The row of `b` was in a file that was written anew, that of `a` takes over what the key had.
        assert_eq!(notes(&path).await, texts(&[["a", "2", "of a"], ["b", "1", "of b"], ["c", "2", "-"]]), "{seen}");
        assert_eq!(
            feed(&path).await,
            texts(&[["a", "update_postimage", "of a"], ["a", "update_preimage", "of a"], ["c", "insert", "-"]])
        );
    }
}

/// The actions of one kind in the newest commit.
async fn newest(path: &Path, kind: &str) -> Vec<Value> {
    let version = table(path).await.version().unwrap();
    let log = std::fs::read_to_string(path.join(format!("_delta_log/{version:020}.json"))).unwrap();
    let actions = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    actions.filter_map(|action| action.get(kind).cloned()).collect()
}

/// Key, what became of it, and note, from the feed of the newest commit.
async fn feed(path: &Path) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for file in newest(path, "cdc").await {
        let file = std::fs::File::open(path.join(file["path"].as_str().unwrap())).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap().map(Result::unwrap) {
            let text = |name: &str, row| match array_value_to_string(batch.column_by_name(name).unwrap(), row).unwrap()
            {
                text if text.is_empty() => "-".to_owned(),
                text => text,
            };
            rows.extend(
                (0..batch.num_rows()).map(|row| ["key", "_change_type", "note"].map(|n| text(n, row)).to_vec()),
            );
        }
    }
    rows.sort();
    rows
}

/// Adds actions to the table's log.
async fn act(path: &Path, actions: &[Value]) {
    let version = table(path).await.version().unwrap() + 1;
    let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
    std::fs::write(path.join(format!("_delta_log/{version:020}.json")), lines).unwrap();
}

/// Another program deletes a row by a list beside its file.
async fn delete_by_vector(path: &Path) {
    let protocol = json!({ "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors", "appendOnly", "invariants", "changeDataFeed"] });
    let mut file = newest(path, "add").await.remove(0);
    let vector = json!({ "storageType": "i", "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
        "sizeInBytes": 40, "cardinality": 6 });
    let gone = json!({ "path": file["path"], "dataChange": true, "deletionTimestamp": 1 });
    file["deletionVector"] = vector;
    act(path, &[json!({ "protocol": protocol }), json!({ "remove": gone }), json!({ "add": file })]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_does_not_bring_back_rows_that_a_deletion_vector_hides() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        delete_by_vector(&path).await;
        let before = table(&path).await.version().unwrap();
        let committed = committer.commit(commit(2, stage(sink.as_ref(), 2, &[("a", 2)]).await)).await;
        if mode == "append" {
            assert_eq!(committed.unwrap().version, before + 1);
            continue;
        }
        let text = committed.unwrap_err().text();
        assert!(text.contains("the table has deletion vectors"), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains("REORG TABLE"), "{text}");
        assert_eq!(table(&path).await.version().unwrap(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_files_have_other_column_names_is_refused() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let mut metadata = serde_json::to_value(table(&path).await.snapshot().unwrap().metadata()).unwrap();
        let mut columns: Value = serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        for (id, column) in columns["fields"].as_array_mut().unwrap().iter_mut().enumerate() {
            let name = format!("col-{id}");
            column["metadata"] = json!({ "delta.columnMapping.id": id + 1, "delta.columnMapping.physicalName": name });
        }
        metadata["schemaString"] = json!(columns.to_string());
        metadata["configuration"]["delta.columnMapping.mode"] = json!("name");
        let protocol = json!({ "minReaderVersion": 2, "minWriterVersion": 5 });
        act(&path, &[json!({ "protocol": protocol }), json!({ "metaData": metadata })]).await;
        let refused = committer.commit(commit(2, stage(sink.as_ref(), 2, &[("a", 2)]).await)).await;
        let text = refused.unwrap_err().text();
        assert!(text.contains("the table's columns have other names in its files"), "{mode}: {text}");
    }
}

//! What becomes of a commit when somebody else writes the table, or has written it already.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends with a panic")]

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use alluvium_delta::Delta;
use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use alluvium_engine::stage::{
    Commit, Committer, Input, Shared, Sink, Stage, StageConfig, StageContext, StageError, Staged,
};
use alluvium_engine::storage::Storage;
use chrono::Utc;
use deltalake::datafusion::prelude::SessionContext;
use deltalake::{DeltaTable, DeltaTableBuilder};
use serde_json::json;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("alluvium-delta-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]))
}

/// A sink as the engine would build it.
fn sink(folder: &Path, mode: &str, pipeline: &str) -> Box<dyn Sink> {
    let mut config = json!({ "table": folder.display().to_string(), "mode": mode });
    if mode == "upsert" {
        config["key"] = json!(["key"]);
        config["latest_by"] = json!("n");
        config["change_feed"] = json!(true);
    }
    let config: Delta = serde_json::from_value(config).unwrap();
    let inputs = vec![Input { from: "rows".into(), schema: schema(), changes: None, evolved: Vec::new() }];
    let outputs = config.check(&inputs).map_err(|p| format!("{p:?}")).unwrap();
    let context = StageContext {
        pipeline: pipeline.into(),
        stage: "table".into(),
        plan_hash: "test".into(),
        worker: 0,
        workers: 1,
        inputs,
        outputs,
        lineage: BTreeMap::new(),
        storage: Storage::default(),
        shared: Shared::default(),
    };
    match config.build(&context).unwrap() {
        Stage::Sink(sink) => sink,
        _ => panic!("not a sink"),
    }
}

async fn stage(sink: &dyn Sink, epoch: Epoch, rows: &[(&str, i64)]) -> Vec<Staged> {
    let keys = StringArray::from_iter_values(rows.iter().map(|r| r.0));
    let numbers = Int64Array::from_iter_values(rows.iter().map(|r| r.1));
    let batch = RecordBatch::try_new(schema(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap();
    let mut writer = sink.writer();
    writer.write(epoch, batch).await.unwrap();
    writer.seal(epoch).await.unwrap()
}

fn commit(epoch: Epoch, staged: Vec<Staged>) -> Commit {
    Commit { epoch, staged, ingest_time: Utc::now(), metadata: BTreeMap::new() }
}

async fn open(sink: &dyn Sink) -> Box<dyn Committer> {
    let mut committer = sink.committer().unwrap();
    committer.committed().await.unwrap();
    committer
}

async fn table(folder: &Path) -> DeltaTable {
    let url = deltalake::ensure_table_uri(folder.display().to_string()).unwrap();
    DeltaTableBuilder::from_url(url).unwrap().load().await.unwrap()
}

async fn rows(folder: &Path) -> Vec<(String, i64)> {
    let context = SessionContext::new();
    let provider = table(folder).await.table_provider().await.unwrap();
    context.register_table("t", provider).unwrap();
    let batches = context
        .sql("select cast(key as varchar) as key, n from t order by 1, 2")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let row = |b: &RecordBatch, i| {
        let key = alluvium_engine::arrow::util::display::array_value_to_string(b.column(0), i).unwrap();
        (key, b.column(1).as_primitive::<Int64Type>().value(i))
    };
    batches.iter().flat_map(|b| (0..b.num_rows()).map(|i| row(b, i)).collect::<Vec<_>>()).collect()
}

fn owned(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_epoch_again_changes_nothing() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        let first = committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let again = committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        assert_eq!((first.version, again.version, again.rows), (1, 1, 0));
        // A new process finds the same.
        let mut later = sink.committer().unwrap();
        assert_eq!(later.committed().await.unwrap(), Some(1));
        assert_eq!(later.commit(commit(1, Vec::new())).await.unwrap().version, 1);
        assert_eq!(rows(&path).await, owned(&[("a", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_live_instances_the_slower_one_stops() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let (mut fast, mut slow) = (open(sink.as_ref()).await, open(sink.as_ref()).await);
        fast.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let error: StageError = slow.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap_err();
        assert!(
            error.to_string().contains("another instance of this pipeline is running: it has committed epoch 1"),
            "{error}"
        );
        assert_eq!(rows(&path).await, owned(&[("a", 1)]), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_writers_may_append() {
    let folder = Folder::new();
    let (ours, theirs) = (sink(&folder.0, "append", "ours"), sink(&folder.0, "append", "theirs"));
    let (mut our, mut their) = (open(ours.as_ref()).await, open(theirs.as_ref()).await);
    their.commit(commit(7, stage(theirs.as_ref(), 7, &[("x", 7)]).await)).await.unwrap();
    let committed = our.commit(commit(1, stage(ours.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    assert_eq!(committed.version, 2);
    assert_eq!(rows(&folder.0).await, owned(&[("a", 1), ("x", 7)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_property_is_looked_at_and_passed() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let properties = HashMap::from([("delta.logRetentionDuration".to_owned(), "interval 60 days".to_owned())]);
        table(&path).await.set_tbl_properties().with_properties(properties).await.unwrap();
        committer.commit(commit(2, stage(sink.as_ref(), 2, &[("b", 2)]).await)).await.unwrap();
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimize_in_between_doubles_no_row() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        for epoch in 1..=3 {
            let key = format!("k{epoch}");
            let rows = [(key.as_str(), 1), ("shared", 0)];
            let rows = if mode == "append" { &rows[..1] } else { &rows[..] };
            committer.commit(commit(epoch, stage(sink.as_ref(), epoch, rows).await)).await.unwrap();
        }
        // Behind the committer's back all files become one.
        table(&path).await.optimize().await.unwrap();
        let change: &[(&str, i64)] = if mode == "append" { &[("k4", 1)] } else { &[("k1", 2), ("shared", 9)] };
        committer.commit(commit(4, stage(sink.as_ref(), 4, change).await)).await.unwrap();
        let expected: &[(&str, i64)] = if mode == "append" {
            &[("k1", 1), ("k2", 1), ("k3", 1), ("k4", 1)]
        } else {
            &[("k1", 2), ("k2", 1), ("k3", 1), ("shared", 9)]
        };
        assert_eq!(rows(&path).await, owned(expected), "{mode}");
        let version = table(&path).await.version().unwrap();
        let log = std::fs::read_to_string(path.join(format!("_delta_log/{version:020}.json"))).unwrap();
        // The feed of the try that was committed, and of no other.
        assert_eq!(log.matches("{\"cdc\":").count(), usize::from(mode == "upsert"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_leave_files_without_a_changed_key_alone_until_they_are_many() {
    let folder = Folder::new();
    let sink = sink(&folder.0, "upsert", "p");
    let mut committer = open(sink.as_ref()).await;
    let mut before = Vec::new();
    for epoch in 1..=8 {
        let key = format!("k{epoch}");
        committer.commit(commit(epoch, stage(sink.as_ref(), epoch, &[(&key, 1)]).await)).await.unwrap();
        let files: Vec<String> = table(&folder.0).await.get_file_uris().unwrap().collect();
        assert_eq!(files.len(), usize::try_from(epoch).unwrap(), "only a file is added");
        assert!(before.iter().all(|f| files.contains(f)));
        before = files;
    }
    for epoch in 9..=12 {
        let key = format!("k{epoch}");
        committer.commit(commit(epoch, stage(sink.as_ref(), epoch, &[(&key, 1)]).await)).await.unwrap();
    }
    let files = table(&folder.0).await.get_file_uris().unwrap().count();
    assert!(files < 8, "{files} small files were not merged");
    assert_eq!(rows(&folder.0).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_without_rows_is_recorded() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, Vec::new())).await.unwrap();
        assert_eq!(sink.committer().unwrap().committed().await.unwrap(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let folder = Folder::new();
    let sink = sink(&folder.0, "append", "p");
    let mut committer = open(sink.as_ref()).await;
    committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    let entry = folder.0.join("_delta_log/00000000000000000001.json");
    std::fs::write(&entry, "{ this is no commit").unwrap();
    assert!(sink.committer().unwrap().committed().await.is_err());
}

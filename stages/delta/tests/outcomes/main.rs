//! What becomes of a commit when somebody else writes the table, or has written it already.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends with a panic")]

mod altered;
mod commits;
mod owners;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use alluvium_delta::Delta;
use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{Int64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::util::display::array_value_to_string;
use alluvium_engine::stage::{
    Commit, Committed, Committer, Input, Shared, Sink, Stage, StageConfig, StageContext, StageError, Staged,
};
use alluvium_engine::storage::Storage;
use chrono::Utc;
use deltalake::datafusion::prelude::SessionContext;
use deltalake::{DeltaTable, DeltaTableBuilder};
use serde_json::{Value, json};

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
    sink_with(folder, mode, pipeline, json!({}))
}

/// The same with more fields.
fn sink_with(folder: &Path, mode: &str, pipeline: &str, more: Value) -> Box<dyn Sink> {
    let mut config = json!({ "table": folder.display().to_string(), "mode": mode });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
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
    Commit { epoch, staged, ingest_time: Utc::now(), ..Commit::default() }
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

/// What a query over the table `t` gives, sorted.
async fn select(folder: &Path, query: &str) -> Vec<Vec<String>> {
    let context = SessionContext::new();
    context.register_table("t", table(folder).await.table_provider().await.unwrap()).unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    let row = |b: &RecordBatch, i| b.columns().iter().map(|c| array_value_to_string(c, i).unwrap()).collect();
    let mut rows: Vec<Vec<String>> = batches.iter().flat_map(|b| (0..b.num_rows()).map(|i| row(b, i))).collect();
    rows.sort();
    rows
}

async fn rows(folder: &Path) -> Vec<(String, i64)> {
    let rows = select(folder, "select key, n from t").await;
    rows.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
}

fn owned(rows: &[(&str, i64)]) -> Vec<(String, i64)> {
    rows.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect()
}

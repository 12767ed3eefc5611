//! Operator state on storage: rows by key, the newest wins.
//!
//! Every epoch adds one file per worker with the rows that changed; the completion record lists the files. When the
//! changes outweigh what they change, the files are merged into one. So the cost of an epoch follows its changes and
//! the cost of a restart follows the number of keys, neither the length of the history nor the number of workers.

use std::collections::{BTreeMap, HashSet};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, RowConverter, SortField};
use async_trait::async_trait;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::parquet;
use crate::Epoch;
use crate::stage::{StageError, Staged, StateSchema, Writer};
use crate::storage::{self, Location};

/// Files are merged when there are this many,
const MOST_FILES: usize = 64;
/// or when changes since the last merge have this many times the rows that it had.
const MOST_CHANGES: u64 = 2;
/// Below this many rows a merge is not worth an object.
const FEW_ROWS: u64 = 10_000;

/// Where the state of one operator lies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateManifest {
    /// What the rows mean; see [`StateSchema::fingerprint`].
    pub(crate) fingerprint: String,
    /// Oldest first.
    pub(crate) files: Vec<StateFile>,
}

/// One file of state rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFile {
    /// Its name below `operators/<stage>/`.
    pub(crate) name: String,
    pub(crate) rows: u64,
    /// A merge of all earlier files: each key once.
    #[serde(default)]
    pub(crate) merged: bool,
}

/// The state of one operator.
#[derive(Clone)]
pub(crate) struct StateLog {
    stage: String,
    schema: StateSchema,
    /// `operators/<stage>` below the pipeline's state.
    location: Location,
}

impl StateLog {
    pub(crate) fn new(stage: &str, schema: StateSchema, state: &Location) -> Self {
        let mut location = state.clone();
        location.path = location.path.join("operators").join(stage);
        Self { stage: stage.into(), schema, location }
    }

    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }

    /// Refuses state that means something else.
    pub(crate) fn verify(&self, manifest: &StateManifest) -> Result<(), StageError> {
        if manifest.fingerprint == self.schema.fingerprint {
            return Ok(());
        }
        Err(StageError::user("the stage has changed since its state was written, and the old state does not fit")
            .hint("undo the change, or start anew: a new `state:` and new tables"))
    }

    /// The rows of every key, each once.
    pub(crate) async fn load(&self, manifest: &StateManifest) -> Result<Vec<RecordBatch>, StageError> {
        self.verify(manifest)?;
        let keys = self.schema.schema.fields().iter().take(self.schema.keys);
        let converter = RowConverter::new(keys.map(|f| SortField::new(f.data_type().clone())).collect())
            .map_err(|e| StageError::internal("a key of the state has a type without order").because(e))?;
        let mut seen: HashSet<OwnedRow> = HashSet::new();
        let mut out = Vec::new();
        for file in manifest.files.iter().rev() {
            for batch in self.read(&file.name).await?.into_iter().rev() {
                if file.merged && seen.is_empty() {
                    out.push(batch);
                    continue;
                }
                let rows = converter
                    .convert_columns(&batch.columns()[..self.schema.keys.min(batch.num_columns())])
                    .map_err(|e| self.damaged(&file.name).because(e))?;
                // Within a batch too the last row of a key wins, hence backwards.
                let mut newest: Vec<bool> =
                    (0..batch.num_rows()).rev().map(|i| seen.insert(rows.row(i).owned())).collect();
                newest.reverse();
                let kept = filter_record_batch(&batch, &BooleanArray::from(newest))
                    .map_err(|e| self.damaged(&file.name).because(e))?;
                out.push(kept);
            }
        }
        Ok(out)
    }

    /// The manifest after an epoch; merges files when that pays.
    pub(crate) async fn advance(
        &self,
        before: StateManifest,
        epoch: Epoch,
        staged: Vec<Staged>,
    ) -> Result<StateManifest, StageError> {
        let mut manifest = StateManifest { fingerprint: self.schema.fingerprint.clone(), files: before.files };
        for item in staged {
            let file: StateFile = serde_json::from_slice(&item.0)
                .map_err(|e| StageError::internal("a staged state file cannot be understood").because(e))?;
            manifest.files.push(file);
        }
        let base: u64 = manifest.files.iter().filter(|f| f.merged).map(|f| f.rows).sum();
        let changes: u64 = manifest.files.iter().filter(|f| !f.merged).map(|f| f.rows).sum();
        if manifest.files.len() > MOST_FILES || changes > FEW_ROWS.max(base * MOST_CHANGES) {
            let batches = self.load(&manifest).await?;
            let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
            let name = format!("{epoch:020}-merged-{}.parquet", uuid::Uuid::new_v4().simple());
            self.write(&name, &batches).await?;
            manifest.files = vec![StateFile { name, rows, merged: true }];
        }
        Ok(manifest)
    }

    async fn read(&self, name: &str) -> Result<Vec<RecordBatch>, StageError> {
        let path = self.location.path.clone().join(name);
        let read = async { self.location.store.get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|e| {
            StageError::external("the stage's state cannot be read")
                .object(format!("{}/{path}", self.location.root))
                .because(e)
        })?;
        parquet::decode(bytes).map_err(|e| self.damaged(name).because(e))
    }

    async fn write(&self, name: &str, batches: &[RecordBatch]) -> Result<(), StageError> {
        let bytes = parquet::encode(&self.schema.schema, batches)
            .map_err(|e| StageError::internal("state rows cannot be encoded").because(e))?;
        let path = self.location.path.clone().join(name);
        storage::write(&self.location.store, &path, bytes).await.map_err(|e| {
            StageError::external("the stage's state cannot be written")
                .object(format!("{}/{path}", self.location.root))
                .because(e)
        })
    }

    fn damaged(&self, name: &str) -> StageError {
        StageError::external("a file of the stage's state is damaged")
            .object(format!("{}/{}/{name}", self.location.root, self.location.path))
    }
}

/// Stages the state rows of one worker.
pub(crate) struct StateWriter {
    log: StateLog,
    worker: usize,
    open: BTreeMap<Epoch, Vec<RecordBatch>>,
}

impl StateWriter {
    pub(crate) fn new(log: StateLog, worker: usize) -> Self {
        Self { log, worker, open: BTreeMap::new() }
    }
}

#[async_trait]
impl Writer for StateWriter {
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError> {
        self.open.entry(epoch).or_default().push(batch);
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        let batches = self.open.remove(&epoch).unwrap_or_default();
        // A name of its own for every attempt: a replay must never overwrite what a record names.
        let name = format!("{epoch:020}-{}-{}.parquet", self.worker, uuid::Uuid::new_v4().simple());
        self.log.write(&name, &batches).await?;
        let file = StateFile { name, rows: batches.iter().map(|b| b.num_rows() as u64).sum(), merged: false };
        let bytes = serde_json::to_vec(&file)
            .map_err(|e| StageError::internal("a state file cannot be described").because(e))?;
        Ok(vec![Staged(bytes)])
    }
}

//! Operator state on storage: rows by key, the newest wins.
//!
//! Every epoch adds one file per worker with the rows that changed; the completion record lists the files. When the
//! changes outweigh what they change, the files are merged into one, without the keys that are gone. When there are only
//! many of them, the newest ones are merged with each other, small ones first, as in a log-structured merge tree. So the
//! cost of an epoch follows its changes and the cost of a restart follows the number of keys, neither the length of the
//! history nor the number of workers.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, BooleanArray, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{Row, RowConverter, SortField};
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::parquet;
use crate::Epoch;
use crate::progress::StateSize;
use crate::stage::{StageError, Staged, StateSchema, Writer};
use crate::storage::{self, Location};

/// The newest files are merged when there are this many.
const MOST_FILES: usize = 64;
/// Into a merge of newer files goes an older one of at most so many times their rows.
const TIER: u64 = 2;
/// All files are merged when changes since the last such merge have this many times the rows that it had.
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

impl StateManifest {
    /// How much there is.
    pub(crate) fn size(&self) -> StateSize {
        let sum = |of: fn(&StateFile) -> u64| self.files.iter().map(of).sum();
        StateSize { files: self.files.len() as u64, rows: sum(|f| f.rows), bytes: sum(|f| f.bytes) }
    }
}

/// One file of state rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateFile {
    /// Its name below `operators/<stage>/`.
    pub(crate) name: String,
    pub(crate) rows: u64,
    /// 0 if it was written before this was noted.
    #[serde(default)]
    pub(crate) bytes: u64,
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
        Err(StageError::user("the stage has changed since its state was written, and the old state does not fit").hint(
            format!("undo the change, or compute the stage anew: `alluvium refresh SPEC --stage {}`", self.stage),
        ))
    }

    /// The rows of every key that is there, each once.
    pub(crate) async fn load(&self, manifest: &StateManifest) -> Result<Vec<RecordBatch>, StageError> {
        self.verify(manifest)?;
        self.newest(&manifest.files, false).await
    }

    /// The newest row of every key in these files; `whole` if of those that are gone as well.
    async fn newest(&self, files: &[StateFile], whole: bool) -> Result<Vec<RecordBatch>, StageError> {
        let keys = self.schema.schema.fields().iter().take(self.schema.keys);
        let converter = RowConverter::new(keys.map(|f| SortField::new(f.data_type().clone())).collect())
            .map_err(|e| StageError::internal("a key of the state has a type without order").because(e))?;
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        let mut out = Vec::new();
        for (older, file) in files.iter().enumerate().rev() {
            // A merged file has each key once, and nothing older needs to know them.
            let last = older == 0 && file.merged;
            for batch in self.read(&file.name).await?.into_iter().rev() {
                if last && seen.is_empty() {
                    out.push(batch);
                    continue;
                }
                let rows = converter
                    .convert_columns(&batch.columns()[..self.schema.keys.min(batch.num_columns())])
                    .map_err(|e| self.damaged(&file.name).because(e))?;
                let values = &batch.columns()[self.schema.keys.min(batch.num_columns())..];
                let gone = |row| !whole && !values.is_empty() && values.iter().all(|c| c.is_null(row));
                let mut is_new = |row: Row<'_>| match last {
                    true => !seen.contains(row.data()),
                    false => seen.insert(row.data().into()),
                };
                // Within a batch too the last row of a key wins, hence backwards.
                let mut newest: Vec<bool> =
                    (0..batch.num_rows()).rev().map(|i| is_new(rows.row(i)) && !gone(i)).collect();
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
        if changes > FEW_ROWS.max(base * MOST_CHANGES) {
            self.merge(&mut manifest.files, 0, epoch).await?;
        } else if manifest.files.len() > MOST_FILES {
            let first = suffix(&manifest.files);
            self.merge(&mut manifest.files, first, epoch).await?;
        }
        Ok(manifest)
    }

    /// Replaces files from this one on by one.
    async fn merge(&self, files: &mut Vec<StateFile>, first: usize, epoch: Epoch) -> Result<(), StageError> {
        let old = files.split_off(first);
        let merged = first == 0;
        let batches = self.newest(&old, !merged).await?;
        let rows = batches.iter().map(|b| b.num_rows() as u64).sum();
        let name = format!("{epoch:020}-merged-{}.parquet", uuid::Uuid::new_v4().simple());
        let bytes = self.write(&name, &batches).await?;
        files.push(StateFile { name, rows, bytes, merged });
        Ok(())
    }

    /// Deletes files of epochs before this one that are not named any more: they have been merged, or were written by an
    /// attempt that failed. Whatever goes on from this manifest, or from a later one, names none of them.
    pub(crate) async fn clean(&self, manifest: &StateManifest, before: Epoch) -> Result<(), object_store::Error> {
        let store = &self.location.store;
        let mut found = store.list(Some(&self.location.path));
        while let Some(file) = found.try_next().await? {
            let name = file.location.filename().unwrap_or_default();
            let epoch = name.split('-').next().and_then(|number| number.parse::<Epoch>().ok());
            if epoch.is_some_and(|e| e < before) && !manifest.files.iter().any(|f| f.name == name) {
                store.delete(&file.location).await?;
            }
        }
        Ok(())
    }

    async fn read(&self, name: &str) -> Result<Vec<RecordBatch>, StageError> {
        let path = self.location.path.clone().join(name);
        let read = async { self.location.store.get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|e| {
            StageError::external("the stage's state cannot be read")
                .object(format!("{}/{path}", self.location.root))
                .because(e)
        })?;
        let batches = parquet::decode(bytes).map_err(|e| self.damaged(name).because(e))?;
        let completed = batches.iter().map(|b| self.complete(b)).collect::<Result<_, _>>();
        completed.map_err(|e| self.damaged(name).because(e))
    }

    /// Columns that have come since the rows were written are NULL in them, as they are in the input.
    fn complete(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.schema.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).cloned();
            column.unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()))
        });
        RecordBatch::try_new(self.schema.schema.clone(), columns.collect())
    }

    /// Gives the file's bytes.
    async fn write(&self, name: &str, batches: &[RecordBatch]) -> Result<u64, StageError> {
        let bytes = parquet::encode(&self.schema.schema, batches)
            .map_err(|e| StageError::internal("state rows cannot be encoded").because(e))?;
        let path = self.location.path.clone().join(name);
        let size = bytes.len() as u64;
        storage::write(&self.location.store, &path, bytes).await.map_err(|e| {
            StageError::external("the stage's state cannot be written")
                .object(format!("{}/{path}", self.location.root))
                .because(e)
        })?;
        Ok(size)
    }

    fn damaged(&self, name: &str) -> StageError {
        StageError::external("a file of the stage's state is damaged")
            .object(format!("{}/{}/{name}", self.location.root, self.location.path))
    }
}

/// Where the newest files begin that are merged with each other: half of them at least, and older ones that are not much
/// larger than all of these.
fn suffix(files: &[StateFile]) -> usize {
    let mut first = files.len() - MOST_FILES / 2;
    let mut rows: u64 = files[first..].iter().map(|f| f.rows).sum();
    while let Some(older) = first.checked_sub(1).and_then(|at| files.get(at)).filter(|f| f.rows <= rows * TIER) {
        rows += older.rows;
        first -= 1;
    }
    first
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
        let bytes = self.log.write(&name, &batches).await?;
        let file = StateFile { name, rows: batches.iter().map(|b| b.num_rows() as u64).sum(), bytes, merged: false };
        let bytes = serde_json::to_vec(&file)
            .map_err(|e| StageError::internal("a state file cannot be described").because(e))?;
        Ok(vec![Staged(bytes)])
    }
}

#[cfg(test)]
mod tests;

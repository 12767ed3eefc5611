//! Upsert: one row per key for every reader.
//!
//! Writers hand over the changed rows. The committer reads the key columns of every file, rewrites the files that hold
//! an older row of a changed key without those rows, and adds the new rows; one commit removes and adds. What an epoch
//! costs is reading all keys, and rewriting the files with changed ones.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use alluvium_engine::arrow::compute::{filter_record_batch, not};
use alluvium_engine::arrow::datatypes::FieldRef;
use alluvium_engine::stage::{Commit, Committed, Committer, StageError, Staged, Writer};
use alluvium_engine::{Epoch, async_trait};
use bytes::Bytes;
use deltalake::kernel::{Action, Remove};
use deltalake::{ObjectStore, Path};
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::changes::Changes;
use crate::commit::{Log, Next};
use crate::file::{DataFile, TARGET_BYTES};
use crate::table::Target;

/// Tries of one epoch against other writers.
const TRIES: u32 = 12;
/// Files below this size are merged when there are more than [`MOST_SMALL`].
const SMALL_BYTES: i64 = (TARGET_BYTES / 4) as i64;
const MOST_SMALL: usize = 8;

/// Hands over the changed rows of one worker.
pub(crate) struct UpsertWriter {
    target: Target,
    open: BTreeMap<Epoch, Vec<RecordBatch>>,
}

impl UpsertWriter {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, open: BTreeMap::new() }
    }
}

#[async_trait]
impl Writer for UpsertWriter {
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError> {
        self.open.entry(epoch).or_default().push(batch);
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        Changes::stage(&self.open.remove(&epoch).unwrap_or_default(), &self.target)
    }
}

/// Merges changed rows into the table.
pub(crate) struct UpsertCommitter {
    log: Log,
}

impl UpsertCommitter {
    pub(crate) fn new(target: Target) -> Self {
        Self { log: Log::new(target) }
    }
}

#[async_trait]
impl Committer for UpsertCommitter {
    async fn upkeep(&mut self) {
        self.log.upkeep().await;
    }

    async fn committed(&mut self) -> Result<Option<Epoch>, StageError> {
        self.log.open().await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Committed, StageError> {
        if let Some(version) = self.log.held(commit.epoch).await? {
            return Ok(Committed { version, rows: 0 });
        }
        let mut last = None;
        for attempt in 0..TRIES {
            // Built anew for every try: what is to be removed depends on the snapshot.
            let changes = Changes::decode(&commit.staged, &self.log.target)?;
            let (actions, rows) = match self.merge(changes, commit.epoch).await {
                Ok(merged) => merged,
                // Another program may have replaced a file and deleted it.
                Err(error) => {
                    let version = self.log.current()?.1.version();
                    self.log.refresh().await?;
                    if self.log.current()?.1.version() == version {
                        return Err(error);
                    }
                    continue;
                }
            };
            match self.log.once(&commit, actions.clone(), 0).await {
                Ok(version) => return Ok(Committed { version, rows }),
                Err(error) => {
                    if let Next::Reconcile = self.log.judge(error, attempt, &mut last).await? {
                        self.log.reconcile().await?;
                    }
                    if let Some(version) = self.log.landed(commit.epoch, &actions).await? {
                        return Ok(Committed { version, rows });
                    }
                }
            }
        }
        Err(self.log.given_up(last))
    }
}

/// A live data file.
struct Live {
    path: String,
    size: i64,
    remove: Remove,
}

impl UpsertCommitter {
    /// Writes the files that an epoch needs; gives the actions that make them the table, and the rows that are new.
    async fn merge(&self, mut changes: Changes, epoch: Epoch) -> Result<(Vec<Action>, u64), StageError> {
        if changes.len() == 0 {
            return Ok((Vec::new(), 0));
        }
        let (table, snapshot) = self.log.current()?;
        let store = table.object_store();
        let live = |f: deltalake::kernel::LogicalFileView| Live {
            path: f.path().into_owned(),
            size: f.size(),
            remove: f.remove_action(true),
        };
        let files: Vec<Live> = snapshot.log_data().iter().map(live).collect();
        let crowded = files.iter().filter(|f| f.size < SMALL_BYTES).count() > MOST_SMALL;
        // All files are looked at before one is rewritten: a change may turn out to be older than a row of the last one.
        let mut touched = Vec::new();
        for file in files {
            let bytes = self.read(&store, &file.path).await?;
            if self.holds_older(&bytes, &file.path, &mut changes)? || (crowded && file.size < SMALL_BYTES) {
                touched.push(file);
            }
        }
        let mut output =
            Output { target: &self.log.target, store: store.clone(), epoch, file: None, actions: Vec::new() };
        for file in touched {
            let broken = |e: Box<dyn std::error::Error + Send + Sync>| self.damaged(&file.path).because(e);
            let bytes = self.read(&store, &file.path).await?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|b| b.build())
                .map_err(|e| broken(e.into()))?;
            for batch in reader {
                let batch = batch.map_err(|e| broken(e.into()))?;
                let keep = changes.replaced(&batch).and_then(|r| not(&r)).map_err(|e| broken(e.into()))?;
                output.write(&filter_record_batch(&batch, &keep).map_err(|e| broken(e.into()))?).await?;
            }
            output.actions.push(Action::Remove(file.remove));
        }
        let rows = changes.newest().map_err(|e| StageError::internal("changed rows cannot be gathered").because(e))?;
        output.write(&rows).await?;
        Ok((output.finish().await?, rows.num_rows() as u64))
    }

    async fn read(&self, store: &Arc<dyn ObjectStore>, path: &str) -> Result<Bytes, StageError> {
        let location = Path::parse(path).map_err(|e| self.damaged(path).because(e))?;
        let read = async { store.get(&location).await?.bytes().await };
        read.await.map_err(|e| StageError::external("a data file of the table cannot be read").object(path).because(e))
    }

    /// Whether a file holds an older row of a changed key; reads only the columns that tell.
    fn holds_older(&self, bytes: &Bytes, path: &str, changes: &mut Changes) -> Result<bool, StageError> {
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| self.damaged(path).because(e);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| broken(e.into()))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), changes.compared());
        let mut older = false;
        for batch in builder.with_projection(mask).build().map_err(|e| broken(e.into()))? {
            let batch = batch.map_err(|e| broken(e.into()))?;
            // To the end: what is newer in this file must be found as well.
            older |= changes.replaced(&batch).map_err(|e| broken(e.into()))?.true_count() > 0;
        }
        Ok(older)
    }

    fn damaged(&self, path: &str) -> StageError {
        StageError::external("a data file of the table is damaged")
            .object(format!("{}/{path}", self.log.target.shown()))
    }
}

/// Files as they are filled.
struct Output<'a> {
    target: &'a Target,
    store: Arc<dyn ObjectStore>,
    epoch: Epoch,
    file: Option<DataFile>,
    actions: Vec<Action>,
}

impl Output<'_> {
    async fn write(&mut self, batch: &RecordBatch) -> Result<(), StageError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let path =
                    Path::from(format!("part-{:010}-{}.zstd.parquet", self.epoch, uuid::Uuid::new_v4().simple()));
                self.file.insert(DataFile::new(self.store.clone(), path, self.target.schema.clone(), HashMap::new())?)
            }
        };
        let batch = RecordBatch::try_new(self.target.schema.clone(), in_order(batch, self.target))
            .map_err(|e| StageError::internal("rows do not fit the table").because(e))?;
        file.write(&batch).await?;
        if file.bytes() >= TARGET_BYTES
            && let Some(full) = self.file.take()
        {
            self.actions.push(Action::Add(full.close().await?));
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<Action>, StageError> {
        if let Some(file) = self.file.take() {
            self.actions.push(Action::Add(file.close().await?));
        }
        Ok(self.actions)
    }
}

/// Columns in the order of the plan; those that an older file lacks are NULL.
fn in_order(batch: &RecordBatch, target: &Target) -> Vec<ArrayRef> {
    let column = |f: &FieldRef| {
        batch.column_by_name(f.name()).cloned().unwrap_or_else(|| new_null_array(f.data_type(), batch.num_rows()))
    };
    target.schema.fields().iter().map(column).collect()
}

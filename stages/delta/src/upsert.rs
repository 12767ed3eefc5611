//! Upsert: one row per key for every reader.
//!
//! Writers hand over the changed rows. The committer reads the key columns of every file, rewrites the files that hold
//! an older row of a changed key without those rows, and adds the new rows; one commit removes and adds. What an epoch
//! costs is reading all keys, and rewriting the files with changed ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::compute::{filter_record_batch, not};
use alluvium_engine::arrow::datatypes::{FieldRef, Schema};
use alluvium_engine::stage::{Commit, Committed, Committer, StageError, Staged, Writer};
use alluvium_engine::{Epoch, async_trait};
use bytes::Bytes;
use deltalake::kernel::{Action, Remove};
use deltalake::{ObjectStore, Path};
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::changes::Changes;
use crate::commit::{Log, Version, committed};
use crate::feed::{self, Feed};
use crate::file::TARGET_BYTES;
use crate::foreign::{Foreign, in_order};
use crate::output::Output;
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
    async fn upkeep(&mut self) -> Vec<String> {
        self.log.upkeep().await
    }

    async fn committed(&mut self) -> Result<Option<Epoch>, StageError> {
        self.log.open().await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Committed, StageError> {
        if let Some(version) = self.log.known(commit.epoch)? {
            return Ok(Committed { version, ..Committed::default() });
        }
        let (mut actions, mut rows) = (Vec::new(), 0);
        let mut last = None;
        for attempt in 0..TRIES {
            if let Some(landed) = self.log.ready(&commit, &actions).await? {
                return Ok(committed(&Version { conflicts: attempt, ..landed }, rows, &actions));
            }
            // Built anew for every try: what is to be removed depends on the snapshot.
            let changes = Changes::decode(&commit.staged, &self.log.target)?;
            (actions, rows) = match self.merge(changes, commit.epoch).await {
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
            // It may have taken long.
            commit.fence.verify().await?;
            match self.log.once(&commit, actions.clone(), 0).await {
                Ok(number) => {
                    let version = Version { number, conflicts: attempt, by_another: false };
                    return Ok(committed(&version, rows, &actions));
                }
                Err(error) => self.log.judge(error, attempt, &mut last).await?,
            }
        }
        match self.log.landed(&commit, &actions).await? {
            Some(landed) => Ok(committed(&Version { conflicts: TRIES, ..landed }, rows, &actions)),
            None => Err(self.log.given_up(last)),
        }
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
        if snapshot.log_data().iter().any(|file| file.deletion_vector_descriptor().is_some()) {
            return Err(self.has_vectors());
        }
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
        let mut foreign = Foreign::new(&self.log.target.schema, &snapshot.snapshot().arrow_schema());
        let mut output = Output::new(store.clone(), "part", epoch, foreign.schema().clone());
        let mut feed =
            (feed::wanted(snapshot) && !touched.is_empty()).then(|| Feed::new(store.clone(), epoch, foreign.schema()));
        let mut actions = Vec::new();
        for file in touched {
            let broken = |e: Box<dyn std::error::Error + Send + Sync>| self.damaged(&file.path).because(e);
            let bytes = self.read(&store, &file.path).await?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|b| b.build())
                .map_err(|e| broken(e.into()))?;
            for batch in reader {
                let batch = foreign.in_order(&batch.map_err(|e| broken(e.into()))?).map_err(|e| broken(e.into()))?;
                let replaced = changes.replaced(&batch).map_err(|e| broken(e.into()))?;
                let old = filter_record_batch(&batch, &replaced).map_err(|e| broken(e.into()))?;
                foreign.keep(&old, &changes).map_err(|e| broken(e.into()))?;
                if let Some(feed) = &mut feed {
                    feed.replaced(&old, &changes, &foreign).await?;
                }
                let kept = not(&replaced).and_then(|keep| filter_record_batch(&batch, &keep));
                output.write(&kept.map_err(|e| broken(e.into()))?).await?;
            }
            actions.push(Action::Remove(file.remove));
        }
        let rows = foreign.complete(changes.batch(), &changes.in_order());
        let rows = rows.map_err(|e| StageError::internal("changed rows cannot be gathered").because(e))?;
        output.write(&rows).await?;
        actions.extend(output.finish().await?.into_iter().map(Action::Add));
        if let Some(feed) = feed {
            let told = feed.finish(&changes, &foreign).await?;
            if told.is_empty() {
                // Rows were only written anew: without this, readers would take each for a row that goes and comes.
                actions.iter_mut().for_each(rearranged);
            }
            actions.extend(told);
        }
        Ok((actions, rows.num_rows() as u64))
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
        let schema = &self.log.target.schema;
        let compared: Vec<FieldRef> =
            changes.compared().filter_map(|name| Some(schema.fields().find(name)?.1.clone())).collect();
        let mask = ProjectionMask::columns(builder.parquet_schema(), compared.iter().map(|f| f.name().as_str()));
        let compared = Arc::new(Schema::new(compared));
        let mut older = false;
        for batch in builder.with_projection(mask).build().map_err(|e| broken(e.into()))? {
            let batch = batch.and_then(|batch| in_order(&batch, &compared)).map_err(|e| broken(e.into()))?;
            // To the end: what is newer in this file must be found as well.
            older |= changes.replaced(&batch).map_err(|e| broken(e.into()))?.true_count() > 0;
        }
        Ok(older)
    }

    fn has_vectors(&self) -> StageError {
        StageError::user(
            "the table has deletion vectors, and an upsert that rewrites a file would bring deleted rows back",
        )
        .object(self.log.target.place.shown())
        .hint(
            "turn them off (`delta.enableDeletionVectors` = false) and rewrite the files that have them \
                 (`REORG TABLE … APPLY (PURGE)`), then run again",
        )
    }

    fn damaged(&self, path: &str) -> StageError {
        StageError::external("a data file of the table is damaged")
            .object(format!("{}/{path}", self.log.target.place.shown()))
    }
}

/// Says that a file was removed or added without a change of rows.
fn rearranged(action: &mut Action) {
    match action {
        Action::Add(add) => add.data_change = false,
        Action::Remove(remove) => remove.data_change = false,
        _ => {}
    }
}

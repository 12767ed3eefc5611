//! Upsert: one row per key for every reader.
//!
//! Writers hand over the changed rows. The committer reads the key columns of every file, rewrites the files that hold
//! an older row of a changed key without those rows, and adds the new rows; one commit removes and adds. What an epoch
//! costs is reading all keys, and rewriting the files with changed ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use alluvium_engine::arrow::array::{BooleanArray, RecordBatch};
use alluvium_engine::arrow::compute::{filter_record_batch, not};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::ipc::reader::StreamReader;
use alluvium_engine::arrow::ipc::writer::StreamWriter;
use alluvium_engine::arrow::row::{OwnedRow, RowConverter, SortField};
use alluvium_engine::stage::{Commit, Committed, Committer, Staged, StageError, Writer};
use alluvium_engine::{Epoch, async_trait};
use bytes::Bytes;
use deltalake::kernel::{Action, Remove};
use deltalake::{ObjectStore, Path};
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

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
    open: BTreeMap<Epoch, Vec<RecordBatch>>,
}

impl UpsertWriter {
    pub(crate) fn new() -> Self {
        Self { open: BTreeMap::new() }
    }
}

#[async_trait]
impl Writer for UpsertWriter {
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError> {
        self.open.entry(epoch).or_default().push(batch);
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        let encode = |batches: &[RecordBatch]| -> Result<Vec<u8>, ArrowError> {
            let Some(first) = batches.first() else { return Ok(Vec::new()) };
            let mut writer = StreamWriter::try_new(Vec::new(), &first.schema())?;
            batches.iter().try_for_each(|b| writer.write(b))?;
            writer.into_inner()
        };
        let bytes = encode(&self.open.remove(&epoch).unwrap_or_default()).map_err(|e| StageError::internal("changed rows cannot be encoded").because(e))?;
        Ok(if bytes.is_empty() { Vec::new() } else { vec![Staged(bytes)] })
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
    async fn committed(&mut self) -> Result<Option<Epoch>, StageError> {
        self.log.open().await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Committed, StageError> {
        if let Some(version) = self.log.held(commit.epoch).await? {
            return Ok(Committed { version, rows: 0 });
        }
        let changes = Changes::decode(&commit.staged, &self.log.target)?;
        let mut last = None;
        for attempt in 0..TRIES {
            // Built anew for every try: what is to be removed depends on the snapshot.
            let actions = self.merge(&changes, commit.epoch).await?;
            match self.log.once(&commit, actions.clone(), 0).await {
                Ok(version) => return Ok(Committed { version, rows: changes.rows }),
                Err(error) => {
                    if let Next::Reconcile = self.log.judge(error, attempt, &mut last).await? {
                        self.log.reconcile().await?;
                    }
                    if let Some(version) = self.log.landed(commit.epoch, &actions).await? {
                        return Ok(Committed { version, rows: changes.rows });
                    }
                }
            }
        }
        Err(self.log.given_up(last))
    }
}

/// The changed rows of an epoch, each key once.
struct Changes {
    batches: Vec<RecordBatch>,
    keys: HashSet<OwnedRow>,
    converter: RowConverter,
    rows: u64,
}

impl Changes {
    fn decode(staged: &[Staged], target: &Target) -> Result<Self, StageError> {
        let broken = |e: ArrowError| StageError::internal("changed rows cannot be decoded").because(e);
        let fields = target.keys.iter().map(|k| Ok(SortField::new(target.schema.field_with_name(k)?.data_type().clone())));
        let converter = RowConverter::new(fields.collect::<Result<_, ArrowError>>().map_err(broken)?).map_err(broken)?;
        let mut changes = Self { batches: Vec::new(), keys: HashSet::new(), converter, rows: 0 };
        for item in staged {
            for batch in StreamReader::try_new(item.0.as_slice(), None).map_err(broken)? {
                let batch = batch.map_err(broken)?;
                for row in &changes.rows_of(&batch, &target.keys).map_err(broken)? {
                    if !changes.keys.insert(row.owned()) {
                        return Err(StageError::internal("the input gave two rows of one key in one epoch"));
                    }
                }
                changes.rows += batch.num_rows() as u64;
                changes.batches.push(batch);
            }
        }
        Ok(changes)
    }

    fn rows_of(&self, batch: &RecordBatch, keys: &[String]) -> Result<alluvium_engine::arrow::row::Rows, ArrowError> {
        let columns = keys.iter().map(|k| Ok(batch.column(batch.schema().index_of(k)?).clone())).collect::<Result<Vec<_>, ArrowError>>()?;
        self.converter.convert_columns(&columns)
    }

    /// Which rows of a batch are replaced.
    fn replaced(&self, batch: &RecordBatch, keys: &[String]) -> Result<BooleanArray, ArrowError> {
        let rows = self.rows_of(batch, keys)?;
        Ok(rows.iter().map(|row| Some(self.keys.contains(&row.owned()))).collect())
    }
}

impl UpsertCommitter {
    /// Writes the files that an epoch needs; gives the actions that make them the table.
    async fn merge(&self, changes: &Changes, epoch: Epoch) -> Result<Vec<Action>, StageError> {
        if changes.rows == 0 {
            return Ok(Vec::new());
        }
        let (table, snapshot) = self.log.current()?;
        let store = table.object_store();
        let files: Vec<(String, i64, Remove)> = snapshot.log_data().iter().map(|f| (f.path().into_owned(), f.size(), f.remove_action(true))).collect();
        let crowded = files.iter().filter(|f| f.1 < SMALL_BYTES).count() > MOST_SMALL;
        let mut output = Output { target: &self.log.target, store: store.clone(), epoch, file: None, actions: Vec::new() };
        for (path, size, remove) in files {
            let bytes = self.read(&store, &path).await?;
            if !(crowded && size < SMALL_BYTES) && !self.touched(&bytes, &path, changes)? {
                continue;
            }
            let broken = |e: Box<dyn std::error::Error + Send + Sync>| self.damaged(&path).because(e);
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|b| b.build()).map_err(|e| broken(e.into()))?;
            for batch in reader {
                let batch = batch.map_err(|e| broken(e.into()))?;
                let keep = changes.replaced(&batch, &self.log.target.keys).and_then(|r| not(&r)).map_err(|e| broken(e.into()))?;
                output.write(&filter_record_batch(&batch, &keep).map_err(|e| broken(e.into()))?).await?;
            }
            output.actions.push(Action::Remove(remove));
        }
        for batch in &changes.batches {
            output.write(batch).await?;
        }
        output.finish().await
    }

    async fn read(&self, store: &Arc<dyn ObjectStore>, path: &str) -> Result<Bytes, StageError> {
        let location = Path::parse(path).map_err(|e| self.damaged(path).because(e))?;
        let read = async { store.get(&location).await?.bytes().await };
        read.await.map_err(|e| StageError::external("a data file of the table cannot be read").object(path).because(e))
    }

    /// Whether a file holds an older row of a changed key; reads only the key columns.
    fn touched(&self, bytes: &Bytes, path: &str, changes: &Changes) -> Result<bool, StageError> {
        let keys = &self.log.target.keys;
        let broken = |e: Box<dyn std::error::Error + Send + Sync>| self.damaged(path).because(e);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).map_err(|e| broken(e.into()))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), keys.iter().map(String::as_str));
        for batch in builder.with_projection(mask).build().map_err(|e| broken(e.into()))? {
            let batch = batch.map_err(|e| broken(e.into()))?;
            if changes.replaced(&batch, keys).map_err(|e| broken(e.into()))?.true_count() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn damaged(&self, path: &str) -> StageError {
        StageError::external("a data file of the table is damaged").object(format!("{}/{path}", self.log.target.shown()))
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
                let path = Path::from(format!("part-{:010}-{}.zstd.parquet", self.epoch, uuid::Uuid::new_v4().simple()));
                self.file.insert(DataFile::new(self.store.clone(), path, self.target.schema.clone(), HashMap::new())?)
            }
        };
        let batch = RecordBatch::try_new(self.target.schema.clone(), in_order(batch, self.target)?)
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
fn in_order(batch: &RecordBatch, target: &Target) -> Result<Vec<alluvium_engine::arrow::array::ArrayRef>, StageError> {
    let column = |f: &Arc<alluvium_engine::arrow::datatypes::Field>| {
        let there = batch.column_by_name(f.name()).cloned();
        there.unwrap_or_else(|| alluvium_engine::arrow::array::new_null_array(f.data_type(), batch.num_rows()))
    };
    Ok(target.schema.fields().iter().map(column).collect())
}

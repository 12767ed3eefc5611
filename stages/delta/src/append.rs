//! Append: writers stage data files, the committer names them in the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use alluvium_engine::arrow::compute::{cast, take_record_batch};
use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::{Commit, Committed, Committer, StageError, Staged, Writer};
use alluvium_engine::{Epoch, async_trait};
use deltalake::kernel::{Action, Add};
use deltalake::{ObjectStore, Path};
use futures::stream::{self, StreamExt};

use crate::commit::{Log, committed};
use crate::file::{DataFile, TARGET_BYTES};
use crate::table::Target;

/// The values of the partition columns, in their order.
type Partition = Vec<Option<String>>;

/// Stages the rows of one worker.
pub(crate) struct AppendWriter {
    target: Target,
    worker: usize,
    store: Option<Arc<dyn ObjectStore>>,
    open: BTreeMap<Epoch, Staging>,
}

/// What an epoch has so far.
#[derive(Default)]
struct Staging {
    files: BTreeMap<Partition, DataFile>,
    done: Vec<Add>,
}

impl AppendWriter {
    pub(crate) fn new(target: Target, worker: usize) -> Self {
        Self { target, worker, store: None, open: BTreeMap::new() }
    }

    fn file(&mut self, epoch: Epoch, partition: &Partition, schema: SchemaRef) -> Result<DataFile, StageError> {
        let store = match &self.store {
            Some(store) => store.clone(),
            None => self.store.insert(self.target.store()?).clone(),
        };
        let names = &self.target.config.partition_by;
        let values: HashMap<String, Option<String>> = names.iter().cloned().zip(partition.iter().cloned()).collect();
        let mut path = Path::default();
        for (name, value) in names.iter().zip(partition) {
            path = path.join(format!("{name}={}", folder(value.as_deref())));
        }
        let path =
            path.join(format!("part-{epoch:010}-{}-{}.zstd.parquet", self.worker, uuid::Uuid::new_v4().simple()));
        DataFile::new(store, path, schema, values, self.target.place.part_bytes())
    }

    async fn add(&mut self, epoch: Epoch, partition: Partition, batch: RecordBatch) -> Result<(), StageError> {
        let mut file = match self.open.entry(epoch).or_default().files.remove(&partition) {
            Some(file) => file,
            None => self.file(epoch, &partition, batch.schema())?,
        };
        file.write(&batch).await?;
        let staging = self.open.entry(epoch).or_default();
        if file.bytes() >= TARGET_BYTES {
            staging.done.push(file.close().await?);
        } else {
            staging.files.insert(partition, file);
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for AppendWriter {
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError> {
        for (partition, rows) in split(&batch, &self.target.config.partition_by)? {
            self.add(epoch, partition, rows).await?;
        }
        Ok(())
    }

    async fn seal(&mut self, epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        let staging = self.open.remove(&epoch).unwrap_or_default();
        let mut adds = staging.done;
        for file in staging.files.into_values() {
            adds.push(file.close().await?);
        }
        adds.iter()
            .map(|add| {
                serde_json::to_vec(add)
                    .map(Staged)
                    .map_err(|e| StageError::internal("a data file cannot be described").because(e))
            })
            .collect()
    }
}

/// Rows by partition, without the partition columns: their values are in the log.
fn split(batch: &RecordBatch, by: &[String]) -> Result<Vec<(Partition, RecordBatch)>, StageError> {
    let failed = |e: ArrowError| StageError::internal("rows cannot be split by partition").because(e);
    if by.is_empty() {
        return Ok(vec![(Partition::new(), batch.clone())]);
    }
    let schema = batch.schema();
    let text = |column: &String| cast(batch.column(schema.index_of(column)?), &DataType::Utf8);
    let texts: Vec<ArrayRef> = by.iter().map(text).collect::<Result<_, _>>().map_err(failed)?;
    for (column, text) in by.iter().zip(&texts) {
        if text.as_string::<i32>().iter().any(|t| t == Some("")) {
            return Err(StageError::user(format!("partition column `{column}` has an empty text")).hint(format!(
                "a Delta table cannot tell an empty text from NULL in a partition: decide in a `sql` stage before, for \
                 example with `NULLIF({column}, '') AS {column}`"
            )));
        }
    }
    let mut rows: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
    for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
        let value = |t: &ArrayRef| t.is_valid(row).then(|| t.as_string::<i32>().value(row).to_owned());
        rows.entry(texts.iter().map(value).collect()).or_default().push(number);
    }
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|&i| !by.contains(schema.field(i).name())).collect();
    let data = batch.project(&kept).map_err(failed)?;
    rows.into_iter()
        .map(|(partition, list)| Ok((partition, take_record_batch(&data, &UInt32Array::from(list)).map_err(failed)?)))
        .collect()
}

/// A folder name that every store and reader takes as it is. Readers look at the log, people at the folder.
fn folder(value: Option<&str>) -> String {
    match value {
        None => "__HIVE_DEFAULT_PARTITION__".into(),
        Some(text) => text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
            .take(100)
            .collect(),
    }
}

/// Commits staged files.
pub(crate) struct AppendCommitter {
    log: Log,
}

impl AppendCommitter {
    pub(crate) fn new(target: Target) -> Self {
        Self { log: Log::new(target) }
    }
}

impl AppendCommitter {
    /// Deletes what was written for an epoch that the table holds already, when epochs are computed again: these files
    /// were never part of a commit, so nothing names them.
    async fn discard(&self, adds: &[Add]) {
        let Ok((table, _)) = self.log.current() else { return };
        let store = table.object_store();
        let paths: Vec<_> = adds.iter().filter_map(|add| Path::parse(&add.path).ok()).map(Ok).collect();
        let mut deleted = store.delete_stream(stream::iter(paths).boxed());
        while let Some(outcome) = deleted.next().await {
            // It does no harm, and upkeep may take it.
            if let Err(error) = outcome {
                tracing::debug!(%error, "a file that is not needed could not be deleted");
            }
        }
    }
}

#[async_trait]
impl Committer for AppendCommitter {
    async fn upkeep(&mut self) -> Vec<String> {
        self.log.upkeep().await
    }

    async fn committed(&mut self) -> Result<Option<Epoch>, StageError> {
        self.log.open().await
    }

    async fn commit(&mut self, commit: Commit) -> Result<Committed, StageError> {
        let decoded: Result<Vec<Add>, _> = commit.staged.iter().map(|s| serde_json::from_slice(&s.0)).collect();
        let adds = decoded.map_err(|e| StageError::internal("a staged file cannot be understood").because(e))?;
        if let Some(version) = self.log.known(commit.epoch)? {
            self.discard(&adds).await;
            return Ok(Committed { version, ..Committed::default() });
        }
        let rows = adds.iter().map(rows_of).sum();
        let actions: Vec<Action> = adds.into_iter().map(Action::Add).collect();
        self.log.all_there(&actions).await?;
        let version = self.log.append(&commit, &actions).await?;
        Ok(committed(&version, rows, &actions))
    }
}

/// Rows of a file, by its statistics.
pub(crate) fn rows_of(add: &Add) -> u64 {
    let stats = add.stats.as_deref().and_then(|s| serde_json::from_str::<serde_json::Value>(s).ok());
    stats.and_then(|s| s.get("numRecords")?.as_u64()).unwrap_or(0)
}

//! The ledger of epochs that are complete: Parquet segments, so that neither the number of records nor the time of a
//! restart grows with the number of epochs.
//!
//! ```text
//! STATE/ledger/<epoch>.json               manifest: the segments that hold everything up to this epoch
//! STATE/ledger/segments/<name>.parquet    source, object, version, bytes, modified, epoch, bound
//! ```
//!
//! A new manifest is written before the records that it replaces are deleted. Segments are merged two by two when they
//! are about as large as each other, as a log-structured merge tree does, so there are few. Segments of older versions do
//! not say when their epochs were bound: such epochs cannot be replayed.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::Binding;
use super::ledger::fingerprint;
use super::parquet;
use super::records::{Created, Records};
use crate::Epoch;
use crate::failpoint;
use crate::spec::timestamp;
use crate::stage::{Split, StageError};
use crate::storage;

const FOLDER: &str = "ledger";
/// A segment of so many rows is not merged any more: a merge holds two in memory.
const LARGEST: u64 = 250_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Manifest {
    upto: Epoch,
    /// Oldest first.
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Segment {
    name: String,
    rows: u64,
}

/// A split of a complete epoch.
pub(crate) struct Row {
    pub(crate) epoch: Epoch,
    /// The epoch's processing time, if the archive knows it.
    pub(crate) bound: Option<DateTime<Utc>>,
    pub(crate) source: String,
    pub(crate) split: Split,
}

/// The archive as of one moment.
pub(crate) struct Archive {
    records: Records,
    manifest: Manifest,
}

impl Archive {
    /// The newest archive, empty if there is none.
    pub(crate) async fn open(records: &Records) -> Result<Self, StageError> {
        let manifest = match records.epochs(FOLDER).await?.last() {
            Some(&epoch) => records.read(&records.of_epoch(FOLDER, epoch)).await?,
            None => Manifest::default(),
        };
        Ok(Self { records: records.clone(), manifest })
    }

    /// Reads the archive and what is not archived yet as of one moment: a running pipeline moves records from there to
    /// here now and then, and who reads in between would miss them, or look for what is gone.
    pub(crate) async fn at_rest<T, F>(records: &Records, read: impl Fn(Arc<Self>) -> F) -> Result<T, StageError>
    where
        F: Future<Output = Result<T, StageError>>,
    {
        loop {
            let archive = Arc::new(Self::open(records).await?);
            let found = read(archive.clone()).await;
            if Self::open(records).await?.upto() == archive.upto() {
                return found;
            }
        }
    }

    /// The newest epoch in it, 0 if none.
    pub(crate) fn upto(&self) -> Epoch {
        self.manifest.upto
    }

    /// All rows, oldest segment first.
    pub(crate) async fn batches(&self) -> Result<Vec<RecordBatch>, StageError> {
        let mut all = Vec::new();
        for segment in &self.manifest.segments {
            all.extend(self.read(segment).await?);
        }
        Ok(all)
    }

    /// Number of segments.
    pub(crate) fn segments(&self) -> usize {
        self.manifest.segments.len()
    }

    /// The rows of a segment, epochs in order and whole; later segments have later epochs.
    pub(crate) async fn rows_of(&self, segment: usize) -> Result<Vec<Row>, StageError> {
        let Some(segment) = self.manifest.segments.get(segment) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for batch in self.read(segment).await? {
            let columns = Columns::of(&batch).ok_or_else(|| self.damaged(segment))?;
            all.extend((0..batch.num_rows()).map(|row| columns.row(row)));
        }
        Ok(all)
    }

    /// Forgets everything: nothing is archived any more. The newest manifest goes last, as the segments of older ones may
    /// be gone.
    pub(crate) async fn forget(records: &Records) -> Result<(), StageError> {
        for epoch in records.epochs(FOLDER).await? {
            records.delete(vec![records.of_epoch(FOLDER, epoch)]).await?;
        }
        records.clear(FOLDER).await
    }

    /// Calls with source, identity and fingerprint of every split.
    pub(crate) async fn each(&self, mut f: impl FnMut(&str, &str, u64)) -> Result<(), StageError> {
        for segment in &self.manifest.segments {
            for batch in self.read(segment).await? {
                let rows = Columns::of(&batch).ok_or_else(|| self.damaged(segment))?;
                for row in 0..batch.num_rows() {
                    let version = rows.version.is_valid(row).then(|| rows.version.value(row));
                    let modified =
                        rows.modified.is_valid(row).then(|| DateTime::from_timestamp_micros(rows.modified.value(row)));
                    let bytes = u64::try_from(rows.bytes.value(row)).unwrap_or(0);
                    f(rows.source.value(row), rows.object.value(row), fingerprint(version, bytes, modified.flatten()));
                }
            }
        }
        Ok(())
    }

    /// Adds the splits of bindings and makes `upto` the newest epoch.
    pub(crate) async fn add(self, bindings: &[Binding], upto: Epoch) -> Result<(), StageError> {
        let encoding = |e: ArrowError| StageError::internal("the ledger cannot be encoded").because(e);
        let mut segments = self.manifest.segments.clone();
        let mut rows = vec![rows(bindings).map_err(encoding)?];
        let mut count = rows.iter().map(|b| b.num_rows() as u64).sum::<u64>();
        while let Some(last) = segments.last().filter(|s| s.rows <= 2 * count && s.rows + count <= LARGEST) {
            rows.splice(0..0, self.read(last).await?);
            count += last.rows;
            segments.pop();
        }
        if count > 0 {
            let name = format!("{upto:020}-{}.parquet", uuid::Uuid::new_v4().simple());
            self.write(&name, &rows).await?;
            failpoint::hit("after-segment", upto);
            segments.push(Segment { name, rows: count });
        }
        let path = self.records.of_epoch(FOLDER, upto);
        let manifest = Manifest { upto, segments };
        if let Created::Theirs(_) = self.records.create(&path, &manifest).await? {
            return Ok(());
        }
        failpoint::hit("after-manifest", upto);
        // From here on only tidying up: older manifests, then what was merged, and what a killed run has left.
        let older = self.records.epochs(FOLDER).await?.into_iter().filter(|e| *e < upto);
        self.records.delete(older.map(|epoch| self.records.of_epoch(FOLDER, epoch)).collect()).await?;
        let folder = self.records.path(FOLDER).join("segments");
        let named = |path: &Path| manifest.segments.iter().any(|s| path.filename() == Some(&s.name));
        let there = self.records.location().store.list(Some(&folder)).map_ok(|meta| meta.location);
        let there: Vec<Path> = there.try_collect().await.map_err(|e| self.records.unreachable("list", &folder, e))?;
        self.records.delete(there.into_iter().filter(|path| !named(path)).collect()).await
    }

    fn path(&self, name: &str) -> Path {
        self.records.path(FOLDER).join("segments").join(name)
    }

    async fn read(&self, segment: &Segment) -> Result<Vec<RecordBatch>, StageError> {
        let path = self.path(&segment.name);
        let read = async { self.records.location().store.get(&path).await?.bytes().await };
        let bytes = read.await.map_err(|e| self.records.unreachable("read", &path, e))?;
        let batches = parquet::decode(bytes).map_err(|e| self.damaged(segment).because(e))?;
        batches.into_iter().map(|b| whole(b).map_err(|e| self.damaged(segment).because(e))).collect()
    }

    async fn write(&self, name: &str, batches: &[RecordBatch]) -> Result<(), StageError> {
        let bytes = parquet::encode(&schema(), batches)
            .map_err(|e| StageError::internal("the ledger cannot be encoded").because(e))?;
        let path = self.path(name);
        let written = storage::write(&self.records.location().store, &path, bytes).await;
        written.map_err(|e| self.records.unreachable("write", &path, e))
    }

    fn damaged(&self, segment: &Segment) -> StageError {
        StageError::external("a segment of the ledger is damaged").object(format!(
            "{}/{}",
            self.records.location().root,
            self.path(&segment.name)
        ))
    }
}

/// Columns that the ledger shows, the first ones.
pub(crate) const SHOWN: usize = 6;

/// Columns of a segment.
pub(crate) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("object", DataType::Utf8, false),
        Field::new("version", DataType::Utf8, true),
        Field::new("bytes", DataType::Int64, false),
        Field::new("modified", timestamp(), true),
        Field::new("epoch", DataType::Int64, false),
        Field::new("bound", timestamp(), true),
    ]))
}

/// Segments of older versions lack the last column.
fn whole(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut columns = batch.columns().to_vec();
    if columns.len() == SHOWN {
        columns.push(new_null_array(&timestamp(), batch.num_rows()));
    }
    RecordBatch::try_new(schema(), columns)
}

/// The splits of bindings as rows of the ledger.
pub(crate) fn rows(bindings: &[Binding]) -> Result<RecordBatch, ArrowError> {
    let splits =
        || bindings.iter().flat_map(|b| b.splits.iter().flat_map(move |(s, list)| list.iter().map(move |x| (b, s, x))));
    let micros = splits().map(|(_, _, x)| x.modified.map(|m| m.timestamp_micros()));
    let bound = splits().map(|(b, _, _)| Some(b.ingest_time.timestamp_micros()));
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(splits().map(|(_, source, _)| Some(source)).collect::<StringArray>()),
            Arc::new(splits().map(|(_, _, x)| Some(&x.id)).collect::<StringArray>()),
            Arc::new(splits().map(|(_, _, x)| x.version.as_ref()).collect::<StringArray>()),
            Arc::new(splits().map(|(_, _, x)| i64::try_from(x.bytes).unwrap_or(i64::MAX)).collect::<Int64Array>()),
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Arc::new(splits().map(|(b, _, _)| i64::try_from(b.epoch).unwrap_or(i64::MAX)).collect::<Int64Array>()),
            Arc::new(bound.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ],
    )
}

struct Columns<'a> {
    source: &'a StringArray,
    object: &'a StringArray,
    version: &'a StringArray,
    bytes: &'a Int64Array,
    modified: &'a TimestampMicrosecondArray,
    epoch: &'a Int64Array,
    bound: &'a TimestampMicrosecondArray,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let column = |name| batch.column_by_name(name);
        Some(Self {
            source: column("source")?.as_string_opt()?,
            object: column("object")?.as_string_opt()?,
            version: column("version")?.as_string_opt()?,
            bytes: column("bytes")?.as_primitive_opt::<Int64Type>()?,
            modified: column("modified")?.as_primitive_opt::<TimestampMicrosecondType>()?,
            epoch: column("epoch")?.as_primitive_opt::<Int64Type>()?,
            bound: column("bound")?.as_primitive_opt::<TimestampMicrosecondType>()?,
        })
    }

    fn row(&self, row: usize) -> Row {
        let time = |of: &TimestampMicrosecondArray| {
            of.is_valid(row).then(|| DateTime::from_timestamp_micros(of.value(row))).flatten()
        };
        Row {
            epoch: u64::try_from(self.epoch.value(row)).unwrap_or(0),
            bound: time(self.bound),
            source: self.source.value(row).to_owned(),
            split: Split {
                id: self.object.value(row).to_owned(),
                bytes: u64::try_from(self.bytes.value(row)).unwrap_or(0),
                version: self.version.is_valid(row).then(|| self.version.value(row).to_owned()),
                modified: time(self.modified),
                rank: 0,
            },
        }
    }
}

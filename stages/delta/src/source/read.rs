//! The rows of a split.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use alluvium_engine::arrow::compute::cast;
use alluvium_engine::arrow::datatypes::DataType;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::{Split, StageError, with_diff};
use deltalake::Path;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::errors::ParquetError;

use super::History;
use super::columns::{constant, fit};
use super::object::Object;
use super::point::{File, Point};
use crate::feed::CHANGE_TYPE;

const BATCH: usize = 8_192;

/// How often the rows of a file come.
#[derive(Debug, Clone, Copy)]
enum Times {
    Each(i64),
    /// As the file says of each row.
    Told,
}

type Rows = BoxStream<'static, Result<RecordBatch, StageError>>;

impl History {
    pub(super) async fn rows(self, split: &Split) -> Result<Rows, StageError> {
        let unknown = || StageError::internal("a split cannot be understood").object(&split.id);
        let point = Point::parse(&split.id).ok_or_else(unknown)?;
        let version = point.version;
        if let Some(file) = point.file {
            return self.file(version, file, Some(split.bytes), Times::Each(1)).await;
        }
        if point.index == 0 {
            return Ok(stream::empty().boxed());
        }
        let commit = self.0.log.commit(version).await?;
        let size = |size: i64| u64::try_from(size).ok();
        let mut files = Vec::new();
        for cdc in commit.feed {
            files.push((File { path: cdc.path, partition: cdc.partition_values }, size(cdc.size), Times::Told));
        }
        if files.is_empty() {
            for remove in commit.removes {
                let Some(partition) =
                    remove.partition_values.or_else(|| self.0.found.is_whole().then(Default::default))
                else {
                    return Err(StageError::external(format!(
                        "version {version} removes a file and does not say of which partition it was"
                    ))
                    .object(self.shown(&remove.path))
                    .hint("let the writer of the table give extended metadata of removed files, or a change feed"));
                };
                files.push((File { path: remove.path, partition }, remove.size.and_then(size), Times::Each(-1)));
            }
            for add in commit.adds {
                files.push((File { path: add.path, partition: add.partition_values }, size(add.size), Times::Each(1)));
            }
        }
        let opened = stream::iter(files).then(move |(file, bytes, times)| {
            let history = self.clone();
            async move { history.file(version, file, bytes, times).await }
        });
        Ok(opened.try_flatten().boxed())
    }

    async fn file(&self, version: u64, file: File, bytes: Option<u64>, times: Times) -> Result<Rows, StageError> {
        let shown = self.shown(&file.path);
        if file.path.starts_with('/') || file.path.contains("://") {
            return Err(StageError::user("a file of the table lies outside of its folder, which is not supported")
                .object(file.path)
                .hint("is it a shallow clone? Read the table that it was made of"));
        }
        let failed = move |error: ParquetError| failed(version, &shown, error);
        let schema = self.0.found.schema.clone();
        let path = Path::parse(&file.path).unwrap_or_else(|_| Path::from(file.path.as_str()));
        let reader = Object::open(self.0.log.store.clone(), path, bytes).await.map_err(&failed)?;
        // What a writer noted of its own types is nothing to us.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await.map_err(&failed)?;
        let wanted = |name: &String| schema.index_of(name).is_ok() || name == CHANGE_TYPE;
        let fields = builder.schema().fields().iter().enumerate();
        let roots: Vec<usize> = fields.filter(|(_, f)| wanted(f.name())).map(|(at, _)| at).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(&failed)?;
        let history = self.clone();
        let shown = self.shown(&file.path);
        let made = batches.map(move |batch| {
            let batch = batch.map_err(&failed)?;
            history.conform(&batch, &file, times).map_err(|e| {
                StageError::external("a data file of the table does not fit the table's columns")
                    .object(&shown)
                    .because(e)
            })
        });
        Ok(made.boxed())
    }

    /// Columns of the table; missing ones are NULL.
    fn conform(&self, batch: &RecordBatch, file: &File, times: Times) -> Result<RecordBatch, ArrowError> {
        let schema = self.0.found.schema.clone();
        let rows = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len() + 1);
        for field in schema.fields() {
            columns.push(match (file.partition.get(field.name()), batch.column_by_name(field.name())) {
                (Some(text), _) => constant(text.as_deref(), field.data_type(), rows)?,
                (None, Some(column)) => fit(column, field.data_type())?,
                (None, None) => constant(None, field.data_type(), rows)?,
            });
        }
        if !self.0.config.changes {
            return RecordBatch::try_new(schema, columns);
        }
        columns.push(Arc::new(match times {
            Times::Each(times) => Int64Array::from(vec![times; rows]),
            Times::Told => told(batch)?,
        }));
        RecordBatch::try_new(with_diff(&schema), columns)
    }

    fn shown(&self, path: &str) -> String {
        format!("{}/{path}", self.0.log.place.shown())
    }
}

/// How often each row comes, by what a change feed says of it.
fn told(batch: &RecordBatch) -> Result<Int64Array, ArrowError> {
    let column = batch
        .column_by_name(CHANGE_TYPE)
        .ok_or_else(|| ArrowError::SchemaError(format!("a change feed has no column `{CHANGE_TYPE}`")))?;
    let texts = cast(column, &DataType::Utf8)?;
    let times = texts.as_string::<i32>().iter().map(|word| match word {
        Some("insert" | "update_postimage") => Ok(1),
        Some("delete" | "update_preimage") => Ok(-1),
        other => Err(ArrowError::SchemaError(format!("`{CHANGE_TYPE}` is {other:?}"))),
    });
    times.collect::<Result<Vec<i64>, _>>().map(Int64Array::from)
}

/// A file that is gone is another matter than one that is damaged.
fn failed(version: u64, object: &str, error: ParquetError) -> StageError {
    let gone = match &error {
        ParquetError::External(cause) => {
            matches!(cause.downcast_ref(), Some(object_store::Error::NotFound { .. }))
        }
        _ => false,
    };
    if gone {
        return StageError::external(format!("a file of version {version} of the table is gone: it was deleted before it was read"))
            .object(object)
            .hint(
                "was the table vacuumed? What was in the file is lost to this pipeline: start anew, with a new `state:` and new \
                 tables, and let `VACUUM` keep files for longer than this pipeline is behind",
            );
    }
    StageError::external("a data file of the table cannot be read").object(object).because(error)
}

//! Parquet, row group by row group, only the columns of the schema.

use std::ops::Range;
use std::sync::Arc;

use ::bytes::Bytes;
use alluvium_engine::arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use alluvium_engine::arrow::datatypes::{DataType, Field, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::json::WriterBuilder;
use alluvium_engine::arrow::json::writer::{EncoderOptions, LineDelimited, make_encoder};
use alluvium_engine::stage::{Read, Split, StageError};
use alluvium_engine::storage::Location;
use futures::future::BoxFuture;
use futures::stream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{GetOptions, OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, ObjectStoreExt, coalesce_ranges};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::bytes::{broken_off, changed, difference, path_of, unchanged, unopened};
use crate::cells::{fit, fit_or_null};
use crate::infer::{self, Seen};
use crate::policy::{Evolution, Policy, rescued};
use crate::read::{Pieces, Unopened};
use crate::rows::{Bad, Rows};

const BATCH: usize = 8_192;

/// Pieces with the columns of the schema.
pub(crate) async fn open(
    location: &Location,
    split: &Split,
    schema: SchemaRef,
    policy: Arc<Policy>,
    mut rows: Rows,
) -> Result<Pieces, Unopened> {
    let object = split.id.clone();
    let builder = builder(location, split).await?;
    let names: Vec<&str> = builder.schema().fields().iter().map(|f| f.name().as_str()).collect();
    let others: Vec<&str> = names.iter().copied().filter(|name| policy.lacks(name)).collect();
    match policy.evolution {
        Evolution::Fail if !others.is_empty() => return Err(policy.refused(&object, others).into()),
        Evolution::Add if !others.is_empty() => {
            let mut come = infer::columns(builder.schema());
            come.retain(|name, _| others.contains(&name.as_str()));
            return Err(policy.evolve(&object, &come).into());
        }
        _ => {}
    }
    let read = |name: &str| schema.index_of(name).is_ok() || (policy.rescues() && policy.lacks(name));
    let wanted: Vec<usize> = (0..names.len()).filter(|&i| read(names[i])).collect();
    if !names.iter().any(|name| schema.index_of(name).is_ok()) {
        // Missing columns are NULL, but a file of nothing but NULLs is a wrong file.
        return Err(StageError::user("the file has none of the columns of `schema:`")
            .object(&object)
            .because(format!("the file has: {}", names.join(", ")))
            .into());
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let stream = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(|e| fault(&object, e))?;
    let mut first = 1;
    let pieces = move |batch: Result<RecordBatch, ParquetError>| {
        let made = batch.map_err(|e| fault(&object, e)).and_then(|batch| {
            let made = pieces(&batch, first, &schema, &policy, &object, &mut rows);
            first += batch.num_rows() as u64;
            made
        });
        stream::iter(match made {
            Ok(pieces) => pieces.into_iter().flatten().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        })
    };
    Ok(stream.map(pieces).flatten().boxed())
}

async fn builder(location: &Location, split: &Split) -> Result<ParquetRecordBatchStreamBuilder<Ranges>, Unopened> {
    let path = path_of(location, split)?;
    let meta = location.store.head(&path).await.map_err(|e| unopened(split, e))?;
    unchanged(split, &meta)?;
    let reader = Ranges { location: location.clone(), path, split: split.clone() };
    ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|e| fault(&split.id, e).into())
}

/// The columns that a file says it has.
pub(crate) async fn columns(location: &Location, split: &Split) -> Result<Seen, Unopened> {
    Ok(infer::columns(builder(location, split).await?.schema()))
}

fn fault(object: &str, error: ParquetError) -> StageError {
    match error {
        // What `Ranges` says needs no wrapping.
        ParquetError::External(cause) => match cause.downcast::<StageError>() {
            Ok(error) => *error,
            Err(cause) => StageError::external("the Parquet file cannot be read").object(object).because(cause),
        },
        other => StageError::external("the Parquet file cannot be read").object(object).because(other),
    }
}

/// Fetches the parts of a file that the decoder asks for; all of one version of it.
struct Ranges {
    location: Location,
    path: Path,
    split: Split,
}

async fn range(location: Location, path: Path, split: Split, range: Range<u64>) -> Result<Bytes, ParquetError> {
    let options = GetOptions::new().with_range(Some(range)).with_if_match(split.version.clone());
    let read = async {
        let got = location.store.get_opts(&path, options).await?;
        let meta = got.meta.clone();
        let bytes = location.read_on(got).bytes().await?;
        // A store gives what it has described; a file may be written between the look at it and the reading.
        let meta = if location.is_local() { location.store.head(&path).await? } else { meta };
        Ok((bytes, meta))
    };
    let read = read
        .await
        .map_err(|e| broken_off(&split, e))
        .and_then(|(bytes, meta)| difference(&split, &meta).map_or(Ok(bytes), |how| Err(changed(&split, &how))));
    read.map_err(|error| ParquetError::External(error.into()))
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, wanted: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        range(self.location.clone(), self.path.clone(), self.split.clone(), wanted).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let (location, path, split) = (self.location.clone(), self.path.clone(), self.split.clone());
        // Neighbours are fetched in one request, others at the same time.
        async move {
            coalesce_ranges(
                &ranges,
                |wanted| range(location.clone(), path.clone(), split.clone(), wanted),
                OBJECT_STORE_COALESCE_DEFAULT,
            )
            .await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.split.bytes;
        async move {
            ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .load_and_finish(self, size)
                .await
                .map(Arc::new)
        }
        .boxed()
    }
}

/// Columns in the order and with the types of the schema; missing ones are NULL.
fn pieces(
    batch: &RecordBatch,
    first: u64,
    schema: &SchemaRef,
    policy: &Policy,
    object: &str,
    rows: &mut Rows,
) -> Result<[Option<Read>; 2], StageError> {
    let broken = |e| StageError::external("values cannot be shown as JSON").object(object).because(e);
    let column = |f: &Arc<Field>| match batch.column_by_name(f.name()) {
        None => Ok(new_null_array(f.data_type(), batch.num_rows())),
        Some(column) if policy.infers() && f.data_type() == &DataType::Utf8 && is_nested(column) => {
            let texts = json(column).map_err(broken)?;
            Ok(Arc::new(StringArray::from(texts)) as ArrayRef)
        }
        Some(column) => Ok(column.clone()),
    };
    let columns: Vec<ArrayRef> = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    if policy.rescues() {
        let (good, rescued) = rescue(batch, &columns, schema, policy, object).map_err(broken)?;
        return Ok([None, rows.good(&good, Some(rescued))?]);
    }
    let fitted = fit(&columns, schema).map_err(|e| {
        let types: Vec<String> =
            batch.schema().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        StageError::user("the file's columns do not fit `schema:`")
            .object(object)
            .because(format!("{e}; the file has: {}", types.join(", ")))
    })?;
    let bad = |(row, reason)| {
        let raw = as_json(&batch.slice(row, 1)).unwrap_or_else(|e| format!("(cannot be shown: {e})"));
        Bad { line: first + row as u64, raw, reason }
    };
    let bad = fitted.wrong.into_iter().map(bad).collect();
    Ok([rows.bad(bad)?, rows.good(&fitted.good, None)?])
}

/// Rows with the columns of the schema, and what did not fit into them: values of other columns, and those that do not
/// fit their type.
fn rescue(
    batch: &RecordBatch,
    columns: &[ArrayRef],
    schema: &SchemaRef,
    policy: &Policy,
    object: &str,
) -> Result<(RecordBatch, ArrayRef), ArrowError> {
    let (good, wrong) = fit_or_null(columns, schema)?;
    let mut fields: Vec<Vec<(&str, String)>> = vec![Vec::new(); batch.num_rows()];
    for (place, column) in columns.iter().enumerate() {
        let rows: Vec<usize> = wrong.iter().filter(|w| w.1 == place).map(|w| w.0).collect();
        if rows.is_empty() {
            continue;
        }
        let texts = json(column)?;
        for row in rows {
            fields[row].extend(texts[row].clone().map(|text| (schema.field(place).name().as_str(), text)));
        }
    }
    let there = batch.schema_ref().fields().iter().zip(batch.columns());
    for (field, column) in there.filter(|(f, _)| policy.lacks(f.name())) {
        for (row, text) in fields.iter_mut().zip(json(column)?) {
            row.extend(text.map(|text| (field.name().as_str(), text)));
        }
    }
    let rescued = fields
        .iter()
        .map(|row| rescued(object, &row.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>()));
    let rescued = Arc::new(rescued.collect::<StringArray>());
    Ok((good, rescued))
}

/// Each value of a column as JSON.
fn json(column: &ArrayRef) -> Result<Vec<Option<String>>, ArrowError> {
    let field = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let text = |row| {
        let mut text = Vec::new();
        encoder.encode(row, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    let nulls = column.logical_nulls();
    let mut text = text;
    Ok((0..column.len()).map(|row| nulls.as_ref().is_none_or(|n| n.is_valid(row)).then(|| text(row))).collect())
}

/// Whether its values have parts.
fn is_nested(column: &ArrayRef) -> bool {
    column.data_type().is_nested()
}

fn as_json(row: &RecordBatch) -> Result<String, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    Ok(String::from_utf8_lossy(&writer.into_inner()).trim_end().to_owned())
}

//! Parquet, row group by row group, only the columns of the schema.

use std::ops::Range;
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, new_null_array};
use alluvium_engine::arrow::compute::{CastOptions, cast_with_options};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use ::bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::bytes::{path_of, unchanged};

const BATCH: usize = 8_192;

/// Batches with the columns of the schema.
pub(crate) async fn open(location: &Location, split: &Split, schema: SchemaRef) -> Result<BoxStream<'static, Result<RecordBatch, StageError>>, StageError> {
    let path = path_of(location, split)?;
    let object = split.id.clone();
    let fail = {
        let object = object.clone();
        move |error: Box<dyn std::error::Error + Send + Sync>| StageError::external("the Parquet file cannot be read").object(&object).because(error)
    };
    let meta = location.store.head(&path).await.map_err(|e| fail(e.into()))?;
    unchanged(split, &meta)?;
    let reader = Ranges { store: location.store.clone(), path, size: meta.size };
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(|e| fail(e.into()))?;
    let wanted: Vec<usize> = (0..builder.schema().fields().len()).filter(|&i| schema.index_of(builder.schema().field(i).name()).is_ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let stream = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(|e| fail(e.into()))?;
    Ok(stream
        .map_err(move |e| fail(e.into()))
        .map(move |batch| batch.and_then(|b| fit(&b, &schema).map_err(|e| StageError::user("the file's columns do not fit `schema:`").object(&object).because(e))))
        .boxed())
}

/// Fetches the parts of a file that the decoder asks for.
struct Ranges {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.store.get_range(&self.path, range).map_err(|e| ParquetError::External(e.into())).boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        async move { ParquetMetaDataReader::new().with_arrow_reader_options(options).load_and_finish(self, size).await.map(Arc::new) }.boxed()
    }
}

/// Columns in the order and with the types of the schema; missing ones are NULL.
fn fit(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |f: &Arc<alluvium_engine::arrow::datatypes::Field>| -> Result<ArrayRef, ArrowError> {
        match batch.column_by_name(f.name()) {
            None => Ok(new_null_array(f.data_type(), batch.num_rows())),
            Some(column) => cast_with_options(column, f.data_type(), &options)
                .map_err(|e| ArrowError::CastError(format!("column `{}` is {} in the file: {e}", f.name(), column.data_type()))),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns)
}

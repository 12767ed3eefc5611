//! A Parquet file in a store, as its decoder asks for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use deltalake::{ObjectStore, Path};
use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt};
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, ObjectStoreExt, coalesce_ranges};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Fetches parts of a file.
pub(super) struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(error.into())
}

impl Object {
    /// Asks for the size if it is not known.
    pub(super) async fn open(store: Arc<dyn ObjectStore>, path: Path, size: Option<u64>) -> Result<Self, ParquetError> {
        let size = match size {
            Some(size) => size,
            None => store.head(&path).await.map_err(external)?.size,
        };
        Ok(Self { store, path, size })
    }
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, wanted: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        async move { self.store.get_range(&self.path, wanted).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        // Neighbours are fetched in one request, others at the same time.
        let one = |wanted| self.store.get_range(&self.path, wanted).map_err(external);
        async move { coalesce_ranges(&ranges, one, OBJECT_STORE_COALESCE_DEFAULT).await }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let size = self.size;
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}

//! Writes one data file and describes it as an `Add` action.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::StageError;
use alluvium_engine::storage;
use chrono::Utc;
use deltalake::kernel::Add;
use deltalake::{ObjectStore, Path};
use object_store::{ObjectStoreExt, PutPayload, PutPayloadMut, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::stats::stats;

/// A file of this size is closed and the next one begun.
pub(crate) const TARGET_BYTES: usize = 128 << 20;
/// A row group is closed when its encoded columns take this much memory.
const GROUP_BYTES: usize = 4 << 20;
/// A page of a column: rows are kept unencoded until a page is full, in every column of every open file.
const PAGE_BYTES: usize = 128 << 10;
/// A column whose distinct values take more is not worth a dictionary: looking them up costs more than it saves.
const DICTIONARY_BYTES: usize = 64 << 10;
/// Encoded bytes leave memory in parts of this size, the least that S3 takes.
pub(crate) const PART_BYTES: usize = 5 << 20;
/// A folder takes parts of any size.
pub(crate) const LOCAL_PART_BYTES: usize = 1 << 20;
/// Parts on their way at once.
const PARTS: usize = 2;

/// Where the Parquet encoder writes, and the upload takes from: in pieces, because one that grows is copied again and
/// again, and twice as large as what is in it.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<PutPayloadMut>>);

impl Buffer {
    fn take(&self) -> PutPayload {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).freeze()
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).content_length()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A data file that is being written. Nobody sees it before it is named in a commit, and the name is its own, so a
/// file of an attempt that failed is never read and never overwritten.
pub(crate) struct DataFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    schema: SchemaRef,
    partition: HashMap<String, Option<String>>,
    writer: ArrowWriter<Buffer>,
    buffer: Buffer,
    part_bytes: usize,
    upload: Option<WriteMultipart>,
    uploaded: usize,
}

impl DataFile {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        schema: SchemaRef,
        partition: HashMap<String, Option<String>>,
        part_bytes: usize,
    ) -> Result<Self, StageError> {
        let encoding = |e: ParquetError| StageError::internal("rows cannot be encoded as Parquet").because(e);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(encoding)?))
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("alluvium ", env!("CARGO_PKG_VERSION")).into())
            .build();
        let buffer = Buffer::default();
        let writer = ArrowWriter::try_new(buffer.clone(), schema.clone(), Some(properties)).map_err(encoding)?;
        Ok(Self { store, path, schema, partition, writer, buffer, part_bytes, upload: None, uploaded: 0 })
    }

    /// Encodes rows; sends what has gathered.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), StageError> {
        let path = self.path.to_string();
        let encoding =
            |e: ParquetError| StageError::internal("rows cannot be encoded as Parquet").object(&path).because(e);
        self.writer.write(batch).map_err(encoding)?;
        if self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush().map_err(encoding)?;
        }
        if self.buffer.len() >= self.part_bytes {
            self.send().await?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.uploaded + self.buffer.len() + self.writer.in_progress_size()
    }

    async fn send(&mut self) -> Result<(), StageError> {
        let part = self.buffer.take();
        self.uploaded += part.content_length();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let started = self.store.put_multipart(&self.path).await.map_err(|e| failed(&self.path, e))?;
                self.upload.insert(WriteMultipart::new_with_chunk_size(started, self.part_bytes))
            }
        };
        for piece in part {
            upload.wait_for_capacity(PARTS).await.map_err(|e| failed(&self.path, e))?;
            upload.put(piece);
        }
        Ok(())
    }

    /// Makes the file durable and describes it.
    pub(crate) async fn close(mut self) -> Result<Add, StageError> {
        let encoding = |e: ParquetError| StageError::internal("rows cannot be encoded as Parquet").because(e);
        let footer = self.writer.finish().map_err(encoding)?;
        let rest = self.buffer.take();
        let size = self.uploaded + rest.content_length();
        match self.upload.take() {
            Some(mut upload) => {
                rest.into_iter().for_each(|piece| upload.put(piece));
                if let Err(error) = upload.finish().await {
                    finished(&self.store, &self.path, size).await.map_err(|_| failed(&self.path, error))?;
                }
            }
            None => {
                let written = storage::write(&self.store, &self.path, rest).await;
                written.map_err(|e| failed(&self.path, e))?;
            }
        }
        let stats = stats(&footer, &self.schema).map_err(encoding)?;
        Ok(Add {
            path: self.path.to_string(),
            partition_values: self.partition,
            size: i64::try_from(size).unwrap_or(i64::MAX),
            modification_time: Utc::now().timestamp_millis(),
            data_change: true,
            stats: Some(stats.to_string()),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }
}

/// Whether an upload whose answer was lost, or that was asked to finish twice, has made the whole file.
async fn finished(store: &Arc<dyn ObjectStore>, path: &Path, size: usize) -> Result<(), object_store::Error> {
    let there = store.head(path).await?;
    if there.size == size as u64 {
        return Ok(());
    }
    Err(object_store::Error::NotFound { path: path.to_string(), source: "not the whole file".into() })
}

fn failed(path: &Path, error: object_store::Error) -> StageError {
    StageError::external("a data file cannot be written").object(path.to_string()).because(error)
}

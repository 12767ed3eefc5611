//! Files that a committer fills.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::StageError;
use deltalake::kernel::Add;
use deltalake::{ObjectStore, Path};

use crate::file::{DataFile, PART_BYTES, TARGET_BYTES};

/// Rows of an epoch on their way into files, one after the other.
pub(crate) struct Output {
    store: Arc<dyn ObjectStore>,
    /// How names begin.
    prefix: &'static str,
    epoch: Epoch,
    schema: SchemaRef,
    file: Option<DataFile>,
    done: Vec<Add>,
}

impl Output {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, prefix: &'static str, epoch: Epoch, schema: SchemaRef) -> Self {
        Self { store, prefix, epoch, schema, file: None, done: Vec::new() }
    }

    /// Rows of the schema.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<(), StageError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let name = format!("{}-{:010}-{}.zstd.parquet", self.prefix, self.epoch, uuid::Uuid::new_v4().simple());
                let path = Path::from(name);
                self.file.insert(DataFile::new(
                    self.store.clone(),
                    path,
                    self.schema.clone(),
                    HashMap::new(),
                    PART_BYTES,
                )?)
            }
        };
        file.write(batch).await?;
        if file.bytes() >= TARGET_BYTES
            && let Some(full) = self.file.take()
        {
            self.done.push(full.close().await?);
        }
        Ok(())
    }

    /// All files, durable.
    pub(crate) async fn finish(mut self) -> Result<Vec<Add>, StageError> {
        if let Some(file) = self.file.take() {
            self.done.push(file.close().await?);
        }
        Ok(self.done)
    }
}

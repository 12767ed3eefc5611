//! One table by its URL: read, asked what it holds, deleted, appended to.

use std::sync::Arc;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::async_trait;
use alluvium_engine::stage::StageError;
use alluvium_engine::tables::{Held, Rows, Table};
use deltalake::datafusion::error::DataFusionError;
use deltalake::parquet::basic::{Compression, ZstdLevel};
use deltalake::parquet::file::properties::WriterProperties;
use deltalake::table::config::TableProperty;
use deltalake::{DeltaTable, DeltaTableError};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use crate::commit::alone;
use crate::place::Place;
use crate::tables::{select, session, words};
use crate::upkeep::{LEAST_AGE, checkpoint, clean_log, optimize, vacuum};
use crate::{delete, epochs};

/// After so many appends small files are merged, and what they replace is forgotten after a day.
const UPKEEP: u64 = 100;
/// Merged files of this size are left alone.
const MERGED_BYTES: usize = 16 << 20;

/// A table.
pub(crate) struct OneTable {
    place: Place,
    /// As the last append has left it: opening it would read many entries of its log each time.
    open: Mutex<Option<DeltaTable>>,
}

impl OneTable {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, open: Mutex::default() }
    }

    async fn written(&self, table: DeltaTable, rows: RecordBatch) -> Result<DeltaTable, DeltaTableError> {
        let zstd = Compression::ZSTD(ZstdLevel::try_new(1)?);
        let day = Some("interval 1 days");
        let write = table
            .write([rows])
            .with_writer_properties(WriterProperties::builder().set_compression(zstd).build())
            .with_configuration([(TableProperty::DeletedFileRetentionDuration.as_ref(), day)]);
        write.with_commit_properties(alone()).await
    }
}

async fn upkeep(table: DeltaTable) -> Result<(), DeltaTableError> {
    let mut table = table;
    optimize(table.clone(), MERGED_BYTES).await?;
    table.update_state().await?;
    checkpoint(table.clone()).await?;
    clean_log(table.clone(), LEAST_AGE).await?;
    vacuum(table, LEAST_AGE, false).await.map(drop)
}

#[async_trait]
impl Table for OneTable {
    async fn read(&self, version: Option<u64>, query: &str) -> Result<Option<Rows>, StageError> {
        let Some(mut table) = self.place.load().await? else { return Ok(None) };
        let newest = table.snapshot().map_err(|e| self.place.failed("read", e))?.version();
        if let Some(version) = version {
            if version > newest {
                let message = format!("the table has no version {version}: the newest is {newest}");
                return Err(StageError::user(message).object(self.place.shown()));
            }
            table = self.place.load_version(version).await.map_err(|e| self.place.failed("opened as it was", e))?;
        }
        let failed = |e: DataFusionError| StageError::external(words(&e));
        let provider = table.table_provider().await.map_err(failed)?;
        let context = session();
        context.register_table("input", provider).map_err(failed)?;
        let frame = select(&context, query).await.map_err(failed)?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let shown = self.place.shown();
        let batches = frame.execute_stream().await.map_err(failed)?;
        let batches = batches.map_err(move |e| StageError::external(words(&e)).object(shown.clone())).boxed();
        Ok(Some(Rows { version: version.unwrap_or(newest), schema, batches }))
    }

    fn held(&self, pipeline: &str, stage: &str) -> BoxStream<'static, Result<Held, StageError>> {
        epochs::held(self.place.clone(), format!("{pipeline}/{stage}"))
    }

    async fn delete(&self) -> Result<(), StageError> {
        delete::table(&self.place).await
    }

    async fn append(&self, rows: RecordBatch) -> Result<(), StageError> {
        let mut open = self.open.lock().await;
        let table = match open.take() {
            Some(table) => table,
            None => self.place.open_or_blank().await?,
        };
        // After an error it is opened anew: nobody knows what became of it.
        let table = self.written(table, rows).await.map_err(|e| self.place.failed("written", e))?;
        if table.version().is_some_and(|version| version > 0 && version % UPKEEP == 0) {
            if let Err(error) = upkeep(table).await {
                tracing::warn!(table = %self.place.shown(), %error, "upkeep of the table has failed; trying again later");
            }
        } else {
            *open = Some(table);
        }
        Ok(())
    }
}

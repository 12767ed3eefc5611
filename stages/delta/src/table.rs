//! A table that is written: opened or created, its columns held against the plan, its snapshot kept from commit to commit.

use std::sync::Arc;
use std::time::Duration;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::{Domain, StageContext, StageError};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::table::config::TableProperty;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, ObjectStore};

use crate::commit::alone;
use crate::config::Delta;
use crate::feed;
use crate::place::Place;
use crate::schema;

/// Tries to create or alter a table, with a pause that doubles from 200 ms.
const TRIES: u32 = 5;

/// What is to be written where.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) config: Delta,
    pub(crate) schema: SchemaRef,
    /// Key columns, for upserts.
    pub(crate) keys: Vec<String>,
    /// For upserts: rows come with a number, how often they are added or taken away.
    pub(crate) counted: bool,
    /// Columns that the source has got since the first run, which the table may get without being asked.
    pub(crate) evolved: Vec<String>,
    /// Identity under which the table remembers the epoch: `pipeline/stage`.
    pub(crate) app: String,
    pub(crate) place: Place,
}

impl Target {
    pub(crate) fn new(
        config: Delta,
        schema: SchemaRef,
        keys: Vec<String>,
        counted: bool,
        context: &StageContext,
    ) -> Result<Self, StageError> {
        let place = Place::new(&config.table, &context.storage)?;
        let app = format!("{}/{}", context.pipeline, context.stage);
        let evolved = context.inputs.first().map(|i| i.evolved.clone()).unwrap_or_default();
        Ok(Self { config, schema, keys, counted, evolved, app, place })
    }

    /// The store rooted at the table, without reading anything.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>, StageError> {
        self.place.ensure_folder()?;
        self.place.store()
    }

    /// The table, created if need be, with the columns of the plan.
    pub(crate) async fn open_or_create(&self) -> Result<DeltaTable, StageError> {
        self.place.ensure_folder()?;
        let table = match self.place.load().await? {
            Some(table) => table,
            None => self.created().await?,
        };
        self.fit(table).await
    }

    /// Gives the table what the plan asks for, or says what does not fit. When that fails it may have been done all the
    /// same, so what is there decides.
    pub(crate) async fn fit(&self, mut table: DeltaTable) -> Result<DeltaTable, StageError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.fitted(table).await {
                Err(error) if error.domain() == Domain::External => {
                    tracing::warn!(table = %self.place.shown(), %error, "a table could not be altered; has it been?");
                }
                known => return known,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            table = self.place.open_or_blank().await?;
        }
        self.fitted(table).await
    }

    async fn fitted(&self, table: DeltaTable) -> Result<DeltaTable, StageError> {
        feed::ensure(self, schema::reconcile(self, table).await?).await
    }

    /// Creates the table. When that fails it may have been created all the same, so what is there decides.
    async fn created(&self) -> Result<DeltaTable, StageError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.create().await {
                Ok(table) => return Ok(table),
                Err(error) => {
                    tracing::warn!(table = %self.place.shown(), %error, "a table could not be created; is it there?");
                }
            }
            if let Some(table) = self.place.load().await? {
                return Ok(table);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.create().await
    }

    async fn create(&self) -> Result<DeltaTable, StageError> {
        let kernel: StructType =
            self.schema.as_ref().try_into_kernel().map_err(|e: deltalake::arrow::error::ArrowError| {
                StageError::user("the columns cannot be those of a Delta table").object(self.place.shown()).because(e)
            })?;
        CreateBuilder::new()
            .with_location(self.place.url.as_str())
            .with_storage_options(self.place.options.clone())
            .with_columns(kernel.fields().cloned())
            .with_partition_columns(self.config.partition_by.clone())
            // Whoever is first creates it.
            .with_save_mode(SaveMode::Ignore)
            .with_commit_properties(alone())
            .with_configuration(
                self.config.change_feed.then_some((TableProperty::EnableChangeDataFeed.as_ref(), Some("true"))),
            )
            .await
            .map_err(|e| self.place.failed("created", e))
    }
}

/// The epoch that a snapshot holds for a pipeline and stage, `app`. An error is never "none".
pub(crate) async fn epoch_of(
    place: &Place,
    app: &str,
    table: &DeltaTable,
    snapshot: &DeltaTableState,
) -> Result<Option<Epoch>, StageError> {
    let version = snapshot
        .transaction_version(table.log_store().as_ref(), app)
        .await
        .map_err(|e| place.failed("asked which epoch it holds", e))?;
    Ok(version.and_then(|v| u64::try_from(v).ok()))
}

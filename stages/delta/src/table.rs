//! A table: opened or created, its columns held against the plan, its snapshot kept from commit to commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::datatypes::{Schema, SchemaRef};
use alluvium_engine::stage::{StageContext, StageError};
use alluvium_engine::storage::{Storage, absolute};
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::PROTOCOL;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ObjectStore};
use url::Url;

use crate::config::Delta;
use crate::schema;

/// Tries to create a table, with a pause that doubles from 200 ms.
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
    pub(crate) url: Url,
    options: HashMap<String, String>,
}

impl Target {
    pub(crate) fn new(
        config: Delta,
        schema: SchemaRef,
        keys: Vec<String>,
        counted: bool,
        context: &StageContext,
    ) -> Result<Self, StageError> {
        let url = absolute(config.table.trim_end_matches('/'))?;
        let app = format!("{}/{}", context.pipeline, context.stage);
        let options = context.storage.options().clone().into_iter().collect();
        let evolved = context.inputs.first().map(|i| i.evolved.clone()).unwrap_or_default();
        Ok(Self { config, schema, keys, counted, evolved, app, url, options })
    }

    /// A table that is only read.
    pub(crate) fn for_reading(config: Delta, storage: &Storage) -> Result<Self, StageError> {
        let url = absolute(config.table.trim_end_matches('/'))?;
        let options = storage.options().clone().into_iter().collect();
        let (schema, app) = (Schema::empty().into(), String::new());
        Ok(Self { config, schema, keys: Vec::new(), counted: false, evolved: Vec::new(), app, url, options })
    }

    /// The table's URL, safe to show.
    pub(crate) fn shown(&self) -> String {
        alluvium_engine::secret::public_url(self.url.as_str())
    }

    pub(crate) fn failed(&self, what: &str, error: DeltaTableError) -> StageError {
        StageError::external(format!("the table cannot be {what}"))
            .object(self.shown())
            .hint("check that `table:` is a place that this process may list, read and write")
            .because(error)
    }

    /// The store rooted at the table, without reading anything.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>, StageError> {
        self.ensure_folder()?;
        let built = self.builder().and_then(|b| b.build());
        built.map(|t| t.object_store()).map_err(|e| self.failed("opened", e))
    }

    fn builder(&self) -> Result<DeltaTableBuilder, DeltaTableError> {
        Ok(DeltaTableBuilder::from_url(self.url.clone())?.with_storage_options(self.options.clone()))
    }

    /// The newest version, or nothing if there is no table.
    pub(crate) async fn load(&self) -> Result<Option<DeltaTable>, StageError> {
        // Looking at a local folder that does not exist is an error of the library, and must not create it.
        if self.url.to_file_path().is_ok_and(|path| !path.join("_delta_log").exists()) {
            return Ok(None);
        }
        match self.builder() {
            Ok(builder) => match builder.load().await {
                Ok(table) => Ok(Some(table)),
                Err(DeltaTableError::NotATable(_)) => Ok(None),
                Err(error) => Err(self.failed("opened", error)),
            },
            Err(error) => Err(self.failed("opened", error)),
        }
    }

    /// Whether the table can be read and written, by its protocol.
    pub(crate) async fn examine(&self) -> Result<String, String> {
        let Some(table) = self.load().await.map_err(|e| e.text())? else {
            return Ok(format!("{} is not there yet; a run creates it", self.shown()));
        };
        let snapshot = table.snapshot().map_err(|e| e.to_string())?;
        let protocol = snapshot.protocol();
        let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
        let eager = snapshot.snapshot();
        PROTOCOL.can_read_from(eager).and_then(|()| PROTOCOL.can_write_to(eager)).map_err(|e| {
            format!("its protocol (reader {reader}, writer {writer}) asks for what is not supported: {e}")
        })?;
        Ok(format!("version {}, protocol reader {reader}, writer {writer}", snapshot.version()))
    }

    /// The table, created if need be, with the columns of the plan.
    pub(crate) async fn open_or_create(&self) -> Result<DeltaTable, StageError> {
        self.ensure_folder()?;
        let table = match self.load().await? {
            Some(table) => table,
            None => self.created().await?,
        };
        schema::reconcile(self, table).await
    }

    /// Creates the table. When that fails it may have been created all the same, so what is there decides.
    async fn created(&self) -> Result<DeltaTable, StageError> {
        let mut pause = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.create().await {
                Ok(table) => return Ok(table),
                Err(error) => {
                    tracing::warn!(table = %self.shown(), %error, "a table could not be created; is it there?");
                }
            }
            if let Some(table) = self.load().await? {
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
                StageError::user("the columns cannot be those of a Delta table").object(self.shown()).because(e)
            })?;
        CreateBuilder::new()
            .with_location(self.url.as_str())
            .with_storage_options(self.options.clone())
            .with_columns(kernel.fields().cloned())
            .with_partition_columns(self.config.partition_by.clone())
            // Whoever is first creates it.
            .with_save_mode(SaveMode::Ignore)
            .await
            .map_err(|e| self.failed("created", e))
    }

    /// A local store needs its folder.
    fn ensure_folder(&self) -> Result<(), StageError> {
        let Ok(path) = self.url.to_file_path() else { return Ok(()) };
        std::fs::create_dir_all(&path).map_err(|e| {
            StageError::external("the table's folder cannot be made").object(path.display().to_string()).because(e)
        })
    }
}

/// The epoch that a snapshot holds for this pipeline and stage. An error is never "none".
pub(crate) async fn epoch_of(
    target: &Target,
    table: &DeltaTable,
    snapshot: &DeltaTableState,
) -> Result<Option<Epoch>, StageError> {
    let version = snapshot
        .transaction_version(table.log_store().as_ref(), &target.app)
        .await
        .map_err(|e| target.failed("asked which epoch it holds", e))?;
    Ok(version.and_then(|v| u64::try_from(v).ok()))
}

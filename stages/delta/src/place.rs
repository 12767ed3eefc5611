//! Where a table lies, and how it is opened.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::secret::public_url;
use alluvium_engine::stage::StageError;
use alluvium_engine::storage::{Storage, absolute};
use deltalake::kernel::transaction::PROTOCOL;
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ObjectStore};
use url::Url;

use crate::file::{LOCAL_PART_BYTES, PART_BYTES};

/// A table's URL, and the options of its store.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) url: Url,
    pub(crate) options: HashMap<String, String>,
}

impl Place {
    pub(crate) fn new(table: &str, storage: &Storage) -> Result<Self, StageError> {
        let url = absolute(table.trim_end_matches('/'))?;
        Ok(Self { url, options: storage.options().clone().into_iter().collect() })
    }

    /// The URL, safe to show.
    pub(crate) fn shown(&self) -> String {
        public_url(self.url.as_str())
    }

    pub(crate) fn failed(&self, what: &str, error: DeltaTableError) -> StageError {
        StageError::external(format!("the table cannot be {what}"))
            .object(self.shown())
            .hint("check that `table:` is a place that this process may list, read and write")
            .because(error)
    }

    /// The newest version, or a table that is yet to be created.
    pub(crate) async fn open_or_blank(&self) -> Result<DeltaTable, StageError> {
        self.ensure_folder()?;
        match self.load().await? {
            Some(table) => Ok(table),
            None => self.blank(),
        }
    }

    /// A table that may not be there, without reading anything.
    fn blank(&self) -> Result<DeltaTable, StageError> {
        self.builder()?.build().map_err(|e| self.failed("opened", e))
    }

    /// A local store needs its folder.
    pub(crate) fn ensure_folder(&self) -> Result<(), StageError> {
        let Ok(path) = self.url.to_file_path() else { return Ok(()) };
        std::fs::create_dir_all(&path).map_err(|e| {
            StageError::external("the table's folder cannot be made").object(path.display().to_string()).because(e)
        })
    }

    fn builder(&self) -> Result<DeltaTableBuilder, StageError> {
        let builder = DeltaTableBuilder::from_url(self.url.clone()).map_err(|e| self.failed("opened", e))?;
        Ok(builder.with_storage_options(self.options.clone()))
    }

    /// The store rooted at the table, without reading anything.
    pub(crate) fn store(&self) -> Result<Arc<dyn ObjectStore>, StageError> {
        Ok(self.blank()?.object_store())
    }

    /// In what parts files go up.
    pub(crate) fn part_bytes(&self) -> usize {
        if self.url.scheme() == "file" { LOCAL_PART_BYTES } else { PART_BYTES }
    }

    /// The newest version, or nothing if there is no table.
    pub(crate) async fn load(&self) -> Result<Option<DeltaTable>, StageError> {
        // Looking at a local folder that does not exist is an error of the library, and must not create it.
        if self.url.to_file_path().is_ok_and(|path| !path.join("_delta_log").exists()) {
            return Ok(None);
        }
        match self.builder()?.load().await {
            Ok(table) => Ok(Some(table)),
            Err(DeltaTableError::NotATable(_)) => Ok(None),
            Err(error) => Err(self.failed("opened", error)),
        }
    }

    /// The table as it was at a version.
    pub(crate) async fn load_version(&self, version: u64) -> Result<DeltaTable, DeltaTableError> {
        let builder = DeltaTableBuilder::from_url(self.url.clone())?.with_storage_options(self.options.clone());
        builder.with_version(version).load().await
    }

    /// Whether the table can be read and, if asked, written, by its protocol.
    pub(crate) async fn examine(&self, write: bool) -> Result<String, String> {
        let Some(table) = self.load().await.map_err(|e| e.text())? else {
            return Ok(format!("{} is not there yet; a run creates it", self.shown()));
        };
        let snapshot = table.snapshot().map_err(|e| e.to_string())?;
        let protocol = snapshot.protocol();
        let (reader, writer) = (protocol.min_reader_version(), protocol.min_writer_version());
        let eager = snapshot.snapshot();
        let can = PROTOCOL.can_read_from(eager);
        let can = if write { can.and_then(|()| PROTOCOL.can_write_to(eager)) } else { can };
        can.map_err(|e| {
            format!("its protocol (reader {reader}, writer {writer}) asks for what is not supported: {e}")
        })?;
        Ok(format!("version {}, protocol reader {reader}, writer {writer}", snapshot.version()))
    }
}

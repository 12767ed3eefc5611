//! Reading tables with SQL, and looking at their logs: what commands, and stages that resolve, need of the crate that
//! writes them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::Epoch;
use crate::checkpoint::Completed;
use crate::plan::Plan;
use crate::spec::Problem;
use crate::stage::StageError;
use crate::storage::Storage;

/// Reads the tables of pipelines. See [`Registry::with_tables`](crate::Registry::with_tables).
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// The columns that a query gives over tables with these columns, by stage. No I/O.
    ///
    /// # Errors
    /// Why the query cannot be, if possible with the word that it is about ([`Problem::within`]).
    async fn plan(&self, tables: &[(String, SchemaRef)], query: &str) -> Result<SchemaRef, Problem>;

    /// Opens all tables as of the newest epoch that is complete; while none is, each as it is.
    ///
    /// # Errors
    /// When a table or the pipeline's state cannot be read.
    async fn open(&self, plan: &Arc<Plan>) -> Result<Box<dyn Snapshot>, StageError>;

    /// The table at a URL, whether or not there is one. No I/O.
    ///
    /// # Errors
    /// A URL that cannot be opened.
    fn table(&self, storage: &Storage, url: &str) -> Result<Box<dyn Table>, StageError>;
}

/// One table.
#[async_trait]
pub trait Table: Send + Sync {
    /// What a query gives over the table, which it calls `input`: as it was at a version, or as it is. Nothing if there
    /// is no table.
    ///
    /// # Errors
    /// A version that the table does not have ([`StageError::user`]), a table or a query that cannot be read.
    async fn read(&self, version: Option<u64>, query: &str) -> Result<Option<Rows>, StageError>;

    /// The commits that hold an epoch of a pipeline's stage, newest first, as far back as the table's log reaches.
    /// Nothing if there is no table.
    fn held(&self, pipeline: &str, stage: &str) -> BoxStream<'static, Result<Held, StageError>>;

    /// Deletes the table, and nothing of its folder that is not the table's. To be repeated if it was interrupted: what
    /// is left until the last moment tells what is left to delete. If there is no table, nothing happens.
    ///
    /// # Errors
    /// What cannot be listed, read or deleted.
    async fn delete(&self) -> Result<(), StageError>;

    /// Adds rows in a commit of their own, and creates the table with their columns if there is none. For what belongs to
    /// no epoch. Merges what it has made small, now and then.
    ///
    /// # Errors
    /// What cannot be written. The rows may be there all the same: an answer can be lost.
    async fn append(&self, _rows: RecordBatch) -> Result<(), StageError> {
        Err(StageError::internal("rows can be added to this table by its committer only"))
    }
}

/// A commit of an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The epoch.
    pub epoch: Epoch,
    /// The version of the table that the commit made.
    pub version: u64,
    /// When, if the log says it.
    pub committed: Option<DateTime<Utc>>,
    /// What came with the commit: see [`Commit::metadata`](crate::stage::Commit::metadata).
    pub metadata: BTreeMap<String, String>,
}

/// The answer of a query over a table.
pub struct Rows {
    /// The version of the table that was read.
    pub version: u64,
    /// The columns of the answer.
    pub schema: SchemaRef,
    /// Its rows, read as they are asked for.
    pub batches: BoxStream<'static, Result<RecordBatch, StageError>>,
}

/// All tables of a pipeline as of one epoch.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The epoch; nothing while none is complete.
    fn epoch(&self) -> Option<&Completed>;

    /// The tables in the order of the plan.
    fn tables(&self) -> &[TableVersion];

    /// The first rows of a query's answer, `limit` at most; at least one batch, so that columns are known. Also over
    /// `alluvium.ledger` and `alluvium.events`.
    ///
    /// # Errors
    /// What is wrong, in words.
    async fn query(&self, query: &str, limit: Option<usize>) -> Result<Vec<RecordBatch>, String>;
}

/// A table in a [`Snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableVersion {
    /// The stage that writes it.
    pub stage: String,
    /// Its version; nothing if it was not written yet.
    pub version: Option<u64>,
}

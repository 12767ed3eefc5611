//! Reading tables with SQL: what commands, and stages that resolve, need of the crate that writes them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use futures::stream::BoxStream;

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

    /// What a query gives over one table, which it calls `input`: as the table was at a version, or as it is. Nothing if
    /// there is no table at the URL.
    ///
    /// # Errors
    /// A version that the table does not have ([`StageError::user`]), a table or a query that cannot be read.
    async fn read(
        &self,
        storage: &Storage,
        url: &str,
        version: Option<u64>,
        query: &str,
    ) -> Result<Option<Rows>, StageError>;
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
    /// `alluvium.ledger`.
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

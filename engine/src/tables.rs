//! Reading a pipeline's tables with SQL: what commands need of the crate that writes them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;

use crate::checkpoint::Completed;
use crate::plan::Plan;
use crate::spec::Problem;
use crate::stage::StageError;

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

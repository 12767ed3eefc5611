//! Sources: rows come in as splits, and a split always gives the same rows.

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::{Reject, StageError};
use crate::Epoch;

/// The unit of source parallelism and of the ledger: an object, or a part of one.
///
/// A split is bound to an epoch before it is read, and is read again after a crash. Its rows must be the same then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// Identity within the source; a split with a known identity is not read again.
    pub id: String,
    /// Size in bytes, as far as known; epochs are closed by it.
    pub bytes: u64,
    /// What identifies the content: an ETag or the like. A split whose content has changed must not be read silently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the content was last modified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<DateTime<Utc>>,
}

/// What a reader must know about the epoch. Part of the binding, so it is the same when the epoch is replayed.
#[derive(Debug, Clone, Copy)]
pub struct ReadContext {
    /// The epoch that the split is bound to.
    pub epoch: Epoch,
    /// The processing time of the epoch.
    pub ingest_time: DateTime<Utc>,
}

/// A piece of what a split gives.
#[derive(Debug)]
pub enum Read {
    /// Good rows.
    Rows(RecordBatch),
    /// Rows that could not be read; only from sources that declare rejects.
    Rejects(Vec<Reject>),
}

/// Brings rows in.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The splits that are there now, in the order in which they are to be read. One worker of the cluster lists;
    /// the engine leaves out what the ledger knows and deals the rest to all workers.
    fn list(&self) -> BoxStream<'static, Result<Split, StageError>>;

    /// The rows of a split, in order. Called on a thread where blocking for a batch's worth of computation is fine;
    /// the engine stops polling when queues are full.
    fn read(&self, split: Split, context: ReadContext) -> BoxStream<'static, Result<Read, StageError>>;
}

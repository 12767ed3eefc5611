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
    /// Splits of a lower rank are bound earlier; of one rank, those with the lesser identity.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rank: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(rank: &i64) -> bool {
    *rank == 0
}

/// What to do with a split that is listed with another content than the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnChange {
    /// It is left alone, with a warning.
    #[default]
    Ignore,
    /// The run stops.
    Error,
    /// It is read again: its rows are added to those that were read before.
    Reprocess,
}

/// What a reader must know about the epoch. Part of the binding, so it is the same when the epoch is replayed.
#[derive(Debug, Clone, Copy)]
pub struct ReadContext {
    /// The epoch that the split is bound to.
    pub epoch: Epoch,
    /// The processing time of the epoch.
    pub ingest_time: DateTime<Utc>,
    /// Some table holds the epoch already, so it must consist of exactly the same rows: [`Read::Dropped`] is a fault.
    pub fixed: bool,
}

/// A piece of what a split gives.
#[derive(Debug)]
pub enum Read {
    /// Good rows.
    Rows(RecordBatch),
    /// Rows that could not be read; only from sources that declare rejects.
    Rejects(Vec<Reject>),
    /// Instead of any rows: the split is not there any more as it was bound, for the reason given. It is taken out of
    /// the epoch; if it is listed again it is bound anew.
    Dropped(String),
}

/// Brings rows in.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The splits that are there now, in any order. With `after` only those with a greater identity are asked for; a
    /// source that cannot skip the others gives them too. One worker of the cluster lists, again and again when the run
    /// watches; the engine leaves out what the ledger knows and deals the rest to all workers.
    fn list(&self, after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>>;

    /// The rows of a split, in order. Called on a thread where blocking for a batch's worth of computation is fine;
    /// the engine stops polling when queues are full.
    fn read(&self, split: Split, context: ReadContext) -> BoxStream<'static, Result<Read, StageError>>;

    /// Whether splits are listed, and come into being, in the order of their identities: then only those after the last
    /// one that was bound are ever asked for, also by a later run, and a listing may be left off half-way.
    fn is_ordered(&self) -> bool {
        false
    }

    /// Splits that a worker reads at once, at least one: what storage has to be waited for is worth two, since one decodes
    /// while the other waits, and costs the memory of what is decoded ahead twice.
    fn reads_at_once(&self) -> usize {
        2
    }

    /// What to do with a split that is listed with another content than the one that was read.
    fn on_change(&self) -> OnChange {
        OnChange::Ignore
    }
}

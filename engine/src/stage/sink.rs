//! Sinks: writers stage, one committer makes visible.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::StageError;
use crate::Epoch;

/// Something that a writer has made durable and that nobody sees yet; only its committer understands it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged(pub Vec<u8>);

/// Writes rows. A sink's rows are also passed on to the next stages, from memory, in the same epoch.
pub trait Sink: 'static {
    /// The writer of this worker.
    fn writer(&self) -> Box<dyn Writer>;

    /// The only committer of the sink in the whole cluster; asked for on one worker. Without one the sink is at least
    /// once: after a crash rows of an epoch may be written again.
    fn committer(&self) -> Option<Box<dyn Committer>> {
        None
    }
}

/// Writes the rows of one worker.
#[async_trait]
pub trait Writer: Send {
    /// Takes rows of an epoch. Several epochs may be open at once.
    async fn write(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<(), StageError>;

    /// The epoch has no more rows on this worker: makes what was written durable, not visible. Called only for epochs
    /// that had rows here.
    async fn seal(&mut self, _epoch: Epoch) -> Result<Vec<Staged>, StageError> {
        Ok(Vec::new())
    }
}

/// What a committer is asked to make visible.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The epoch.
    pub epoch: Epoch,
    /// Everything that all writers staged for the epoch; nothing if the epoch had no rows.
    pub staged: Vec<Staged>,
    /// The processing time of the epoch.
    pub ingest_time: DateTime<Utc>,
    /// For the commit's metadata: pipeline, plan hash, lineage.
    pub metadata: BTreeMap<String, String>,
}

/// What was made visible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Committed {
    /// The table's version that holds the epoch.
    pub version: u64,
    /// Rows written by this epoch, for the summary.
    pub rows: u64,
    /// Files written, and their bytes.
    pub files: u64,
    /// See above.
    pub bytes: u64,
    /// Tries that another writer got in the way of.
    pub conflicts: u64,
}

/// Makes epochs visible, in order, each exactly once.
#[async_trait]
pub trait Committer: Send {
    /// Opens or creates the table, checks that it fits, and says which epoch it holds.
    ///
    /// # Errors
    /// Also when it cannot be found out: an error is never "nothing committed".
    async fn committed(&mut self) -> Result<Option<Epoch>, StageError>;

    /// Makes an epoch visible atomically. An epoch that the table already holds is left as it is.
    async fn commit(&mut self, commit: Commit) -> Result<Committed, StageError>;

    /// Called between epochs, when nothing is being committed: merges small files and the like. Says what it has done,
    /// such as "merged 12 small files"; what fails is a warning.
    async fn upkeep(&mut self) -> Vec<String> {
        Vec::new()
    }
}

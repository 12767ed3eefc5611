//! Sinks: writers stage, one committer makes visible.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
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

/// Whether this instance of the pipeline may still write. A commit that takes long must ask again: another instance may
/// have taken over meanwhile.
#[derive(Clone, Default)]
pub struct Fence(Option<Arc<Ask>>);

type Ask = dyn Fn() -> BoxFuture<'static, Result<(), StageError>> + Send + Sync;

impl Fence {
    /// Asks this; an error is the reason to stop.
    pub fn new(ask: impl Fn() -> BoxFuture<'static, Result<(), StageError>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// That nobody has taken over. Without anybody to ask it is so. Cheap: a fresh answer holds for some seconds.
    ///
    /// # Errors
    /// The new owner, by name; also when nobody can say.
    pub async fn verify(&self) -> Result<(), StageError> {
        match &self.0 {
            Some(ask) => ask().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}

/// What a committer is asked to make visible.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The epoch.
    pub epoch: Epoch,
    /// Everything that all writers staged for the epoch; nothing if the epoch had no rows.
    pub staged: Vec<Staged>,
    /// The processing time of the epoch.
    pub ingest_time: DateTime<Utc>,
    /// For the commit's metadata: pipeline, plan hash, lineage.
    pub metadata: BTreeMap<String, String>,
    /// The run that commits, and the generation of its lease: goes into the commit, so that whoever finds it there knows
    /// whose it is. A later owner has a higher generation. Empty if nobody is to know.
    pub instance: String,
    /// See above.
    pub generation: u64,
    /// To be asked before every try.
    pub fence: Fence,
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
    /// An earlier owner, who was taken for dead, has committed the epoch while this run had it open. Its rows are the
    /// same, unless this run has dropped some of its splits.
    #[serde(skip)]
    pub by_another: bool,
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

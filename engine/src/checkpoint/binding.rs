//! The two records of an epoch.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::state::StateManifest;
use crate::Epoch;
use crate::stage::{Committed, Split};

/// Which splits an epoch consists of. Written once, before the first row of the epoch is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) epoch: Epoch,
    /// The epoch's processing time: a replay gives the same.
    pub(crate) ingest_time: DateTime<Utc>,
    pub(crate) plan_hash: String,
    /// The run that wrote it; tells an own record from that of another live instance.
    pub(crate) instance: String,
    /// Of that run's lease.
    #[serde(default)]
    pub(crate) generation: u64,
    /// By source.
    pub(crate) splits: BTreeMap<String, Vec<Split>>,
}

/// Splits that were not read after all, by source: identity, and what identifies the content that was bound.
pub(crate) type Dropped = BTreeMap<String, BTreeMap<String, u64>>;

impl Binding {
    /// Takes splits out that were not read: by source.
    pub(crate) fn drop_splits(&mut self, dropped: &BTreeMap<String, BTreeSet<String>>) {
        for (source, splits) in &mut self.splits {
            if let Some(ids) = dropped.get(source) {
                splits.retain(|s| !ids.contains(&s.id));
            }
        }
    }
}

/// What an epoch has read of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceCount {
    pub(crate) splits: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
}

impl SourceCount {
    pub(crate) fn add(&mut self, bytes: u64, rows: u64) {
        self.splits += 1;
        self.bytes += bytes;
        self.rows += rows;
    }
}

/// Every table holds the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completion {
    pub(crate) epoch: Epoch,
    pub(crate) finished: DateTime<Utc>,
    /// By sink; sinks without a committer are not listed.
    pub(crate) tables: BTreeMap<String, Committed>,
    /// By source.
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, SourceCount>,
    /// By stateful operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) state: BTreeMap<String, StateManifest>,
}

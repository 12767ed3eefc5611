//! The two records of an epoch.

use std::collections::BTreeMap;

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
    /// By source.
    pub(crate) splits: BTreeMap<String, Vec<Split>>,
}

/// Every table holds the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completion {
    pub(crate) epoch: Epoch,
    pub(crate) finished: DateTime<Utc>,
    /// By sink; sinks without a committer are not listed.
    pub(crate) tables: BTreeMap<String, Committed>,
    /// By stateful operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) state: BTreeMap<String, StateManifest>,
}

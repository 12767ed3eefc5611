//! What sources have that no complete epoch has.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Epoch;
use crate::stage::Split;

/// What is still to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Splits (objects).
    pub splits: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was written.
    pub oldest: Option<DateTime<Utc>>,
}

impl Backlog {
    /// One split more.
    pub(crate) fn add(&mut self, split: &Split) {
        self.merge(Self { splits: 1, bytes: split.bytes, oldest: split.modified });
    }

    /// One split less. Which is the oldest is not known anew.
    pub(crate) fn take(&mut self, split: &Split) {
        self.splits = self.splits.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(split.bytes);
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.splits += other.splits;
        self.bytes += other.bytes;
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
    }
}

/// Backlogs by source.
pub(crate) type Backlogs = BTreeMap<String, Backlog>;

/// Splits that no complete epoch has.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    /// Found and not bound.
    waiting: Backlogs,
    /// Bound, by epoch.
    bound: BTreeMap<Epoch, Backlogs>,
}

impl Outstanding {
    pub(super) fn set_waiting(&mut self, source: &str, backlog: Backlog) {
        self.waiting.insert(source.to_owned(), backlog);
    }

    pub(super) fn bound(&mut self, epoch: Epoch, splits: &BTreeMap<String, Vec<Split>>) {
        let mut backlogs = Backlogs::new();
        for (source, splits) in splits {
            let backlog = backlogs.entry(source.clone()).or_default();
            splits.iter().for_each(|split| backlog.add(split));
        }
        self.bound.insert(epoch, backlogs);
    }

    pub(super) fn complete(&mut self, epoch: Epoch) {
        self.bound = self.bound.split_off(&(epoch + 1));
    }

    /// Whether no epoch is open.
    pub(super) fn all_complete(&self) -> bool {
        self.bound.is_empty()
    }

    /// Everything, by source.
    pub(super) fn all(&self) -> Backlogs {
        let mut all = self.waiting.clone();
        for backlogs in self.bound.values() {
            for (source, backlog) in backlogs {
                all.entry(source.clone()).or_default().merge(*backlog);
            }
        }
        all
    }
}

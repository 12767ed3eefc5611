//! What the state says when a run starts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Binding, Completion};
use crate::Epoch;

/// Everything that earlier runs have left.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest complete epoch.
    pub(crate) completed: Option<Completion>,
    /// Bound epochs that are not complete, oldest first: to be replayed.
    pub(crate) open: Vec<Binding>,
    /// Identities of all splits that were ever bound, by source.
    pub(crate) ledger: BTreeMap<String, BTreeSet<String>>,
    /// The newest bound epoch, 0 if none.
    pub(crate) last_bound: Epoch,
}

impl History {
    pub(crate) fn new(completed: Option<Completion>, bindings: Vec<Binding>) -> Self {
        let done = completed.as_ref().map_or(0, |c| c.epoch);
        let mut history = Self { completed, ..Self::default() };
        for binding in bindings {
            history.last_bound = history.last_bound.max(binding.epoch);
            for (source, splits) in &binding.splits {
                let seen = history.ledger.entry(source.clone()).or_default();
                seen.extend(splits.iter().map(|s| s.id.clone()));
            }
            if binding.epoch > done {
                history.open.push(binding);
            }
        }
        history.open.sort_by_key(|b| b.epoch);
        history
    }

    /// The newest complete epoch, 0 if none.
    pub(crate) fn completed_epoch(&self) -> Epoch {
        self.completed.as_ref().map_or(0, |c| c.epoch)
    }
}

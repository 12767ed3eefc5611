//! What the state says when a run starts.

use super::ledger::Ledger;
use super::{Binding, Completion};
use crate::Epoch;

/// Everything that earlier runs have left.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest complete epoch.
    pub(crate) completed: Option<Completion>,
    /// Bound epochs that are not complete, oldest first: to be replayed.
    pub(crate) open: Vec<Binding>,
    /// All splits that were ever bound.
    pub(crate) ledger: Ledger,
    /// The newest bound epoch, 0 if none.
    pub(crate) last_bound: Epoch,
    /// Bindings that are not archived.
    pub(crate) kept: usize,
}

impl History {
    /// Everything up to `archived` is complete, and its splits are not in the bindings.
    pub(crate) fn new(completed: Option<Completion>, archived: Epoch, bindings: Vec<Binding>) -> Self {
        let done = completed.as_ref().map_or(archived, |c| c.epoch);
        let mut history = Self { completed, last_bound: done, kept: bindings.len(), ..Self::default() };
        for binding in bindings {
            history.last_bound = history.last_bound.max(binding.epoch);
            for (source, splits) in &binding.splits {
                splits.iter().for_each(|split| history.ledger.insert(source, split));
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

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
    /// Everything up to `archived` is complete, and `ledger` has its splits; the bindings are those of later epochs.
    ///
    /// # Errors
    /// The first epoch whose binding is missing.
    pub(crate) fn new(
        completed: Option<Completion>,
        archived: Epoch,
        ledger: Ledger,
        bindings: Vec<Binding>,
    ) -> Result<Self, Epoch> {
        let done = completed.as_ref().map_or(archived, |c| c.epoch);
        let mut history = Self { completed, last_bound: done, kept: bindings.len(), ledger, ..Self::default() };
        // Splits of an epoch that nobody remembers would be read again.
        let last = bindings.last().map_or(done, |b| b.epoch.max(done));
        let there = bindings.iter().map(|b| Some(b.epoch)).chain(std::iter::repeat(None));
        if let Some((missing, _)) = (archived + 1..=last).zip(there).find(|(epoch, there)| *there != Some(*epoch)) {
            return Err(missing);
        }
        // What was bound again counts as it was bound last.
        for binding in bindings {
            history.last_bound = history.last_bound.max(binding.epoch);
            for (source, splits) in &binding.splits {
                splits.iter().for_each(|split| history.ledger.insert(source, split));
            }
            if binding.epoch > done {
                history.open.push(binding);
            }
        }
        Ok(history)
    }

    /// The newest complete epoch, 0 if none.
    pub(crate) fn completed_epoch(&self) -> Epoch {
        self.completed.as_ref().map_or(0, |c| c.epoch)
    }
}

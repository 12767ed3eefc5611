//! Operator state that is handed to the workers: the rows of all keys, of which each takes its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;

/// State rows by stage, as of the last complete epoch. They are let go when the last worker has taken its part: what
/// operators keep of it is in a form of their own.
pub(crate) struct Restored(Mutex<BTreeMap<String, Rows>>);

struct Rows {
    rows: Arc<Vec<RecordBatch>>,
    /// Workers of this process that have not taken theirs.
    workers: usize,
}

impl Restored {
    /// For so many workers.
    pub(crate) fn new(state: BTreeMap<String, Arc<Vec<RecordBatch>>>, workers: usize) -> Self {
        Self(Mutex::new(state.into_iter().map(|(stage, rows)| (stage, Rows { rows, workers })).collect()))
    }

    /// For the operator of a stage on one worker, once.
    pub(super) fn take(&self, stage: &str) -> Arc<Vec<RecordBatch>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_stage) = all.get_mut(stage) else { return Arc::default() };
        of_stage.workers = of_stage.workers.saturating_sub(1);
        let rows = of_stage.rows.clone();
        if of_stage.workers == 0 {
            all.remove(stage);
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_let_go_when_all_have_taken_them() {
        let rows = Arc::new(Vec::new());
        let left = Arc::downgrade(&rows);
        let restored = Restored::new(BTreeMap::from([("words".to_owned(), rows)]), 2);
        drop(restored.take("another"));
        drop(restored.take("words"));
        assert!(left.upgrade().is_some(), "one worker has not taken its part");
        let last = restored.take("words");
        assert!(left.upgrade().is_some());
        drop(last);
        assert!(left.upgrade().is_none(), "nobody needs it any more");
    }
}

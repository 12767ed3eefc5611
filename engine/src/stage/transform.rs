//! Transforms: batch in, batches out.

use arrow::record_batch::RecordBatch;

use super::StageError;

/// A row that could not be processed, with what a person needs to put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The object it came from, where known.
    pub object: Option<String>,
    /// Its line or row in the object, counted from 1, where known.
    pub line: Option<i64>,
    /// The row as it was: the raw text, or JSON of its columns.
    pub raw: String,
    /// Why it could not be processed.
    pub reason: String,
}

/// Takes what a transform makes of a batch.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rejects: Vec<Reject>,
}

impl Output {
    /// Gives rows of the output schema. Batches without rows are dropped.
    pub fn emit(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
    }

    /// Gives a row to the stage's port `rejects`. The stage must have declared it in `check`.
    pub fn reject(&mut self, reject: Reject) {
        self.rejects.push(reject);
    }

    /// The batches emitted so far; for tests of a stage.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The rejects so far; for tests of a stage.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }
}

/// Turns a batch into batches, row by row: what comes out must not depend on how rows are cut into batches.
pub trait Transform: Send + 'static {
    /// Processes one batch, in the order of arrival on this worker.
    ///
    /// # Errors
    /// A fault: the run stops and nothing of the epoch is committed.
    fn batch(&mut self, batch: RecordBatch, output: &mut Output) -> Result<(), StageError>;
}

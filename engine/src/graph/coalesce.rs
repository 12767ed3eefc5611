//! Batches of a useful size out of the many that small objects give: what a stage does once per batch, such as preparing
//! its regular expressions, would otherwise cost more than the rows.

use std::collections::BTreeMap;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;

use crate::Epoch;
use crate::stage::StageError;

/// A batch is given on when it has so many rows or bytes.
const ENOUGH_ROWS: usize = 4_096;
const ENOUGH_BYTES: usize = 2 << 20;

/// Rows of open epochs that are held back.
#[derive(Default)]
pub(super) struct Coalescer {
    held: BTreeMap<Epoch, Held>,
}

#[derive(Default)]
struct Held {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Coalescer {
    /// Takes a batch, and gives one when there is enough.
    pub(super) fn add(&mut self, epoch: Epoch, batch: RecordBatch) -> Result<Option<RecordBatch>, StageError> {
        let held = self.held.entry(epoch).or_default();
        held.rows += batch.num_rows();
        held.bytes += batch.get_array_memory_size();
        held.batches.push(batch);
        if held.rows >= ENOUGH_ROWS || held.bytes >= ENOUGH_BYTES { self.finish(epoch) } else { Ok(None) }
    }

    /// What is held of an epoch.
    pub(super) fn finish(&mut self, epoch: Epoch) -> Result<Option<RecordBatch>, StageError> {
        let mut batches = self.held.remove(&epoch).unwrap_or_default().batches;
        match batches.as_slice() {
            [] | [_] => Ok(batches.pop()),
            [first, ..] => concat_batches(&first.schema(), &batches)
                .map(Some)
                .map_err(|e| StageError::internal("batches cannot be put together").because(e)),
        }
    }
}

//! Sample rows for whoever looks at an edge while the pipeline runs.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;

use crate::Epoch;

/// Rows of an edge.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Their epoch, open while they pass.
    pub epoch: Epoch,
    /// The rows.
    pub rows: RecordBatch,
}

/// Who looks at which edge of this process. Costs one look at a number while nobody does.
#[derive(Clone, Default)]
pub(crate) struct Taps {
    open: Arc<AtomicUsize>,
    taps: Arc<Mutex<Vec<Tap>>>,
}

struct Tap {
    stage: usize,
    rejects: bool,
    /// Rows that are still wanted.
    rows: usize,
    samples: mpsc::UnboundedSender<Sample>,
}

impl Taps {
    /// The next `rows` rows that leave a stage here, in pieces as they come. The channel ends with the last one.
    pub(crate) fn open(&self, stage: usize, rejects: bool, rows: usize) -> mpsc::UnboundedReceiver<Sample> {
        let (samples, received) = mpsc::unbounded_channel();
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.push(Tap { stage, rejects, rows, samples });
        self.open.store(taps.len(), Ordering::Relaxed);
        received
    }

    /// Rows pass.
    pub(crate) fn show(&self, stage: usize, rejects: bool, epoch: Epoch, rows: &RecordBatch) {
        if self.open.load(Ordering::Relaxed) == 0 || rows.num_rows() == 0 {
            return;
        }
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        for tap in taps.iter_mut().filter(|t| t.stage == stage && t.rejects == rejects) {
            let some = rows.slice(0, tap.rows.min(rows.num_rows()));
            tap.rows -= some.num_rows();
            // Whoever has gone is removed below.
            let _ = tap.samples.send(Sample { epoch, rows: some });
        }
        taps.retain(|tap| tap.rows > 0 && !tap.samples.is_closed());
        self.open.store(taps.len(), Ordering::Relaxed);
    }
}

//! One place per process where the first fault is kept and every worker looks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use crate::Epoch;
use crate::stage::{Fault, StageError};

/// The first fault of the process, and who must hear of it.
#[derive(Clone, Default)]
pub struct FaultCell {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    raised: AtomicBool,
    fault: Mutex<Option<Fault>>,
    workers: Mutex<Vec<Thread>>,
}

impl FaultCell {
    /// Keeps the fault if it is the first, and wakes all workers. Later ones are usually consequences.
    pub fn raise(&self, fault: Fault) {
        let mut kept = self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.inner.raised.swap(true, Ordering::SeqCst) {
            *kept = Some(fault);
        } else {
            tracing::debug!(%fault, "a fault after the first");
        }
        drop(kept);
        for worker in self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            worker.unpark();
        }
    }

    /// Whether there is a fault.
    pub fn is_raised(&self) -> bool {
        self.inner.raised.load(Ordering::SeqCst)
    }

    /// Takes the fault, to report it.
    pub fn take(&self) -> Option<Fault> {
        self.inner.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Registers the calling thread to be woken by a fault.
    pub fn register_worker(&self) {
        self.inner.workers.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current());
    }

    /// A reporter for one stage.
    pub fn of_stage(&self, stage: &str) -> Faults {
        Faults { cell: self.clone(), stage: stage.into() }
    }
}

/// Reports faults of one stage.
#[derive(Clone)]
pub struct Faults {
    cell: FaultCell,
    stage: Arc<str>,
}

impl Faults {
    /// Reports that the stage cannot finish the epoch. The caller must keep its capabilities: the frontier must never
    /// say that the epoch is done.
    pub fn raise(&self, epoch: Option<Epoch>, error: StageError) {
        self.cell.raise(Fault { stage: self.stage.to_string(), epoch, error });
    }

    /// Whether any stage has failed.
    pub fn is_raised(&self) -> bool {
        self.cell.is_raised()
    }
}

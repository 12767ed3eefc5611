//! How many bytes wait in the queues of this process between Timely and the tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use timely::scheduling::activate::SyncActivator;

use super::meter::{Meter, Waiting};

/// A count of bytes with a limit. Taking never waits: whoever brings rows in looks first whether it is full.
#[derive(Clone)]
pub struct Pressure {
    inner: Arc<Inner>,
}

struct Inner {
    limit: usize,
    used: AtomicUsize,
    waiting: Mutex<Vec<SyncActivator>>,
}

impl Pressure {
    /// A count that is full at `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { inner: Arc::new(Inner { limit, used: AtomicUsize::new(0), waiting: Mutex::default() }) }
    }

    /// Counts rows and their bytes, also as waiting for what the meter is of, until the permit is dropped.
    pub fn take(&self, rows: usize, bytes: usize, meter: &Arc<Meter>) -> Permit {
        self.inner.used.fetch_add(bytes, Ordering::SeqCst);
        Permit { pressure: self.clone(), bytes, _waiting: meter.enter(rows, bytes) }
    }

    /// Bytes in queues now.
    pub fn used(&self) -> usize {
        self.inner.used.load(Ordering::SeqCst)
    }

    /// True when there is room. Otherwise the operator is woken once there is.
    pub fn has_room(&self, wake: &SyncActivator) -> bool {
        if self.used() < self.inner.limit {
            return true;
        }
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(wake.clone());
        // The last permit may have gone before the line above.
        self.used() < self.inner.limit
    }

    fn release(&self, bytes: usize) {
        let before = self.inner.used.fetch_sub(bytes, Ordering::SeqCst);
        if before >= self.inner.limit && before - bytes < self.inner.limit {
            for wake in self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                let _ = wake.activate();
            }
        }
    }
}

/// Bytes counted by a [`Pressure`].
pub struct Permit {
    pressure: Pressure,
    bytes: usize,
    _waiting: Waiting,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.pressure.release(self.bytes);
    }
}

//! What a stage's own threads and tasks have to do, besides Timely's workers.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long threads and tasks have been at work for a stage on one worker, and what waits for them.
#[derive(Debug, Default)]
pub struct Meter {
    /// Nanoseconds.
    busy: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Meter {
    /// Does the work and measures how long it takes.
    pub fn work<R>(&self, work: impl FnOnce() -> R) -> R {
        let started = Instant::now();
        let done = work();
        self.busy.fetch_add(u64::try_from(started.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
        done
    }

    /// Does asynchronous work; the time in which it waits for something does not count.
    pub async fn follow<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        poll_fn(|context| self.work(|| work.as_mut().poll(context))).await
    }

    /// Time at work.
    pub fn busy(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// Rows and bytes that wait.
    pub fn waiting(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// Rows wait from now on, until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, rows: usize, bytes: usize) -> Waiting {
        let (rows, bytes) = (rows as u64, bytes as u64);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Waiting { meter: self.clone(), rows, bytes }
    }
}

/// Rows that a [`Meter`] counts as waiting.
pub(super) struct Waiting {
    meter: Arc<Meter>,
    rows: u64,
    bytes: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.meter.rows.fetch_sub(self.rows, Ordering::Relaxed);
        self.meter.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

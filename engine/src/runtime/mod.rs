//! Runs a plan: prepares, starts the workers, watches, stops.

mod prepare;
mod worker;

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bridge::FaultCell;
use crate::checkpoint::Kept;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stage::{Fault, StageError};

/// After a fault a commit that is under way may take so long.
const LONGEST_END: Duration = Duration::from_secs(10);

/// How a plan is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Worker threads.
    pub workers: usize,
    /// Bytes that may wait in queues between sources, heavy stages and writers.
    pub queue_bytes: usize,
    /// Go on with what arrives: look for it at this interval. Without it what is there now is processed.
    pub watch: Option<Duration>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { workers: 1, queue_bytes: 32 << 20, watch: None }
    }
}

/// How a run has ended, if without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that was there is processed.
    Complete,
    /// It was asked to stop, and has finished the epochs that were open.
    Drained,
}

/// Asks a run to stop: no new epochs, those that are open are finished.
#[derive(Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::channel(false).0))
    }
}

impl Stop {
    /// Asks.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }

    /// Whether it was asked.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    fn listen(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

/// Runs a plan until everything that is there is processed, or `stop` asks, or a stage fails. `look` is called a few
/// times a second on the calling thread.
///
/// # Errors
/// The first fault. Nothing of an epoch that is not complete is visible, or it will be completed by the next run.
pub fn run(
    plan: &Arc<Plan>,
    options: &RunOptions,
    runtime: &tokio::runtime::Runtime,
    progress: &Arc<Progress>,
    stop: &Stop,
    look: impl FnMut(),
) -> Result<Ended, Fault> {
    let mut tasks = Tasks::default();
    let outcome = run_workers(plan, options, runtime, progress, stop, look, &mut tasks);
    runtime.block_on(tasks.end(outcome.is_err()));
    outcome
}

/// What may still be at work when the workers have ended.
#[derive(Default)]
struct Tasks {
    kept: Option<Kept>,
    committing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Tasks {
    /// Lets commits and upkeep come to their end, then gives the lease back: whoever has it next must be alone. After a
    /// fault they are waited for a little; if that is not enough, the lease expires.
    async fn end(self, failed: bool) {
        let committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = committing {
            let longest = if failed { LONGEST_END } else { Duration::MAX };
            if tokio::time::timeout(longest, task).await.is_err() {
                return;
            }
        }
        if let Some(kept) = self.kept {
            kept.release().await;
        }
    }
}

fn run_workers(
    plan: &Arc<Plan>,
    options: &RunOptions,
    runtime: &tokio::runtime::Runtime,
    progress: &Arc<Progress>,
    stop: &Stop,
    mut look: impl FnMut(),
    tasks: &mut Tasks,
) -> Result<Ended, Fault> {
    let faults = FaultCell::default();
    let process =
        runtime.block_on(prepare::prepare(plan, options, runtime.handle(), progress, stop, &faults, tasks))?;
    let (finished, all_finished) = std::sync::mpsc::channel::<()>();
    let config = worker::config(options.workers);
    let guards = worker::start(config, Arc::new(process), progress.clone(), finished).map_err(|e| Fault {
        stage: "engine".into(),
        epoch: None,
        error: StageError::internal("the workers could not be started").because(e),
    })?;
    // The channel closes when the last worker has ended.
    while let Err(RecvTimeoutError::Timeout) = all_finished.recv_timeout(Duration::from_millis(100)) {
        look();
    }
    for result in guards.join() {
        if let Err(panic) = result {
            faults.raise(Fault {
                stage: "engine".into(),
                epoch: None,
                error: StageError::internal(format!("a worker panicked: {panic}")),
            });
        }
    }
    look();
    match faults.take() {
        Some(fault) => Err(fault),
        None if stop.is_asked() => Ok(Ended::Drained),
        None => Ok(Ended::Complete),
    }
}

/// The runtime for everything async. Its threads decode, encode and compress, so there is one per worker at least.
///
/// # Errors
/// When threads cannot be started.
pub fn tokio_runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(2))
        .thread_name("alluvium-io")
        .enable_all()
        .build()
}

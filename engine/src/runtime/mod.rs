//! Runs a plan: joins the cluster, prepares, starts the workers, watches, stops.

mod handle;
mod prepare;
mod worker;

pub use handle::{Control, RunHandle};
pub(crate) use prepare::{Owned, own};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bridge::FaultCell;
use crate::checkpoint::{Kept, Records, note_end};
use crate::cluster::{Cluster, ClusterOptions, Facts, Network};
use crate::events::EventLog;
use crate::graph::{Process, panic_text};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stage::{Fault, StageError};

/// After a fault a commit that is under way may take so long.
const LONGEST_END: Duration = Duration::from_secs(3);
/// So long noting it may take.
const LONGEST_NOTE: Duration = Duration::from_secs(1);
/// And so long the event log, which tells more.
const LONGEST_LAST_EVENT: Duration = Duration::from_secs(2);
/// When nothing has failed there is time.
const LONGEST_EVENTS: Duration = Duration::from_secs(10);
/// After a fault in a cluster workers may take so long: one that waits for another process would wait for ever.
const WAY_OUT: Duration = Duration::from_millis(500);

/// How a plan is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Worker threads.
    pub workers: usize,
    /// Bytes that may wait in queues between sources, heavy stages and writers.
    pub queue_bytes: usize,
    /// Go on with what arrives: look for it at this interval. Without it what is there now is processed.
    pub watch: Option<Duration>,
    /// The other processes, unless this one is alone.
    pub cluster: Option<ClusterOptions>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { workers: 1, queue_bytes: 32 << 20, watch: None, cluster: None }
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

    async fn asked(&self) {
        // The sender lives as long as `self`.
        let _ = self.listen().wait_for(|asked| *asked).await;
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
    handle: &RunHandle,
    stop: &Stop,
    look: impl FnMut(),
) -> Result<Ended, Fault> {
    let progress = &handle.progress();
    let run = Run { plan, options, runtime, handle, progress, stop, faults: FaultCell::default() };
    let joined = runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.asked() => Ok(None),
            joined = run.join() => joined.map(Some),
        }
    })?;
    let Some((cluster, network)) = joined else { return Ok(Ended::Drained) };
    let mut tasks = Tasks::default();
    let outcome = run.workers(cluster.as_ref(), network, look, &mut tasks);
    match (outcome, cluster) {
        (Err(fault), cluster) => {
            // The others need not wait for what is under way here.
            if let Some(cluster) = cluster {
                cluster.fail(&fault);
            }
            runtime.block_on(tasks.end(handle, Some(&fault)));
            Err(fault)
        }
        (Ok(()), cluster) => {
            runtime.block_on(tasks.end(handle, None));
            cluster.map_or(Ok(()), Cluster::finish)?;
            Ok(if stop.is_asked() { Ended::Drained } else { Ended::Complete })
        }
    }
}

/// What may still be at work when the workers have ended.
#[derive(Default)]
struct Tasks {
    kept: Option<(Kept, Records)>,
    events: Option<EventLog>,
    committing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Tasks {
    /// Lets commits and upkeep come to their end, then gives the lease back: whoever has it next must be alone. After a
    /// fault they are waited for a little; if that is not enough, the lease expires.
    async fn end(self, run: &RunHandle, fault: Option<&Fault>) {
        let committing = self.committing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = committing {
            let longest = if fault.is_some() { LONGEST_END } else { Duration::MAX };
            if tokio::time::timeout(longest, task).await.is_err() {
                return;
            }
        }
        if let Some((kept, records)) = self.kept {
            // A store that is the reason for the fault must not keep the process from ending.
            let noted = tokio::time::timeout(LONGEST_NOTE, note_end(&records, &run.last_run(fault))).await;
            if let Ok(Err(error)) = noted {
                tracing::debug!(%error, "how the run has ended could not be noted");
            }
            if let Some(events) = self.events {
                let failed = fault.is_some_and(|f| f.error.to_resolve().is_none());
                let longest = if failed { LONGEST_LAST_EVENT } else { LONGEST_EVENTS };
                events.end(run.last_event(fault), longest).await;
            }
            kept.release().await;
        }
    }
}

/// A run and what it works with.
struct Run<'a> {
    plan: &'a Arc<Plan>,
    options: &'a RunOptions,
    runtime: &'a tokio::runtime::Runtime,
    handle: &'a RunHandle,
    progress: &'a Arc<Progress>,
    stop: &'a Stop,
    faults: FaultCell,
}

impl Run<'_> {
    async fn join(&self) -> Result<(Option<Cluster>, Option<Network>), Fault> {
        let Some(options) = &self.options.cluster else { return Ok((None, None)) };
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION").into(),
            pipeline: self.plan.pipeline.clone(),
            plan: self.plan.hash.clone(),
            processes: options.hosts.count(),
            workers: self.options.workers,
        };
        let joined = Cluster::join(options, &facts, &self.faults, self.handle, self.stop).await;
        joined.map(|(cluster, network)| (Some(cluster), Some(network)))
    }

    /// What this process needs before its workers start.
    fn prepare(&self, cluster: Option<&Cluster>, tasks: &mut Tasks) -> Result<Process, Fault> {
        let handle = self.runtime.handle();
        if let Some(cluster) = cluster.filter(|c| !c.leads()) {
            let start = cluster.wait_for_start()?;
            return self.runtime.block_on(prepare::follow(self.progress, self.options, handle, &self.faults, &start));
        }
        let led = prepare::lead(self.options, handle, self.handle, self.stop, &self.faults, tasks);
        let (process, start) = self.runtime.block_on(led)?;
        if let Some(cluster) = cluster {
            cluster.start(start);
        }
        Ok(process)
    }

    fn workers(
        &self,
        cluster: Option<&Cluster>,
        network: Option<Network>,
        mut look: impl FnMut(),
        tasks: &mut Tasks,
    ) -> Result<(), Fault> {
        let process = self.prepare(cluster, tasks)?;
        let engine = |error| Fault { stage: "engine".into(), epoch: None, error };
        let builders = network.map_or_else(|| worker::alone(self.options.workers), Network::start);
        let guards = builders
            .and_then(|builders| worker::start(builders, Arc::new(process)))
            .map_err(|e| engine(StageError::internal("the workers could not be started").because(e)))?;
        let (ended, all_ended) = std::sync::mpsc::channel();
        // Timely's threads end when those of the other processes do, so this one must not wait for them itself.
        std::thread::spawn(move || {
            let joined = catch_unwind(AssertUnwindSafe(|| guards.join()));
            // Nobody to tell when the run has failed.
            let _ = ended.send(joined);
        });
        let mut failed_at = None;
        let joined = loop {
            match all_ended.recv_timeout(Duration::from_millis(100)) {
                Ok(joined) => break joined,
                Err(RecvTimeoutError::Timeout) => look(),
                Err(RecvTimeoutError::Disconnected) => break Ok(Vec::new()),
            }
            if cluster.is_some()
                && self.faults.is_raised()
                && failed_at.get_or_insert_with(Instant::now).elapsed() > WAY_OUT
            {
                break Ok(Vec::new());
            }
        };
        look();
        match joined {
            Ok(workers) => workers.into_iter().filter_map(Result::err).for_each(|p| worker::panicked(&self.faults, &p)),
            Err(panic) => worker::panicked(&self.faults, panic_text(panic.as_ref())),
        }
        self.faults.take().map_or(Ok(()), Err)
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

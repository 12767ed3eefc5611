//! Runs a plan: joins the cluster, prepares, starts the workers, watches, stops.

mod end;
mod handle;
mod mark;
mod prepare;
mod worker;

pub use handle::{Control, RunHandle};
pub(crate) use mark::Mark;
pub(crate) use prepare::{Owned, own};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::bridge::FaultCell;
use crate::cluster::{Cluster, ClusterOptions, Facts, Network, build};
use crate::graph::{Process, panic_text};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stage::{Fault, StageError};
use end::Tasks;

/// After a fault in a cluster workers may take so long: one that waits for another process would wait for ever.
const WAY_OUT: Duration = Duration::from_millis(500);

/// Between two looks at how the run goes.
const LOOK: Duration = Duration::from_millis(100);

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
/// times a second on the calling thread, and once with the fault, as soon as there is one: what follows takes time.
///
/// # Errors
/// The first fault. Nothing of an epoch that is not complete is visible, or it will be completed by the next run.
pub fn run(
    plan: &Arc<Plan>,
    options: &RunOptions,
    runtime: &tokio::runtime::Runtime,
    handle: &RunHandle,
    stop: &Stop,
    mut look: impl FnMut(Option<&Fault>),
) -> Result<Ended, Fault> {
    let progress = &handle.progress();
    let run = Run { plan, options, runtime, handle, progress, stop, faults: FaultCell::default() };
    let joined = runtime.block_on(async {
        tokio::select! {
            biased;
            () = stop.asked() => Ok(None),
            joined = run.join() => joined.map(Some),
        }
    });
    let joined = joined.inspect_err(|fault| look(Some(fault)))?;
    let Some((cluster, network)) = joined else { return Ok(Ended::Drained) };
    let mut tasks = Tasks::default();
    let outcome = run.workers(cluster.as_ref(), network, &mut look, &mut tasks);
    match (outcome, cluster) {
        (Err(fault), cluster) => {
            let in_cluster = cluster.is_some();
            // The others need not wait for what is under way here, nor people for what a store does not answer.
            if let Some(cluster) = &cluster {
                cluster.fail(&fault);
            }
            look(Some(&fault));
            drop(cluster);
            runtime.block_on(tasks.end_after(handle, &fault, in_cluster));
            Err(fault)
        }
        (Ok(()), cluster) => {
            runtime.block_on(tasks.end(handle));
            cluster.map_or(Ok(()), Cluster::finish).inspect_err(|fault| look(Some(fault)))?;
            Ok(if stop.is_asked() { Ended::Drained } else { Ended::Complete })
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
            build: build(),
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
            let following = async {
                start.mark.find(self.plan, &cluster.name()).await?;
                prepare::follow(self.progress, self.options, handle, &self.faults, &start).await
            };
            return self.runtime.block_on(self.unless_failed(following));
        }
        let led = prepare::lead(self.options, handle, self.handle, self.stop, &self.faults, tasks);
        let (process, start) = self.runtime.block_on(self.unless_failed(led))?;
        if let Some(cluster) = cluster {
            cluster.start(start);
        }
        Ok(process)
    }

    /// Gives up what may wait for a store for minutes when another process has failed meanwhile.
    async fn unless_failed<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        tokio::pin!(work);
        loop {
            if let Ok(done) = tokio::time::timeout(LOOK, &mut work).await {
                return done;
            }
            if let Some(fault) = self.faults.take() {
                return Err(fault);
            }
        }
    }

    fn workers(
        &self,
        cluster: Option<&Cluster>,
        network: Option<Network>,
        look: &mut impl FnMut(Option<&Fault>),
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
            match all_ended.recv_timeout(LOOK) {
                Ok(joined) => break joined,
                Err(RecvTimeoutError::Timeout) => look(None),
                Err(RecvTimeoutError::Disconnected) => break Ok(Vec::new()),
            }
            if cluster.is_some()
                && self.faults.is_raised()
                && failed_at.get_or_insert_with(Instant::now).elapsed() > WAY_OUT
            {
                break Ok(Vec::new());
            }
        };
        look(None);
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

//! One worker: renders the plan, steps until everything is complete or something has failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use timely::communication::WorkerGuards;
use timely::execute::execute_from;
use timely::worker::Worker;

use crate::Epoch;
use crate::bridge::FaultCell;
use crate::cluster::{Builders, is_broken_connection};
use crate::graph::{self, Process};
use crate::progress::observe;
use crate::stage::{Fault, StageError};

/// A worker looks around at least this often; what it waits for wakes it at once.
const LONGEST_PARK: Duration = Duration::from_millis(100);

/// A broken connection is explained by the cluster's own watch, which may need so long.
const EXPLANATION: Duration = Duration::from_secs(2);

/// Workers of a process that is alone.
pub(super) fn alone(workers: usize) -> Result<Builders, String> {
    timely::CommunicationConfig::Process(workers).try_build()
}

/// Starts the workers of this process.
pub(super) fn start(builders: Builders, process: Arc<Process>) -> Result<WorkerGuards<()>, String> {
    let (allocators, others) = builders;
    execute_from(allocators, others, process.plan.workers.clone(), move |worker| {
        let work = AssertUnwindSafe(|| work(worker, &process));
        if let Err(panic) = catch_unwind(work) {
            panicked(&process.faults, graph::panic_text(panic.as_ref()));
        }
        // After a fault operators hold capabilities for ever: without this the worker would never end.
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    })
}

/// Reports a panic, unless it only says that another process is gone: that is the cluster's to explain.
pub(super) fn panicked(faults: &FaultCell, text: &str) {
    if is_broken_connection(text) {
        let since = Instant::now();
        while !faults.is_raised() && since.elapsed() < EXPLANATION {
            std::thread::park_timeout(LONGEST_PARK);
        }
        let error = StageError::external("a connection to another process has broken");
        return faults.raise(Fault { stage: "cluster".into(), epoch: None, error });
    }
    let error = StageError::internal(format!("a worker panicked: {text}"));
    faults.raise(Fault { stage: "engine".into(), epoch: None, error });
}

fn work(worker: &mut Worker, process: &Process) {
    process.faults.register_worker();
    let _span = process.progress.activities.of_worker(worker.index()).entered();
    let progress = process.progress.worker(worker.index());
    observe(worker, &progress);
    let rendered =
        match worker.dataflow_named::<Epoch, _, _>(&process.plan.pipeline, |scope| graph::render(process, scope)) {
            Ok(rendered) => rendered,
            Err(fault) => return process.faults.raise(fault),
        };
    while !rendered.complete.done() && !process.faults.is_raised() {
        worker.step_or_park(Some(LONGEST_PARK));
        for (stage, probe) in rendered.stages.iter().enumerate() {
            progress.set_frontier(stage, probe.with_frontier(|f| f.first().copied()));
        }
    }
}

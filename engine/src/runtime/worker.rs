//! One worker: renders the plan, steps until everything is complete or something has failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use timely::WorkerConfig;
use timely::communication::WorkerGuards;
use timely::worker::Worker;

use crate::Epoch;
use crate::graph::{self, Process};
use crate::progress::{Progress, observe};
use crate::stage::{Fault, StageError};

/// A worker looks around at least this often; what it waits for wakes it at once.
const LONGEST_PARK: Duration = Duration::from_millis(100);

pub(super) fn config(workers: usize) -> timely::Config {
    timely::Config { communication: timely::CommunicationConfig::Process(workers), worker: WorkerConfig::default() }
}

/// Starts the workers of this process. `finished` is dropped by the last one that ends.
pub(super) fn start(
    config: timely::Config,
    process: Arc<Process>,
    progress: Arc<Progress>,
    finished: Sender<()>,
) -> Result<WorkerGuards<()>, String> {
    timely::execute(config, move |worker| {
        let _finished = finished.clone();
        let work = AssertUnwindSafe(|| work(worker, &process, &progress));
        if let Err(panic) = catch_unwind(work) {
            let text = graph::panic_text(panic.as_ref()).to_owned();
            process.faults.raise(Fault {
                stage: "engine".into(),
                epoch: None,
                error: StageError::internal(format!("a worker panicked: {text}")),
            });
        }
        // After a fault operators hold capabilities for ever: without this the worker would never end.
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    })
}

fn work(worker: &mut Worker, process: &Process, progress: &Arc<Progress>) {
    process.faults.register_worker();
    observe(worker, progress.clone());
    let rendered =
        match worker.dataflow_named::<Epoch, _, _>(&process.plan.pipeline, |scope| graph::render(process, scope)) {
            Ok(rendered) => rendered,
            Err(fault) => return process.faults.raise(fault),
        };
    while !rendered.complete.done() && !process.faults.is_raised() {
        worker.step_or_park(Some(LONGEST_PARK));
        if worker.index() == 0 {
            for (stage, probe) in rendered.stages.iter().enumerate() {
                progress.set_frontier(stage, probe.with_frontier(|f| f.first().copied()));
            }
        }
    }
}

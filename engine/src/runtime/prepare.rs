//! Before the first worker starts: the state is opened, tables and state agree, operator state is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future;
use tracing::Instrument;

use super::{Mark, RunHandle, RunOptions, Stop, Tasks};
use crate::bridge::{FaultCell, Pressure};
use crate::checkpoint::{
    CheckpointStore, Completion, Coordinator, Holder, Kept, LastRun, Lease, Listing, Minter, Records, StateLog,
    TableSink, claim, freeze, last_run, require_none,
};
use crate::cluster::Start;
use crate::events::{Event, EventLog};
use crate::graph::{Lead, Process, Restored, context};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::stage::{Fault, Shared, Source, Stage, StageError};
use crate::storage::Location;

/// What the leading worker needs of the stages.
#[derive(Default)]
struct Led {
    sources: Vec<(String, Arc<dyn Source>)>,
    tables: Vec<TableSink>,
}

/// The right to write what is a pipeline's.
pub(crate) struct Owned {
    pub(crate) records: Records,
    /// Identifies the process in its records.
    pub(crate) instance: String,
    pub(crate) lease: Lease,
    /// To be released in the end.
    pub(crate) kept: Kept,
}

/// Takes that right, or says who has it. `address` is that of a process of a cluster.
pub(crate) async fn own(
    plan: &Plan,
    address: Option<String>,
    runtime: &tokio::runtime::Handle,
    faults: &FaultCell,
) -> Result<Owned, Fault> {
    let checkpoint = |error| Fault { stage: "checkpoint".into(), epoch: None, error };
    let location = plan.storage.open(&plan.state).map_err(checkpoint)?;
    require_exclusive(plan, &location).await?;
    let records = Records::new(location);
    claim(&records, &plan.pipeline).await.map_err(checkpoint)?;
    let instance = uuid::Uuid::new_v4().simple().to_string();
    let lease = Lease::acquire(&records, &instance, Holder::this(address)).await.map_err(checkpoint)?;
    let kept = lease.keep(runtime, faults.clone());
    Ok(Owned { records, instance, lease, kept })
}

/// For the process that leads, or is alone. Gives what the others begin with, too.
pub(super) async fn lead(
    options: &RunOptions,
    runtime: &tokio::runtime::Handle,
    handle: &RunHandle,
    stop: &Stop,
    faults: &FaultCell,
    tasks: &mut Tasks,
) -> Result<(Process, Start), Fault> {
    let progress = &handle.progress();
    let plan = &progress.plan;
    let checkpoint = |error| Fault { stage: "checkpoint".into(), epoch: None, error };
    let address = options.cluster.as_ref().map(|c| c.hosts.address(c.process).to_owned());
    let Owned { records, instance, lease, kept } = own(plan, address, runtime, faults).await?;
    if let Some(LastRun { fault: Some(fault), .. }) = last_run(&records).await.map_err(checkpoint)? {
        handle.failed_before(fault);
    }
    tasks.kept = Some((kept, records.clone()));
    require_none(&records).await.map_err(checkpoint)?;
    let log = EventLog::start(handle.tables(), handle, plan, options, runtime).map_err(checkpoint)?;
    let events = log.sender();
    tasks.events = Some(log);
    for stage in freeze(&records, plan).await.map_err(|(stage, error)| Fault { stage, epoch: None, error })? {
        let resolved = stage.outputs.resolved.as_ref().map(|r| &r.value);
        events.send(Event::schema(&stage.name, "recorded: it is the same in all runs to come".into(), resolved));
    }
    let mark = match &options.cluster {
        Some(_) => Mark::leave(plan, &records, &lease, &instance).await?,
        None => Mark::default(),
    };
    let store = CheckpointStore::new(records, instance, lease);
    let mut history = store.history().await.map_err(checkpoint)?;
    if let Some(completed) = &history.completed {
        progress.restored(completed);
    }
    let start = Start { mark, first_epoch: history.completed_epoch() + 1, completed: history.completed.clone() };
    let mut process = follow(progress, options, runtime, faults, &start).await?;
    let led = build_led(&process, options.workers)?;
    let logs = process.state_logs.values().cloned().collect();
    let ledger = Arc::new(Mutex::new(std::mem::take(&mut history.ledger)));
    let (coordinator, held) =
        Coordinator::open(led.tables, logs, store.clone(), &history, ledger.clone(), events).await?;
    let minter = Minter {
        store,
        listing: Listing::new(led.sources, ledger.clone(), progress.clone()),
        ledger,
        progress: progress.clone(),
        limits: plan.limits.clone(),
        plan_hash: plan.hash.clone(),
        held,
        next: history.last_bound + 1,
        open: history.open,
        watch: options.watch,
        control: handle.controls(),
        stop: stop.listen(),
    };
    let (mint_runtime, commit_runtime) = (runtime.clone(), runtime.clone());
    let (mint_faults, commit_faults) = (faults.clone(), faults.clone());
    let (mint_span, commit_span) = (progress.activities.of_run(), progress.activities.of_run());
    let (seen, committing) = (progress.clone(), tasks.committing.clone());
    process.lead = Mutex::new(Some(Lead {
        mint: Box::new(move |outbox| drop(mint_runtime.spawn(minter.run(outbox, mint_faults).instrument(mint_span)))),
        commit: Box::new(move |ready, outbox| {
            let task =
                commit_runtime.spawn(coordinator.run(ready, outbox, seen, commit_faults).instrument(commit_span));
            *committing.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }),
    }));
    Ok((process, start))
}

/// For a process that begins where the leader says.
pub(super) async fn follow(
    progress: &Arc<Progress>,
    options: &RunOptions,
    runtime: &tokio::runtime::Handle,
    faults: &FaultCell,
    start: &Start,
) -> Result<Process, Fault> {
    let plan = &progress.plan;
    let location =
        plan.storage.open(&plan.state).map_err(|error| Fault { stage: "checkpoint".into(), epoch: None, error })?;
    let state_logs: BTreeMap<String, StateLog> = plan
        .stages
        .iter()
        .filter_map(|s| Some((s.name.clone(), StateLog::new(&s.name, s.outputs.state.clone()?, &location))))
        .collect();
    let state = load_state(&state_logs, start.completed.as_ref()).await?;
    let restored = Restored::new(state, options.workers);
    Ok(Process {
        plan: plan.clone(),
        faults: faults.clone(),
        pressure: Pressure::new(options.queue_bytes),
        progress: progress.clone(),
        runtime: runtime.clone(),
        shared: Shared::default(),
        restored,
        state_logs,
        first_epoch: start.first_epoch,
        lead: Mutex::default(),
    })
}

/// Every store that is written must refuse to create what is there.
async fn require_exclusive(plan: &Plan, state: &Location) -> Result<(), Fault> {
    let mut tried = BTreeSet::from([state.root.clone()]);
    state.require_exclusive().await.map_err(|error| Fault { stage: "checkpoint".into(), epoch: None, error })?;
    for stage in &plan.stages {
        let fault = |error| Fault { stage: stage.name.clone(), epoch: None, error };
        let Some(table) = &stage.outputs.table else { continue };
        let location = plan.storage.open(&table.url).map_err(fault)?;
        if tried.insert(location.root.clone()) {
            location.require_exclusive().await.map_err(fault)?;
        }
    }
    Ok(())
}

async fn load_state(
    logs: &BTreeMap<String, StateLog>,
    completed: Option<&Completion>,
) -> Result<BTreeMap<String, Arc<Vec<arrow::record_batch::RecordBatch>>>, Fault> {
    let Some(completed) = completed else { return Ok(BTreeMap::new()) };
    let loads = logs.iter().map(|(stage, log)| async move {
        let fault = |error| Fault { stage: stage.clone(), epoch: Some(completed.epoch), error };
        let Some(manifest) = completed.state.get(stage) else {
            return Err(fault(
                StageError::user(format!("the stage is new, but epoch {} was completed without it", completed.epoch))
                    .hint(format!(
                        "a stage with state must see the input from its beginning: `alluvium refresh SPEC --stage {stage}`"
                    )),
            ));
        };
        Ok((stage.clone(), Arc::new(log.load(manifest).await.map_err(fault)?)))
    });
    Ok(future::try_join_all(loads).await?.into_iter().collect())
}

/// Sources to list and committers to commit with.
fn build_led(process: &Process, workers: usize) -> Result<Led, Fault> {
    let mut led = Led::default();
    for stage in &process.plan.stages {
        let fault = |error| Fault { stage: stage.name.clone(), epoch: None, error };
        // Operators and transforms may be costly to build, and the lead has no use for them.
        if !matches!(stage.role, crate::stage::Role::Source | crate::stage::Role::Sink) {
            continue;
        }
        match stage.settings.0.build(&context(process, stage, 0, workers)).map_err(fault)? {
            Stage::Source(source) => led.sources.push((stage.name.clone(), source)),
            Stage::Sink(sink) => {
                if let Some(committer) = sink.committer() {
                    let mut metadata = stage.lineage.clone();
                    metadata.insert("pipeline".into(), process.plan.pipeline.clone());
                    metadata.insert("planHash".into(), process.plan.hash.clone());
                    led.tables.push(TableSink { stage: stage.name.clone(), committer, metadata });
                }
            }
            _ => {}
        }
    }
    Ok(led)
}

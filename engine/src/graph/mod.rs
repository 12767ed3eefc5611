//! Plan to Timely: every worker renders the same operators in the same order.
//!
//! ```text
//!            splits                rows                         staged
//!   mint ----------> source --> transform --> sink ------------------------> commit --> probe
//!    |  (worker 0)   (all)        (all)      (all; passes its input on)   (worker 0)
//!    +---------------------------- epochs ------------------------------------^
//! ```
//!
//! `mint` opens epochs whose bindings are durable. A source holds the capability of an epoch while it reads. A sink
//! stages, and sends what it staged when its frontier passes the epoch. `commit` sees the frontier of all sinks: when
//! it passes an epoch, everything is staged everywhere, and the coordinator commits table by table.

mod coalesce;
mod commit;
mod messages;
mod mint;
mod offload;
mod passed;
mod restored;
mod sink;
mod source;
mod transform;

pub(crate) use commit::CommitLink;
pub(crate) use messages::Minted;
pub(crate) use passed::{Place, place};
pub(crate) use restored::Restored;
pub(crate) use transform::panic_text;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::generic::Operator as _;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::{Concatenate, Enter, Leave, Probe};
use timely::dataflow::{Scope, Stream};

use crate::batch::{ByKey, KeyHasher};
use crate::bridge::{FaultCell, Outbox, Pressure};
use crate::checkpoint::{StateLog, StateWriter};
use crate::plan::{Plan, PlannedStage, reject_schema};
use crate::progress::{Progress, WorkerProgress};
use crate::stage::{BatchStream, Fault, OperatorContext, Role, Route, Shared, Stage, StageContext, StageError};
use crate::{Batch, Epoch};
use messages::{Assignment, EpochNote, StagedMessage};

/// Streams of the parts that are not rows.
type Assignments<'scope> = Stream<'scope, Epoch, Vec<Assignment>>;
type Notes<'scope> = Stream<'scope, Epoch, Vec<EpochNote>>;
type StagedStream<'scope> = Stream<'scope, Epoch, Vec<StagedMessage>>;

/// What the workers of a process share.
pub(crate) struct Process {
    pub(crate) plan: Arc<Plan>,
    pub(crate) faults: FaultCell,
    pub(crate) pressure: Pressure,
    pub(crate) progress: Arc<Progress>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) shared: Shared,
    pub(crate) restored: Restored,
    pub(crate) state_logs: BTreeMap<String, StateLog>,
    /// The first epoch that this run may open.
    pub(crate) first_epoch: Epoch,
    /// Taken by worker 0, which leads: starts the task that mints epochs, and the one that commits them.
    pub(crate) lead: Mutex<Option<Lead>>,
}

/// How the leading worker starts its tasks.
pub(crate) struct Lead {
    pub(crate) mint: Box<dyn FnOnce(Outbox<Minted>) + Send>,
    pub(crate) commit: CommitLink,
}

/// What a worker watches.
pub(crate) struct Rendered {
    /// Passes an epoch when it is complete: committed in every table, and recorded.
    pub(crate) complete: Handle<Epoch>,
    /// By stage: passes an epoch when the stage has no more rows of it.
    pub(crate) stages: Vec<Handle<Epoch>>,
}

/// The streams that a stage gives.
struct Ports<'scope> {
    rows: BatchStream<'scope>,
    rejects: Option<BatchStream<'scope>>,
}

/// Renders the whole plan.
pub(crate) fn render<'scope>(process: &Process, scope: Scope<'scope, Epoch>) -> Result<Rendered, Fault> {
    let lead = if scope.index() == 0 {
        process.lead.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    } else {
        None
    };
    let (mint_lead, commit_lead) = lead.map_or((None, None), |l| (Some(l.mint), Some(l.commit)));
    let completed = Rc::new(Cell::new(process.first_epoch.saturating_sub(1)));
    let minted = mint::render(process, scope, mint_lead, completed.clone());
    let mut renderer = Renderer {
        process,
        progress: process.progress.worker(scope.index()),
        scope,
        assignments: minted.assignments,
        ports: Vec::new(),
        staged: Vec::new(),
        probes: Vec::new(),
    };
    for (index, stage) in process.plan.stages.iter().enumerate() {
        renderer.stage(index, stage).map_err(|error| Fault { stage: stage.name.clone(), epoch: None, error })?;
    }
    let staged = scope.concatenate(renderer.staged);
    let complete = commit::render(process, scope, staged, minted.notes, commit_lead, completed, minted.activator);
    Ok(Rendered { complete, stages: renderer.probes })
}

struct Renderer<'a, 'scope> {
    process: &'a Process,
    progress: Arc<WorkerProgress>,
    scope: Scope<'scope, Epoch>,
    assignments: Assignments<'scope>,
    ports: Vec<Ports<'scope>>,
    staged: Vec<StagedStream<'scope>>,
    probes: Vec<Handle<Epoch>>,
}

impl<'scope> Renderer<'_, 'scope> {
    fn stage(&mut self, index: usize, stage: &PlannedStage) -> Result<(), StageError> {
        let process = self.process;
        let built = stage.settings.0.build(&context(process, stage, self.scope.index(), self.scope.peers()))?;
        let inputs = self.inputs(index, stage)?;
        let meter = self.progress.meter(index);
        let faults = process.faults.of_stage(&stage.name);
        let outer = self.scope;
        let schema = stage.outputs.schema.clone();
        let ports = match (stage.role, built) {
            (Role::Source, Stage::Source(source)) => {
                let assignments = self.assignments.clone();
                let (ports, reports) = outer.region_named(&Place::Stage(index).name(), |inner| {
                    let (rows, rejects, reports) =
                        source::render(process, inner, assignments.enter(inner), index, stage, source, faults);
                    (Ports { rows: rows.leave(outer), rejects: Some(rejects.leave(outer)) }, reports.leave(outer))
                });
                self.staged.push(reports);
                ports
            }
            (Role::Transform, Stage::Transform(transform)) => {
                let input = first(inputs)?;
                outer.region_named(&Place::Stage(index).name(), |inner| {
                    let input = input.enter(inner);
                    let (rows, rejects) = if stage.outputs.heavy {
                        offload::render(process, inner, input, stage, transform, meter, faults)
                    } else {
                        transform::render(inner, input, stage, transform, faults)
                    };
                    Ports { rows: rows.leave(outer), rejects: Some(rejects.leave(outer)) }
                })
            }
            (Role::Sink, Stage::Sink(sink)) => {
                // What a sink passes on is what came in.
                let rows = passed::passed(process, first(inputs)?, Place::Enter(index), false);
                let input = rows.clone();
                let staged = outer.region_named(&Place::Stage(index).name(), |inner| {
                    let sink = sink::Written { stage: index, state: false, schema, writer: sink.writer(), meter };
                    sink::render(process, inner, input.enter(inner), sink, faults).leave(outer)
                });
                // It is through with an epoch when it is staged.
                let (probe, staged) = staged.probe();
                self.probes.push(probe);
                self.staged.push(staged);
                self.ports.push(Ports { rows, rejects: None });
                return Ok(());
            }
            (Role::Operator, Stage::Operator(operator)) => {
                let state = process.restored.take(&stage.name);
                let log = process.state_logs.get(&stage.name).cloned();
                let rendered = outer.region_named(&Place::Stage(index).name(), |inner| {
                    let inputs = inputs.into_iter().map(|s| s.enter(inner)).collect();
                    let context = OperatorContext { scope: inner, faults: faults.clone(), state };
                    let rendered = operator.render(&context, inputs)?;
                    // The first port of a stage's region is its rows, here as everywhere.
                    let rows = rendered.output.leave(outer);
                    let rejects = rendered.rejects.map(|r| r.leave(outer));
                    let staged = rendered.state.zip(log).map(|(changes, log)| {
                        let schema = stage.outputs.state.as_ref().map_or_else(|| schema.clone(), |s| s.schema.clone());
                        let writer = Box::new(StateWriter::new(log, inner.index()));
                        let state = sink::Written { stage: index, state: true, schema, writer, meter };
                        sink::render(process, inner, changes, state, faults).leave(outer)
                    });
                    Ok::<_, StageError>((Ports { rows, rejects }, staged))
                });
                let (ports, staged) = rendered?;
                self.staged.extend(staged);
                ports
            }
            (role, _) => {
                return Err(StageError::internal(format!(
                    "kind `{}` says it is a {} but builds something else",
                    stage.kind,
                    role.name()
                )));
            }
        };
        let rows = passed::passed(process, ports.rows, Place::Leave(index), false);
        let (probe, rows) = rows.probe();
        self.probes.push(probe);
        let rejects = ports.rejects.filter(|_| stage.outputs.rejects);
        let rejects = rejects.map(|rejects| passed::passed(process, rejects, Place::Leave(index), true));
        self.ports.push(Ports { rows, rejects });
        Ok(())
    }

    /// The streams that a stage reads: each input of an operator, or all inputs merged.
    fn inputs(&self, index: usize, stage: &PlannedStage) -> Result<Vec<BatchStream<'scope>>, StageError> {
        let mut streams = Vec::new();
        for edge in &stage.edges {
            let missing = || StageError::internal("an edge leads to a stage that has not been rendered");
            let from = self.ports.get(edge.from).ok_or_else(missing)?;
            let stream = if edge.rejects { from.rejects.clone().ok_or_else(missing)? } else { from.rows.clone() };
            streams.push(match &edge.route {
                Route::Pipeline => stream,
                Route::Exchange(keys) => {
                    let schema = self.process.plan.edge_schema(edge).unwrap_or_else(reject_schema);
                    let hasher = KeyHasher::new(&schema, keys)
                        .map_err(|e| StageError::internal("rows cannot be routed by key").because(e))?;
                    exchange(stream, index, hasher)
                }
            });
        }
        if stage.role != Role::Operator && streams.len() > 1 {
            streams = vec![self.scope.concatenate(streams)];
        }
        Ok(streams)
    }
}

/// Brings all rows of a key to its owner.
fn exchange<'scope>(stream: BatchStream<'scope>, stage: usize, hasher: KeyHasher) -> BatchStream<'scope> {
    let pact = DistributorPact(move |_workers| ByKey::new(hasher));
    stream.unary::<CapacityContainerBuilder<Batch>, _, _, _>(pact, &Place::Enter(stage).name(), |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, batch| output.session_with_builder(&capability).give_container(batch));
        }
    })
}

fn first(streams: Vec<BatchStream<'_>>) -> Result<BatchStream<'_>, StageError> {
    streams.into_iter().next().ok_or_else(|| StageError::internal("the stage has no input"))
}

/// What a stage is built from on a worker.
pub(crate) fn context(process: &Process, stage: &PlannedStage, worker: usize, workers: usize) -> StageContext {
    StageContext { worker, workers, shared: process.shared.clone(), ..process.plan.context(stage) }
}

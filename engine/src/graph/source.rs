//! Reads the splits dealt to this worker. The capability of an epoch is held until its last split here is read.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use futures::{FutureExt, StreamExt};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::coalesce::Coalescer;
use super::messages::{Assignment, Report, StagedMessage};
use super::transform::conform;
use super::{Assignments, Process, StagedStream};
use crate::bridge::{Faults, Meter, Outbox, inbox};
use crate::checkpoint::content_of;
use crate::plan::PlannedStage;
use crate::progress::Activities;
use crate::stage::{BatchStream, Read, ReadContext, Source, Split, StageError, reject_batch};
use crate::{Batch, Epoch};

/// Pieces that wait for the worker.
const QUEUE: usize = 4;
/// Pieces that are given to the dataflow before it gets to run.
const BURST: usize = 2;

/// A split on its way, with the capabilities to emit its rows and rejects.
struct Reading {
    split: Split,
    context: ReadContext,
    rows: Capability<Epoch>,
    rejects: Capability<Epoch>,
    reports: Capability<Epoch>,
    /// Rows so far, rejects included.
    count: u64,
    dropped: Option<String>,
}

/// From a reading task; the number tells which.
type Piece = (u64, Result<Option<Read>, StageError>);

type RowsOut = OutputBuilder<Epoch, CapacityContainerBuilder<Batch>>;

pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    assignments: Assignments<'scope>,
    index: usize,
    stage: &PlannedStage,
    source: Arc<dyn Source>,
    faults: Faults,
) -> (BatchStream<'scope>, BatchStream<'scope>, StagedStream<'scope>) {
    let mut builder = OperatorBuilder::new("read".into(), scope);
    let mut input = builder.new_input(assignments, Exchange::new(|a: &Assignment| a.worker));
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (rejects_out, rejects) = builder.new_output::<Batch>();
    let (reports_out, reports) = builder.new_output::<Vec<StagedMessage>>();
    let mut rows_out = RowsOut::from(rows_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rejects_out);
    let mut reports_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<StagedMessage>>>::from(reports_out);
    let address = builder.operator_info().address;
    let again = scope.activator_for(address.clone());
    let wake = scope.worker().sync_activator_for(address.to_vec());
    let reads = source.reads_at_once().max(1);
    let (outbox, mut inbox) = inbox::<Piece>(QUEUE, wake.clone());
    let activities = process.progress.activities.clone();
    let meter = process.progress.worker(scope.index()).meter(index);
    let reader = Reader { name: stage.name.clone(), source, outbox, meter, activities };
    let (runtime, pressure) = (process.runtime.clone(), process.pressure.clone());
    let (name, schema, may_reject) = (stage.name.clone(), stage.outputs.schema.clone(), stage.outputs.rejects);
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut waiting: VecDeque<Reading> = VecDeque::new();
        let mut reading: BTreeMap<u64, Reading> = BTreeMap::new();
        let mut next = 0_u64;
        let mut coalescer = Coalescer::default();
        move |_frontiers| {
            input.for_each(|capability, list| {
                for assignment in list.drain(..).filter(|a| a.stage == index as u64) {
                    let held = (capability.retain_least(0), capability.retain_least(1), capability.retain_least(2));
                    let (Some(rows), Some(rejects), Some(reports)) = held else { continue };
                    let epoch = *rows.time();
                    let split = serde_json::from_slice(&assignment.split).unwrap_or_else(|e| {
                        faults.raise(Some(epoch), StageError::internal("a split cannot be decoded").because(e));
                        Split { id: String::new(), bytes: 0, version: None, modified: None, rank: 0 }
                    });
                    let ingest_time = DateTime::from_timestamp_micros(assignment.ingest_micros).unwrap_or_default();
                    let context = ReadContext { epoch, ingest_time, fixed: assignment.fixed };
                    waiting.push_back(Reading { split, context, rows, rejects, reports, count: 0, dropped: None });
                }
            });
            while reading.len() < reads && !faults.is_raised() {
                let Some(new) = waiting.pop_front() else { break };
                runtime.spawn(reader.clone().read(new.split.clone(), new.context, next));
                reading.insert(next, new);
                next += 1;
            }
            let mut burst = 0;
            // After a fault nothing is emitted and nothing is released.
            while burst < BURST && !faults.is_raised() && pressure.has_room(&wake) {
                let Some((id, piece)) = inbox.take() else { break };
                burst += 1;
                let Some(of) = reading.get_mut(&id) else { continue };
                let epoch = of.context.epoch;
                let outcome = match piece {
                    Ok(Some(Read::Rows(batch))) => {
                        of.count += batch.num_rows() as u64;
                        let full = conform(batch, &schema).and_then(|batch| coalescer.add(epoch, batch));
                        full.map(|full| give(full, of, &mut rows_out))
                    }
                    Ok(Some(Read::Rejects(list))) if may_reject => {
                        of.count += list.len() as u64;
                        reject_batch(&name, epoch, &list).map(|mut container| {
                            rejects_out.activate().session_with_builder(&of.rejects).give_container(&mut container);
                        })
                    }
                    Ok(Some(Read::Rejects(_))) => {
                        Err(StageError::internal("the source rejects rows without having declared it"))
                    }
                    Ok(Some(Read::Dropped(why))) => of.drop_out(why),
                    Ok(None) => {
                        reports_out.activate().session(&of.reports).give(of.report(index));
                        again.activate();
                        let ended = reading.remove(&id);
                        let is_last = reading.values().chain(&waiting).all(|r| r.context.epoch != epoch);
                        match ended {
                            Some(of) if is_last => coalescer.finish(epoch).map(|rest| give(rest, &of, &mut rows_out)),
                            _ => Ok(()),
                        }
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = outcome {
                    faults.raise(Some(epoch), error);
                }
            }
            if burst == BURST {
                again.activate();
            }
            !reading.is_empty() || !waiting.is_empty()
        }
    });
    (rows, rejects, reports)
}

/// Hands rows on, if there are any.
fn give(rows: Option<RecordBatch>, of: &Reading, out: &mut RowsOut) {
    if let Some(batch) = rows {
        out.activate().session_with_builder(&of.rows).give_container(&mut Batch::from(batch));
    }
}

impl Reading {
    /// The split is not to be read after all.
    fn drop_out(&mut self, why: String) -> Result<(), StageError> {
        if self.context.fixed {
            return Err(StageError::external(format!("{why}, and tables hold rows of the epoch already"))
                .object(&self.split.id)
                .hint("put the object back as it was: the epoch cannot be finished without it"));
        }
        if self.count > 0 {
            return Err(StageError::internal("the source drops a split of which it has given rows"));
        }
        tracing::warn!(object = %self.split.id, epoch = self.context.epoch, "{why}; it is left out of the epoch");
        self.dropped = Some(why);
        Ok(())
    }

    fn report(&self, stage: usize) -> StagedMessage {
        let what = match self.dropped {
            Some(_) => Report::Dropped { id: self.split.id.clone(), content: content_of(&self.split) },
            None => Report::Read { bytes: self.split.bytes, rows: self.count },
        };
        StagedMessage { stage: stage as u64, what }
    }
}

/// What the tasks that read have in common.
#[derive(Clone)]
struct Reader {
    name: String,
    source: Arc<dyn Source>,
    outbox: Outbox<Piece>,
    meter: Arc<Meter>,
    activities: Activities,
}

impl Reader {
    /// Reads one split to its end. Whatever happens, the operator hears of it.
    async fn read(self, split: Split, context: ReadContext, id: u64) {
        let object = split.id.clone();
        let reading = async {
            let what = format!("reading {object}");
            let mut pieces = self.source.read(split, context);
            loop {
                // Only what the source takes: the worker may let a piece wait for long.
                let next = self.meter.follow(pieces.next());
                let next = self.activities.follow(&self.name, Some(context.epoch), what.as_str(), next);
                let Some(piece) = next.await else { break };
                let failed = piece.is_err();
                if self.outbox.send((id, piece.map(Some))).await.is_err() || failed {
                    return;
                }
            }
            // Nobody to tell when the worker is gone.
            let _ = self.outbox.send((id, Ok(None))).await;
        };
        if AssertUnwindSafe(reading).catch_unwind().await.is_err() {
            let error = StageError::internal("the source panicked").object(&object);
            let _ = self.outbox.send((id, Err(error))).await;
        }
    }
}

//! Runs a heavy transform on a thread of its own; the worker goes on. Batches come back in order and in pieces, and the
//! capability of each waits here until its last piece is back.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Process;
use super::transform::{Applied, apply};
use crate::bridge::{Faults, Meter, Permit, inbox};
use crate::plan::PlannedStage;
use crate::stage::{BatchStream, StageError, Transform};
use crate::{Batch, Epoch};

/// Results that wait for the worker.
const QUEUE: usize = 4;
/// Rows of a piece: enough for a model to work at full speed, few enough that progress is seen and a stop is quick.
const PIECE: usize = 1_024;

/// A batch on its way to the thread; counted as pressure until the thread takes it.
struct Request {
    epoch: Epoch,
    batch: Batch,
    permit: Permit,
}

/// What became of a piece of a batch.
struct Piece {
    applied: Applied,
    last: bool,
}

pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    input: BatchStream<'scope>,
    stage: &PlannedStage,
    mut transform: Box<dyn Transform>,
    meter: Arc<Meter>,
    faults: Faults,
) -> (BatchStream<'scope>, BatchStream<'scope>) {
    let mut builder = OperatorBuilder::new("offload".into(), scope);
    let mut input = builder.new_input(input, Pipeline);
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (rejects_out, rejects) = builder.new_output::<Batch>();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rejects_out);
    let address = builder.operator_info().address;
    let (outbox, mut inbox) =
        inbox::<Result<Piece, StageError>>(QUEUE, scope.worker().sync_activator_for(address.to_vec()));
    // Not bounded by a length: what waits here is counted by pressure, which stops the sources.
    let (requests, queue) = std::sync::mpsc::channel::<Request>();
    let (name, schema, may_reject) = (stage.name.clone(), stage.outputs.schema.clone(), stage.outputs.rejects);
    let pressure = process.pressure.clone();
    let started = std::thread::Builder::new().name(format!("{name}-{}", scope.index())).spawn({
        let (faults, meter) = (faults.clone(), meter.clone());
        let span = process.progress.activities.of_worker(scope.index());
        move || {
            let _span = span.entered();
            for Request { epoch, batch, permit } in queue {
                let mut pieces = pieces(batch);
                while let Some(mut piece) = pieces.pop_front() {
                    if faults.is_raised() {
                        return;
                    }
                    let last = pieces.is_empty();
                    let result = meter
                        .work(|| apply(transform.as_mut(), &mut piece, &schema, may_reject, &name, epoch))
                        .map(|applied| Piece { applied, last });
                    let failed = result.is_err();
                    if outbox.send_blocking(result).is_err() || failed {
                        return;
                    }
                }
                drop(permit);
            }
        }
    });
    if let Err(error) = started {
        faults.raise(None, StageError::external("no thread could be started for the stage").because(error));
    }
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut waiting: VecDeque<(Capability<Epoch>, Capability<Epoch>)> = VecDeque::new();
        move |_frontiers| {
            input.for_each(|capability, container| {
                let (Some(rows), Some(rejects)) = (capability.retain_least(0), capability.retain_least(1)) else {
                    return;
                };
                let request = Request {
                    epoch: *rows.time(),
                    permit: pressure.take(container.rows().map_or(0, RecordBatch::num_rows), container.bytes(), &meter),
                    batch: std::mem::take(container),
                };
                waiting.push_back((rows, rejects));
                // Fails only after the thread has ended, that is after a fault: the capability stays.
                let _ = requests.send(request);
            });
            while !faults.is_raised() {
                let Some(result) = inbox.take() else { break };
                match (result, waiting.front()) {
                    (Ok(Piece { applied, last }), Some((rows, rejects))) => {
                        for mut batch in applied.rows {
                            rows_out.activate().session_with_builder(rows).give_container(&mut batch);
                        }
                        if let Some(mut batch) = applied.rejects {
                            rejects_out.activate().session_with_builder(rejects).give_container(&mut batch);
                        }
                        if last {
                            waiting.pop_front();
                        }
                    }
                    (Err(error), front) => faults.raise(front.map(|(rows, _)| *rows.time()), error),
                    (Ok(_), None) => faults.raise(None, StageError::internal("a result came back for no batch")),
                }
            }
            !waiting.is_empty()
        }
    });
    (rows, rejects)
}

/// One at least. A batch that could not be decoded stays as it is, for the transform to fail on.
fn pieces(batch: Batch) -> VecDeque<Batch> {
    match batch.rows() {
        Some(rows) if rows.num_rows() > PIECE => (0..rows.num_rows())
            .step_by(PIECE)
            .map(|at| rows.slice(at, PIECE.min(rows.num_rows() - at)).into())
            .collect(),
        _ => VecDeque::from([batch]),
    }
}

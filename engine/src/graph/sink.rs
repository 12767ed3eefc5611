//! Feeds the writer of this worker and sends what it staged when the epoch has no more rows here.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::FutureExt;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tokio::sync::mpsc;

use super::messages::{Report, StagedMessage};
use super::transform::conform;
use super::{Process, StagedStream};
use crate::bridge::{Faults, Outbox, Permit, inbox};
use crate::stage::{BatchStream, StageError, Staged, Writer};
use crate::{Batch, Epoch};

/// For the writer's task.
enum Order {
    Write(Epoch, RecordBatch, Permit),
    Seal(Epoch),
}

/// From the writer's task.
type Sealed = (Epoch, Result<Vec<Staged>, StageError>);

#[expect(clippy::too_many_arguments, reason = "one call site each for tables and for state")]
pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    input: BatchStream<'scope>,
    stage: usize,
    state: bool,
    schema: SchemaRef,
    writer: Box<dyn Writer>,
    faults: Faults,
) -> StagedStream<'scope> {
    let mut builder = OperatorBuilder::new(if state { "state" } else { "write" }.into(), scope);
    let mut input = builder.new_input(input, Pipeline);
    let (out, staged) = builder.new_output::<Vec<StagedMessage>>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<StagedMessage>>>::from(out);
    let address = builder.operator_info().address;
    let (outbox, mut inbox) = inbox::<Sealed>(1, scope.worker().sync_activator_for(address.to_vec()));
    // Not bounded by a length: what waits here is counted by pressure, which stops the sources.
    let (orders, queue) = mpsc::unbounded_channel();
    process.runtime.spawn(write(writer, queue, outbox));
    let pressure = process.pressure.clone();
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        // Epochs with rows here; true once they are sealed.
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, bool)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, container| {
                let Some(kept) = capability.retain_least(0) else { return };
                let epoch = *kept.time();
                open.entry(epoch).or_insert((kept, false));
                let permit = pressure.take(container.bytes());
                match container.take().and_then(|b| b.map(|b| conform(b, &schema)).transpose()) {
                    // Fails only after the task has ended, that is after a fault: the capability stays.
                    Ok(Some(batch)) => drop(orders.send(Order::Write(epoch, batch, permit))),
                    Ok(None) => {}
                    Err(error) => faults.raise(Some(epoch), error),
                }
            });
            let frontier = frontiers.first();
            for (epoch, (_, sealed)) in open.iter_mut().filter(|(_, (_, sealed))| !sealed) {
                if frontier.is_none_or(|f| !f.less_equal(epoch)) {
                    *sealed = true;
                    let _ = orders.send(Order::Seal(*epoch));
                }
            }
            while let Some((epoch, result)) = inbox.take() {
                match result {
                    Ok(list) => {
                        if let Some((capability, _)) = open.remove(&epoch) {
                            let messages = list.into_iter().map(|Staged(payload)| StagedMessage {
                                stage: stage as u64,
                                what: if state { Report::State(payload) } else { Report::Rows(payload) },
                            });
                            out.activate().session(&capability).give_iterator(messages);
                        }
                    }
                    Err(error) => faults.raise(Some(epoch), error),
                }
            }
            !open.is_empty()
        }
    });
    staged
}

/// The writer's task: orders in, what is sealed out, until the first failure.
async fn write(mut writer: Box<dyn Writer>, mut orders: mpsc::UnboundedReceiver<Order>, outbox: Outbox<Sealed>) {
    while let Some(order) = orders.recv().await {
        let (epoch, work) = match order {
            Order::Write(epoch, batch, permit) => {
                let written = AssertUnwindSafe(writer.write(epoch, batch)).catch_unwind().await;
                drop(permit);
                (epoch, written.map(|r| r.map(|()| None)))
            }
            Order::Seal(epoch) => {
                (epoch, AssertUnwindSafe(writer.seal(epoch)).catch_unwind().await.map(|r| r.map(Some)))
            }
        };
        let result = work.unwrap_or_else(|_| Err(StageError::internal("the sink panicked")));
        let message = match result {
            Ok(None) => continue,
            Ok(Some(staged)) => Ok(staged),
            Err(error) => Err(error),
        };
        let failed = message.is_err();
        if outbox.send((epoch, message)).await.is_err() || failed {
            return;
        }
    }
}

impl Batch {
    /// Memory of the rows, about. Slices of one batch together count what the batch does.
    pub(super) fn bytes(&self) -> usize {
        let column = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size());
        self.rows().map_or(0, |rows| rows.columns().iter().map(column).sum())
    }
}

//! Feeds the writer of this worker and sends what it staged when the epoch has no more rows here.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

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
use crate::bridge::{Faults, Meter, Outbox, Permit, inbox};
use crate::progress::Activities;
use crate::stage::{BatchStream, StageError, Staged, Writer};
use crate::{Batch, Epoch};

/// For the writer's task.
enum Order {
    Write(Epoch, RecordBatch, Permit),
    Seal(Epoch),
}

/// From the writer's task.
type Sealed = (Epoch, Result<Vec<Staged>, StageError>);

/// What is written.
pub(super) struct Written {
    pub(super) stage: usize,
    /// State of an operator, not rows of a table.
    pub(super) state: bool,
    pub(super) schema: SchemaRef,
    pub(super) writer: Box<dyn Writer>,
    pub(super) meter: Arc<Meter>,
}

pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    input: BatchStream<'scope>,
    written: Written,
    faults: Faults,
) -> StagedStream<'scope> {
    let Written { stage, state, schema, writer, meter } = written;
    let mut builder = OperatorBuilder::new(if state { "state" } else { "write" }.into(), scope);
    let mut input = builder.new_input(input, Pipeline);
    let (out, staged) = builder.new_output::<Vec<StagedMessage>>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<StagedMessage>>>::from(out);
    let address = builder.operator_info().address;
    let (outbox, mut inbox) = inbox::<Sealed>(1, scope.worker().sync_activator_for(address.to_vec()));
    // Not bounded by a length: what waits here is counted by pressure, which stops the sources.
    let (orders, queue) = mpsc::unbounded_channel();
    let name = process.plan.stages.get(stage).map(|s| s.name.clone()).unwrap_or_default();
    let task = Task { name, meter: meter.clone(), activities: process.progress.activities.clone(), outbox };
    process.runtime.spawn(task.run(writer, queue));
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
                let rows = container.rows().map_or(0, RecordBatch::num_rows);
                let permit = pressure.take(rows, container.bytes(), &meter);
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

/// The writer's task.
struct Task {
    name: String,
    meter: Arc<Meter>,
    activities: Activities,
    outbox: Outbox<Sealed>,
}

impl Task {
    /// Orders in, what is sealed out, until the first failure.
    async fn run(self, mut writer: Box<dyn Writer>, mut orders: mpsc::UnboundedReceiver<Order>) {
        while let Some(order) = orders.recv().await {
            let (epoch, result) = match order {
                Order::Write(epoch, batch, permit) => {
                    let written = self.follow(epoch, writer.write(epoch, batch)).await;
                    drop(permit);
                    (epoch, written.map(|()| None))
                }
                Order::Seal(epoch) => (epoch, self.follow(epoch, writer.seal(epoch)).await.map(Some)),
            };
            let message = match result {
                Ok(None) => continue,
                Ok(Some(staged)) => Ok(staged),
                Err(error) => Err(error),
            };
            let failed = message.is_err();
            if self.outbox.send((epoch, message)).await.is_err() || failed {
                return;
            }
        }
    }

    async fn follow<T>(
        &self,
        epoch: Epoch,
        work: impl Future<Output = Result<T, StageError>>,
    ) -> Result<T, StageError> {
        let work = AssertUnwindSafe(self.meter.follow(work)).catch_unwind();
        let done = self.activities.follow(&self.name, Some(epoch), "writing files", work).await;
        done.unwrap_or_else(|_| Err(StageError::internal("the sink panicked")))
    }
}

impl Batch {
    /// Memory of the rows, about. Slices of one batch together count what the batch does.
    pub(super) fn bytes(&self) -> usize {
        let column = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or_else(|_| c.get_array_memory_size());
        self.rows().map_or(0, |rows| rows.columns().iter().map(column).sum())
    }
}

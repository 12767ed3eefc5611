//! Wide rows of an aggregate made into several rows each, batch by batch.

use alluvium_engine::Batch;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::stage::{BatchStream, OperatorContext, StageError};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Applies `logic` to each batch. What it gives must follow from a row alone, so that a row that is taken away takes away
/// what it has given.
pub(crate) fn unfold<'scope>(
    context: &OperatorContext<'scope>,
    input: BatchStream<'scope>,
    logic: impl Fn(&RecordBatch) -> Result<RecordBatch, StageError> + 'static,
) -> BatchStream<'scope> {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("unfold".into(), context.scope);
    let mut input = builder.new_input(input, Pipeline);
    let (out, rows) = builder.new_output::<Batch>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(out);
    builder.build(move |capabilities| {
        drop(capabilities);
        // After a fault the frontier must not pass the epoch.
        let mut kept = Vec::new();
        move |_frontiers| {
            input.for_each(|capability, container| {
                let made = match container.take() {
                    _ if faults.is_raised() => Ok(None),
                    Ok(batch) => batch.map(|batch| logic(&batch)).transpose(),
                    Err(error) => Err(error),
                };
                match made {
                    Ok(Some(batch)) => {
                        out.activate().session_with_builder(&capability).give_container(&mut batch.into());
                    }
                    Ok(None) => {}
                    Err(error) => faults.raise(capability.least().copied(), error),
                }
                if faults.is_raised() {
                    kept.extend(capability.retain_least(0));
                }
            });
        }
    });
    rows
}

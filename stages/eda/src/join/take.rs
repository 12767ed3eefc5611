//! Batches of one side to differential's updates.

use std::rc::Rc;

use alluvium_engine::Epoch;
use alluvium_engine::stage::{BatchStream, OperatorContext};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::codec::{Codec, Joined, Update};
use super::shape::Side;

/// Rows by key.
pub(super) type Updates<'scope> = Stream<'scope, Epoch, Vec<Update>>;
/// Rows of the output.
pub(super) type Pairs<'scope> = Stream<'scope, Epoch, Vec<(Joined, Epoch, i64)>>;

/// Rows of one side: those that may match, after those that were there at the start; and those that match nothing, because
/// there is NULL in their key.
pub(super) fn take<'scope>(
    context: &OperatorContext<'scope>,
    input: BatchStream<'scope>,
    codec: Rc<Codec>,
    side: Side,
    right: bool,
    restored: Vec<Update>,
) -> (Updates<'scope>, Pairs<'scope>) {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("by key".into(), context.scope);
    let mut input = builder.new_input(input, Pipeline);
    let (rows_out, rows) = builder.new_output();
    let (unmatched_out, unmatched) = builder.new_output();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Update>>>::from(rows_out);
    let mut unmatched_out =
        OutputBuilder::<_, CapacityContainerBuilder<Vec<(Joined, Epoch, i64)>>>::from(unmatched_out);
    builder.build(move |capabilities| {
        // State comes in at epoch 0, before any epoch of data.
        let mut start = capabilities.into_iter().next().map(|capability| (capability, restored));
        // Capabilities of epochs that cannot be finished: kept for ever, so that the frontier never passes them.
        let mut kept: Vec<Capability<Epoch>> = Vec::new();
        move |_frontiers| {
            if let Some((capability, restored)) = start.take() {
                rows_out.activate().session(&capability).give_iterator(restored.into_iter());
            }
            input.for_each(|capability, container| {
                let (Some(first), Some(second)) = (capability.retain_least(0), capability.retain_least(1)) else {
                    return;
                };
                let epoch = *first.time();
                if faults.is_raised() {
                    return kept.extend([first, second]);
                }
                let taken = container.take().and_then(|batch| {
                    batch.map_or_else(|| Ok(Default::default()), |batch| codec.take(&batch, &side, right))
                });
                match taken {
                    Ok(taken) => {
                        let updates = taken.rows.into_iter().map(|(key, row, n)| ((key, row), epoch, n));
                        rows_out.activate().session(&first).give_iterator(updates);
                        let nothing = || codec.nothing.clone();
                        let pairs = taken.unmatched.into_iter().map(|(key, row, n)| ((key, row, nothing()), epoch, n));
                        unmatched_out.activate().session(&second).give_iterator(pairs);
                    }
                    Err(error) => {
                        faults.raise(Some(epoch), error);
                        kept.extend([first, second]);
                    }
                }
            });
        }
    });
    (rows, unmatched)
}

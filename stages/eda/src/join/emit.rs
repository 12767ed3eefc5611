//! Pairs of rows to batches for the next stage.

use std::collections::BTreeMap;
use std::rc::Rc;

use alluvium_engine::stage::{BatchStream, OperatorContext, StageError};
use alluvium_engine::{Batch, Epoch};
use differential_dataflow::consolidation::consolidate;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::codec::{Codec, Joined};
use super::take::Pairs;
use crate::BATCH_ROWS;

/// Pairs of an epoch that have not been given on.
struct Held {
    capability: Capability<Epoch>,
    pairs: Vec<(Joined, i64)>,
    /// So many were left when they were last added up.
    settled: usize,
}

/// Gives pairs on: at once where rows only come, and otherwise when the epoch has no more of them, added up, so that a row
/// does not come and go within one epoch.
pub(super) fn emit<'scope>(
    context: &OperatorContext<'scope>,
    pairs: Pairs<'scope>,
    codec: Rc<Codec>,
    changes: bool,
) -> BatchStream<'scope> {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("rows".into(), context.scope);
    let mut input = builder.new_input(pairs, Pipeline);
    let (out, rows) = builder.new_output::<Batch>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(out);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, Held> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, updates| {
                for (pair, epoch, number) in updates.drain(..).filter(|(_, epoch, _)| *epoch > 0) {
                    let held = open.entry(epoch).or_insert_with(|| Held {
                        capability: capability.delayed(&epoch, 0),
                        pairs: Vec::new(),
                        settled: 0,
                    });
                    held.pairs.push((pair, number));
                    if changes && held.pairs.len() > BATCH_ROWS.max(held.settled * 2) {
                        consolidate(&mut held.pairs);
                        held.settled = held.pairs.len();
                    }
                }
            });
            let over = |epoch: &Epoch| !frontiers.iter().any(|f| f.less_equal(epoch));
            for (epoch, held) in &mut open {
                if faults.is_raised() {
                    return;
                }
                if changes && over(epoch) {
                    consolidate(&mut held.pairs);
                }
                if !changes || over(epoch) {
                    let mut out = out.activate();
                    let mut give = |batch: Batch| {
                        out.session_with_builder(&held.capability).give_container(&mut { batch });
                    };
                    if let Err(error) = batches(&codec, &held.pairs, changes, &mut give) {
                        return faults.raise(Some(*epoch), error);
                    }
                    held.pairs.clear();
                }
            }
            open.retain(|epoch, _| !over(epoch));
        }
    });
    rows
}

/// Batches of a useful size; where rows only come, a pair is as many rows as its number says.
fn batches(
    codec: &Codec,
    pairs: &[(Joined, i64)],
    changes: bool,
    give: &mut impl FnMut(Batch),
) -> Result<(), StageError> {
    let times = |number: i64| if changes { 1 } else { usize::try_from(number).unwrap_or(0) };
    let mut part = Vec::with_capacity(BATCH_ROWS.min(pairs.len()));
    for (pair, number) in pairs.iter().flat_map(|(pair, n)| std::iter::repeat_n((pair, *n), times(*n))) {
        part.push((pair, number));
        if part.len() == BATCH_ROWS {
            give(codec.joined(&part)?.into());
            part.clear();
        }
    }
    if part.is_empty() {
        return Ok(());
    }
    give(codec.joined(&part)?.into());
    Ok(())
}

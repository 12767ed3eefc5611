//! The state of one side: of every row that changed in an epoch how often it is there now.

use std::collections::BTreeMap;
use std::rc::Rc;

use alluvium_engine::stage::{BatchStream, OperatorContext, StageError};
use alluvium_engine::{Batch, Epoch};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::ValSpine;
use differential_dataflow::trace::{Cursor, Navigable, TraceReader};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::Operator;
use timely::progress::Antichain;

use super::codec::{Codec, Key, Row};
use crate::BATCH_ROWS;

/// Rows of one side by key, in memory.
pub(super) type Rows = TraceAgent<ValSpine<Key, Row, Epoch, i64>>;
/// Changed rows of epochs.
type Changed = BTreeMap<Epoch, Vec<(Key, Row, i64)>>;

pub(super) fn counts<'scope>(
    context: &OperatorContext<'scope>,
    arranged: &Arranged<'scope, Rows>,
    codec: Rc<Codec>,
    right: bool,
) -> BatchStream<'scope> {
    let faults = context.faults.clone();
    let mut trace = arranged.trace.clone();
    arranged.stream.clone().unary_frontier::<CapacityContainerBuilder<Batch>, _, _, _>(Pipeline, "count", |_, _| {
        let mut upper = Antichain::from_elem(Epoch::MIN);
        let mut kept = Vec::new();
        move |(input, _frontier), output| {
            let lower = upper.clone();
            let (mut fresh, mut capabilities) = (Vec::new(), CapabilitySet::new());
            input.for_each(|capability, spans| {
                for capability in capability.retain_stamp(0).iter() {
                    capabilities.insert(capability.clone());
                }
                for span in spans.drain(..) {
                    // Spans come in order.
                    upper.clone_from(span.upper());
                    fresh.extend(span.inner);
                }
            });
            if !fresh.is_empty() && !faults.is_raised() {
                let counted = match trace.batches_through(lower.borrow()) {
                    Some(before) => Ok(count(&before, fresh)),
                    None => Err(StageError::internal("the rows before an epoch are not kept")),
                };
                let counted = counted.and_then(|epochs| {
                    for (epoch, rows) in &epochs {
                        for part in rows.chunks(BATCH_ROWS) {
                            let mut batch = Batch::from(codec.state(part, right)?);
                            output.session_with_builder(&capabilities.delayed(epoch)).give_container(&mut batch);
                        }
                    }
                    Ok(())
                });
                if let Err(error) = counted {
                    faults.raise(None, error);
                }
            }
            if faults.is_raised() {
                kept.push(capabilities);
            }
            trace.advance_upper(&mut upper);
            trace.set_logical_compaction(upper.borrow());
            trace.set_physical_compaction(upper.borrow());
        }
    })
}

/// New numbers of the rows in `fresh`, by epoch; what was restored is not new.
fn count<B>(before: &[B], fresh: Vec<B>) -> Changed
where
    B: Navigable,
    B::Cursor: for<'a> Cursor<Key<'a> = &'a Key, Val<'a> = &'a Row, Time = Epoch, Diff = i64>,
{
    let mut old: Vec<(B::Cursor, &B)> = before.iter().map(|batch| (batch.cursor(), batch)).collect();
    let (mut new, new_storage) = cursor_list(fresh);
    let mut changed = Changed::new();
    while let Some(key) = new.get_key(&new_storage) {
        // One by one: a list of cursors would move those that stand at other keys, too.
        old.iter_mut().for_each(|(cursor, batch)| cursor.seek_key(batch, key));
        while let Some(row) = new.get_val(&new_storage) {
            let mut number = 0;
            for (cursor, batch) in old.iter_mut().filter(|(cursor, batch)| cursor.get_key(batch) == Some(key)) {
                cursor.seek_val(batch, row);
                if cursor.get_val(batch) == Some(row) {
                    cursor.map_times(batch, |_, diff| number += B::Cursor::owned_diff(diff));
                }
            }
            let mut diffs: BTreeMap<Epoch, i64> = BTreeMap::new();
            new.map_times(&new_storage, |epoch, diff| {
                *diffs.entry(B::Cursor::owned_time(epoch)).or_default() += B::Cursor::owned_diff(diff);
            });
            for (epoch, diff) in diffs {
                number += diff;
                if epoch > 0 && diff != 0 {
                    changed.entry(epoch).or_default().push((key.clone(), row.clone(), number));
                }
            }
            new.step_val(&new_storage);
        }
        new.step_key(&new_storage);
    }
    changed
}

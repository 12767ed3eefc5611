//! Totals of groups and numbers of values as they were and are, epoch by epoch.

use alluvium_engine::Epoch;
use alluvium_engine::bridge::Faults;
use alluvium_engine::stage::StageError;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::trace::{Cursor, TraceReader};
use differential_dataflow::{AsCollection, ExchangeData, Hashable, VecCollection};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::CapabilitySet;
use timely::dataflow::operators::generic::operator::Operator;
use timely::progress::Antichain;

/// Takes a key's total away as it was and adds it as it is, at each epoch in which it changes. This is differential's
/// `count_total`, but for keys that were restored and have not changed since: nobody hears of them, which is half of what a
/// restart with many keys would do.
pub(crate) fn count_changed<'scope, K, R>(
    keys: Arranged<'scope, TraceAgent<KeySpine<K, Epoch, R>>>,
    faults: Faults,
) -> VecCollection<'scope, Epoch, (K, R), isize>
where
    K: ExchangeData + Hashable,
    R: ExchangeData + Semigroup + IsZero,
{
    let mut trace = keys.trace.clone();
    let counted = keys.stream.unary_frontier(Pipeline, "count", move |_, _| {
        let mut counted = Antichain::from_elem(0);
        move |(input, _frontier), output| {
            let mut capabilities = CapabilitySet::new();
            let (mut batches, mut upper) = (Vec::new(), counted.clone());
            input.for_each(|capability, list| {
                capability.retain_stamp(0).iter().for_each(|c| capabilities.insert(c.clone()));
                for batch in list.drain(..) {
                    upper.clone_from(batch.upper());
                    batches.extend(batch.inner);
                }
            });
            if !batches.is_empty() {
                let Some(before) = trace.batches_through(counted.borrow()) else {
                    // Cannot be: batches come one after the other. Going on would lose rows.
                    faults.raise(None, StageError::internal("groups are not kept as far as they were counted"));
                    return;
                };
                let (mut news, news_storage) = cursor_list(batches);
                let (mut known, known_storage) = cursor_list(before);
                let mut session = output.session(&capabilities);
                while let Some(key) = news.get_key(&news_storage) {
                    let mut changed = false;
                    news.map_times(&news_storage, |epoch, _| changed |= *epoch > 0);
                    let mut total: Option<R> = None;
                    if changed {
                        known.seek_key(&known_storage, key);
                        if known.get_key(&known_storage) == Some(key) {
                            known.map_times(&known_storage, |_, more| add(&mut total, more));
                        }
                        news.map_times(&news_storage, |epoch, more| {
                            let told = |total: &Option<R>| total.clone().filter(|t| *epoch > 0 && !t.is_zero());
                            session.give_iterator(told(&total).into_iter().map(|t| ((key.clone(), t), *epoch, -1)));
                            add(&mut total, more);
                            session.give_iterator(told(&total).into_iter().map(|t| ((key.clone(), t), *epoch, 1)));
                        });
                    }
                    news.step_key(&news_storage);
                }
            }
            counted = upper;
            trace.advance_upper(&mut counted);
            trace.set_logical_compaction(counted.borrow());
            trace.set_physical_compaction(counted.borrow());
        }
    });
    counted.as_collection()
}

fn add<R: Semigroup>(total: &mut Option<R>, more: &R) {
    match total {
        Some(total) => total.plus_equals(more),
        None => *total = Some(more.clone()),
    }
}

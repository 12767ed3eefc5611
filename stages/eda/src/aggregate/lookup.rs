//! Looks into arrangements.

use std::collections::{BTreeSet, HashSet};

use alluvium_engine::Epoch;
use differential_dataflow::difference::{IsZero, Semigroup};
use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::implementations::KeySpine;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::progress::Antichain;

use super::add::GroupValue;
use super::keys::Group;
use super::operator::{GroupTrace, ValueTrace, first_value};
use super::totals::Totals;

/// What there is of keys for which `wanted` holds, from each of these starts on; as it was at the end of an epoch.
fn read<K, R>(
    trace: &mut TraceAgent<KeySpine<K, Epoch, R>>,
    starts: impl Iterator<Item = (K, impl Fn(&K) -> bool)>,
    epoch: Epoch,
) -> Vec<(K, R)>
where
    K: differential_dataflow::ExchangeData + differential_dataflow::Hashable,
    R: differential_dataflow::ExchangeData + Semigroup + IsZero,
{
    let mut found = Vec::new();
    let Some(batches) = trace.batches_through(Antichain::new().borrow()) else { return found };
    let (mut cursor, storage) = cursor_list(batches);
    for (start, wanted) in starts {
        cursor.seek_key(&storage, &start);
        while let Some(key) = cursor.get_key(&storage).filter(|key| wanted(key)).cloned() {
            let mut total: Option<R> = None;
            cursor.map_times(&storage, |time, diff| {
                if *time <= epoch {
                    match &mut total {
                        Some(total) => total.plus_equals(diff),
                        None => total = Some(diff.clone()),
                    }
                }
            });
            found.extend(total.filter(|t| !t.is_zero()).map(|total| (key, total)));
            cursor.step_key(&storage);
        }
    }
    found
}

/// Groups of one key each, from a time up to another, ascending.
pub(crate) fn groups_between(
    trace: &mut GroupTrace,
    parts: &BTreeSet<(Group, i64)>,
    epoch: Epoch,
) -> Vec<(Group, Totals)> {
    let within = |first: &Group, last: i64| {
        let key = first.0.clone();
        move |group: &Group| group.0 == key && group.1 <= last
    };
    read(trace, parts.iter().map(|(first, last)| (first.clone(), within(first, *last))), epoch)
}

/// All values of these groups.
pub(crate) fn values_of(trace: &mut ValueTrace, groups: &HashSet<Group>, epoch: Epoch) -> Vec<(GroupValue, isize)> {
    let ascending: BTreeSet<&Group> = groups.iter().collect();
    let of = |group: &Group| {
        let group = group.clone();
        move |value: &GroupValue| value.0 == group
    };
    read(trace, ascending.into_iter().map(|group| (first_value(group), of(group))), epoch)
}

/// Lets be forgotten when things changed before an epoch, but not how they were at its beginning; without one everything.
pub(crate) fn compact<T: TraceReader<Time = Epoch>>(trace: &mut T, first: Option<Epoch>) {
    let frontier = Antichain::from_iter(first.map(|epoch| epoch.saturating_sub(1)));
    trace.set_logical_compaction(frontier.borrow());
    trace.set_physical_compaction(frontier.borrow());
}

//! Arrangements on the worker that owns the key. Differential's own go by the whole record, and would have the windows of a
//! key on many workers.

use alluvium_engine::Epoch;
use alluvium_engine::batch::hash;
use differential_dataflow::batcher::merge::MergeBatcher;
use differential_dataflow::batcher::merge::vec::VecMerger;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::operators::arrange::arrangement::arrange_core;
use differential_dataflow::operators::arrange::{Arranged, TraceAgent};
use differential_dataflow::trace::implementations::{
    ContainerChunker, KeyBuilder, KeySpine, ValBatcher, ValBuilder, ValSpine,
};
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Exchange;

use super::merge::InOrder;

/// Brings records into order.
type Batcher<K, R> = MergeBatcher<
    ContainerChunker<Vec<((K, ()), Epoch, R)>>,
    InOrder<VecMerger<(K, ()), Epoch, R>>,
    KeyBuilder<K, Epoch, R>,
>;

/// Who has a record.
pub(crate) type Route<K> = fn(&K) -> u64;

/// By the bytes of a key, as [`owner`](alluvium_engine::batch::owner) wants it.
pub(crate) fn by_key(key: &[u8]) -> u64 {
    hash(key)
}

/// Records as keys.
pub(crate) fn by_self<'scope, K: ExchangeData, R: ExchangeData + Semigroup>(
    records: VecCollection<'scope, Epoch, K, R>,
    name: &str,
    route: Route<K>,
) -> Arranged<'scope, TraceAgent<KeySpine<K, Epoch, R>>> {
    let pact = Exchange::new(move |update: &((K, ()), Epoch, R)| route(&update.0.0));
    arrange_core::<_, _, _, _>(records.map(|record| (record, ())).inner, pact, name, Batcher::new)
}

/// What becomes of all values of each key.
pub(crate) fn reduce<'scope, K, V, V2>(
    records: VecCollection<'scope, Epoch, (K, V), isize>,
    name: &str,
    route: Route<K>,
    logic: impl FnMut(&K, &[(&V, isize)], &mut Vec<(V2, isize)>) + 'static,
) -> VecCollection<'scope, Epoch, (K, V2), isize>
where
    K: ExchangeData,
    V: ExchangeData,
    V2: ExchangeData,
{
    let pact = Exchange::new(move |update: &((K, V), Epoch, isize)| route(&update.0.0));
    let arranged: Arranged<'scope, TraceAgent<ValSpine<K, V, Epoch, isize>>> =
        arrange_core::<_, _, _, _>(records.inner, pact, name, ValBatcher::new);
    arranged
        .reduce_abelian::<_, ValBuilder<K, V2, Epoch, isize>, ValSpine<K, V2, Epoch, isize>, _, _>(
            name,
            logic,
            |batch, key, updates| {
                batch.clear();
                batch.extend(updates.drain(..).map(|(value, time, diff)| ((key.clone(), value), time, diff)));
            },
        )
        .as_collection(|key, value| (key.clone(), value.clone()))
}

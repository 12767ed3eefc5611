//! Merging that need not compare what is in order already, as a restored state is.

use differential_dataflow::batcher::merge::vec::VecMerger;
use differential_dataflow::batcher::merge::{Extractor, Merger};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

/// Differential's merger of vectors, but chains of which one ends before the other begins are put one behind the other. A
/// million restored keys would be compared and moved once for each of a dozen levels of merging.
pub(crate) struct InOrder<M>(M);

impl<M: Default> Default for InOrder<M> {
    fn default() -> Self {
        Self(M::default())
    }
}

/// A chain of sorted chunks.
type Chain<D, T, R> = Vec<Vec<(D, T, R)>>;

/// Whether all of the first chain is before all of the second.
fn before<D: Ord, T: Ord, R>(first: &Chain<D, T, R>, second: &Chain<D, T, R>) -> bool {
    let last = first.iter().rev().find_map(|chunk| chunk.last());
    let next = second.iter().find_map(|chunk| chunk.first());
    last.zip(next).is_none_or(|((d1, t1, _), (d2, t2, _))| (d1, t1) < (d2, t2))
}

impl<D: Ord, T: Ord, R> Merger for InOrder<VecMerger<D, T, R>>
where
    VecMerger<D, T, R>: Merger<Chunk = Vec<(D, T, R)>>,
{
    type Chunk = Vec<(D, T, R)>;

    fn merge(
        &mut self,
        list1: Chain<D, T, R>,
        list2: Chain<D, T, R>,
        output: &mut Chain<D, T, R>,
        stash: &mut Chain<D, T, R>,
    ) {
        let (first, second) = match (before(&list2, &list1), before(&list1, &list2)) {
            (true, _) => (list2, list1),
            (_, true) => (list1, list2),
            _ => return self.0.merge(list1, list2, output, stash),
        };
        output.extend(first);
        output.extend(second);
    }

    fn len(chunk: &Self::Chunk) -> usize {
        chunk.len()
    }
}

impl<D: Ord, T: Ord, R> Extractor for InOrder<VecMerger<D, T, R>>
where
    VecMerger<D, T, R>: Extractor<Chunk = Vec<(D, T, R)>, Time = T>,
{
    type Time = T;

    fn extract(
        &mut self,
        merged: Chain<D, T, R>,
        upper: AntichainRef<'_, T>,
        frontier: &mut Antichain<T>,
        readied: &mut Chain<D, T, R>,
        kept: &mut Chain<D, T, R>,
        stash: &mut Chain<D, T, R>,
    ) {
        self.0.extract(merged, upper, frontier, readied, kept, stash);
    }
}

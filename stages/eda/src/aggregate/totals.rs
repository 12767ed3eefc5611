//! What is kept of a group: one part for each aggregate, added up as differential's difference.
//!
//! Parts that are sums can be taken away again. Those that only compare (the best values, a sketch) cannot; they are used
//! where rows are never taken away, and when a window is closed they meet [`Absorbing::Gone`].

use std::collections::BTreeMap;

use alluvium_engine::stage::StageError;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};

use super::exact::ExactSum;
use super::parts::Parts;

/// A value in the form of Arrow rows, where the order of bytes is the order of values.
pub(crate) type Value = Box<[u8]>;
/// Values, each with how often it is there.
pub(crate) type Counted = Vec<(Value, i64)>;

/// Totals of one group, in the order of the aggregates.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Totals {
    /// Rows of the group. A group without rows is none.
    pub(crate) rows: i64,
    pub(crate) parts: Parts,
}

/// The total of one aggregate, in two words: there is one for each group, in every epoch and on every worker that has rows of it.
#[allow(clippy::box_collection, reason = "a collection is three words, and the counts beside it would be as large")]
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Total {
    Count(i64),
    /// Sum and number of whole numbers. 128 bits hold 2^64 of the greatest ones.
    Whole(Box<(i128, i64)>),
    /// Sum and number of floating point numbers.
    Float(Box<(ExactSum, i64)>),
    /// Sum, sum of squares and number.
    Squares(Box<(ExactSum, ExactSum, i64)>),
    /// The `k` first values.
    Best(Box<(u32, Absorbing<Counted>)>),
    /// How many values fall into a bucket, by its number; none is zero.
    Buckets(Box<Vec<(i32, i64)>>),
    Distinct(Box<Absorbing<Sketch>>),
    /// How often there is each value; none is zero.
    Values(Box<BTreeMap<Value, i64>>),
    /// Found from the values of the group, which are kept apart.
    Apart,
    /// The value that an aggregate of values has come to, and for a list of the best all of them.
    Found(Box<Vec<Value>>),
    /// How often there is each value, while they are few; gone once they are many.
    Frequencies(Box<Absorbing<BTreeMap<Value, i64>>>),
    /// As an aggregate of values has found them.
    Counted(Box<Counted>),
    /// The first value.
    First(Absorbing<Box<Value>>),
}

const _: () = assert!(size_of::<Total>() == 2 * size_of::<usize>());

/// Something that can only grow, until its group goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Absorbing<T> {
    #[default]
    Nothing,
    Some(T),
    /// Whatever is added to it is gone as well.
    Gone,
}

/// With more different values, [`Total::Frequencies`] are gone. A limit on what is kept, and no sketch: whatever the order
/// in which parts are added up, the result is the same, and so what was given can be taken away as it was.
const MOST_DIFFERENT: usize = 4_096;

impl Absorbing<BTreeMap<Value, i64>> {
    /// Counts a value.
    pub(crate) fn count(&mut self, value: &[u8], n: i64) {
        if let Self::Nothing = self {
            *self = Self::Some(BTreeMap::new());
        }
        if let Self::Some(values) = self {
            count_value(values, value, n);
        }
        self.limited();
    }

    fn limited(&mut self) {
        if self.get().is_some_and(|values| values.len() > MOST_DIFFERENT) {
            *self = Self::Gone;
        }
    }
}

impl<T: Clone> Absorbing<T> {
    fn add(&mut self, other: &Self, merge: impl FnOnce(&mut T, &T)) {
        match (&mut *self, other) {
            (Self::Gone, _) | (_, Self::Nothing) => {}
            (_, Self::Gone) => *self = Self::Gone,
            (Self::Nothing, _) => *self = other.clone(),
            (Self::Some(mine), Self::Some(more)) => merge(mine, more),
        }
    }

    /// What takes it away.
    fn taken(&self) -> Self {
        if let Self::Nothing = self { Self::Nothing } else { Self::Gone }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if let Self::Some(value) = self { Some(value) } else { None }
    }
}

/// 2^12 registers: a standard error of 1.6 %.
const REGISTERS_LOG: u8 = 12;

/// A sketch of distinct values (HyperLogLog), serialised; the same bytes do not follow from the same values, but the same
/// estimate does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sketch(Vec<u8>);

impl Sketch {
    /// Of these values; nothing if the library refuses its own parameters.
    pub(crate) fn of<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<Self> {
        let mut sketch = HllSketch::new(REGISTERS_LOG, HllType::Hll4).ok()?;
        values.for_each(|v| sketch.update(v));
        Some(Self(sketch.serialize()))
    }

    fn merge(&mut self, other: &Self) {
        let merged = || {
            let mut union = HllUnion::new(REGISTERS_LOG).ok()?;
            union.update(&HllSketch::deserialize(&self.0).ok()?);
            union.update(&HllSketch::deserialize(&other.0).ok()?);
            Some(union.to_sketch(HllType::Hll4).serialize())
        };
        if let Some(bytes) = merged() {
            self.0 = bytes;
        }
    }

    /// About how many distinct values there were, whatever their order.
    pub(crate) fn estimate(&self) -> Option<i64> {
        HllSketch::deserialize(&self.0).ok().map(|s| s.composite_estimate().round() as i64)
    }
}

impl Total {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a += b,
            (Self::Whole(a), Self::Whole(b)) => {
                a.0 += b.0;
                a.1 += b.1;
            }
            (Self::Float(a), Self::Float(b)) => {
                a.0.add(&b.0);
                a.1 += b.1;
            }
            (Self::Squares(a), Self::Squares(b)) => {
                a.0.add(&b.0);
                a.1.add(&b.1);
                a.2 += b.2;
            }
            (Self::Best(a), Self::Best(b)) => {
                let (k, mine) = a.as_mut();
                mine.add(&b.1, |mine, more| merge_best(*k, mine, more));
            }
            (Self::Buckets(a), Self::Buckets(b)) => merge_buckets(a, b),
            (Self::Distinct(a), Self::Distinct(b)) => a.add(b, Sketch::merge),
            (Self::Values(a), Self::Values(b)) => count_all(a, b),
            (Self::Frequencies(a), Self::Frequencies(b)) => {
                a.add(b, count_all);
                a.limited();
            }
            (Self::First(a), Self::First(b)) => a.add(b, |mine, more| {
                if more < mine {
                    mine.clone_from(more);
                }
            }),
            // Totals of one stage have one shape.
            _ => {}
        }
    }

    /// What takes this away again.
    fn negated(&self) -> Self {
        match self {
            Self::Count(n) => Self::Count(-n),
            Self::Whole(sum) => Self::Whole(Box::new((-sum.0, -sum.1))),
            Self::Float(sum) => Self::Float(Box::new((sum.0.times(-1), -sum.1))),
            Self::Squares(sums) => Self::Squares(Box::new((sums.0.times(-1), sums.1.times(-1), -sums.2))),
            Self::Best(best) => Self::Best(Box::new((best.0, best.1.taken()))),
            Self::Buckets(buckets) => {
                Self::Buckets(Box::new(buckets.iter().map(|(bucket, n)| (*bucket, -n)).collect()))
            }
            Self::Distinct(sketch) => Self::Distinct(Box::new(sketch.taken())),
            Self::Values(values) => {
                Self::Values(Box::new(values.iter().map(|(value, n)| (value.clone(), -n)).collect()))
            }
            Self::Apart => Self::Apart,
            Self::Found(_) => Self::Found(Box::default()),
            Self::Frequencies(values) => Self::Frequencies(Box::new(values.taken())),
            Self::Counted(_) => Self::Counted(Box::default()),
            Self::First(first) => Self::First(first.taken()),
        }
    }

    fn is_nothing(&self) -> bool {
        match self {
            Self::Count(n) => *n == 0,
            Self::Whole(sum) => **sum == (0, 0),
            Self::Float(sum) => sum.1 == 0 && sum.0 == ExactSum::default(),
            Self::Squares(sums) => sums.2 == 0 && sums.0 == ExactSum::default() && sums.1 == ExactSum::default(),
            Self::Best(best) => best.1.get().is_none(),
            Self::Buckets(buckets) => buckets.is_empty(),
            Self::Distinct(sketch) => sketch.get().is_none(),
            Self::Values(values) => values.is_empty(),
            Self::Apart => true,
            Self::Found(values) => values.is_empty(),
            Self::Frequencies(values) => values.get().is_none(),
            Self::Counted(values) => values.is_empty(),
            Self::First(first) => first.get().is_none(),
        }
    }
}

pub(crate) fn count_value(values: &mut BTreeMap<Value, i64>, value: &[u8], n: i64) {
    match values.get_mut(value) {
        Some(count) if *count + n == 0 => drop(values.remove(value)),
        Some(count) => *count += n,
        None if n != 0 => drop(values.insert(value.into(), n)),
        None => {}
    }
}

fn count_all(mine: &mut BTreeMap<Value, i64>, more: &BTreeMap<Value, i64>) {
    more.iter().for_each(|(value, n)| count_value(mine, value, *n));
}

/// Keeps the first values whose counts add up to `k`.
pub(crate) fn merge_best(k: u32, mine: &mut Counted, more: &[(Value, i64)]) {
    for (value, n) in more {
        match mine.binary_search_by(|(v, _)| v.cmp(value)) {
            Ok(at) => mine[at].1 += n,
            Err(at) => mine.insert(at, (value.clone(), *n)),
        }
    }
    let mut room = i64::from(k);
    mine.retain(|(_, n)| {
        let needed = room > 0;
        room -= n;
        needed
    });
}

fn merge_buckets(mine: &mut Vec<(i32, i64)>, more: &[(i32, i64)]) {
    for (bucket, n) in more {
        match mine.binary_search_by_key(bucket, |(b, _)| *b) {
            Ok(at) if mine[at].1 + n == 0 => drop(mine.remove(at)),
            Ok(at) => mine[at].1 += n,
            Err(at) => mine.insert(at, (*bucket, *n)),
        }
    }
}

impl IsZero for Totals {
    /// What only compares is nothing when the rows are: what takes a window away brings minus its rows along.
    fn is_zero(&self) -> bool {
        self.rows == 0 && self.parts.iter().all(Total::is_nothing)
    }
}

impl Semigroup for Totals {
    fn plus_equals(&mut self, other: &Self) {
        self.rows += other.rows;
        for (total, more) in self.parts.iter_mut().zip(other.parts.iter()) {
            total.add(more);
        }
    }
}

impl Totals {
    /// What takes a group away.
    pub(crate) fn negated(&self) -> Self {
        Self { rows: -self.rows, parts: self.parts.iter().map(Total::negated).collect() }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, StageError> {
        postcard::to_allocvec(self).map_err(|e| StageError::internal("totals cannot be encoded").because(e))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StageError> {
        let damaged = |e| StageError::external("the stage's state is damaged").because(e);
        let mut totals: Self = postcard::from_bytes(bytes).map_err(damaged)?;
        for total in totals.parts.iter_mut() {
            // One value was a list, too, when older states were written.
            if let Total::Best(best) = total
                && let (1, best) = best.as_ref()
            {
                *total = Total::First(match best {
                    Absorbing::Some(values) => {
                        values.first().map_or(Absorbing::Nothing, |(value, _)| Absorbing::Some(Box::new(value.clone())))
                    }
                    Absorbing::Nothing => Absorbing::Nothing,
                    Absorbing::Gone => Absorbing::Gone,
                });
            }
        }
        Ok(totals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_one_value_in_an_older_state_is_that_value() {
        let kept = |values: &[&[u8]]| Absorbing::Some(values.iter().map(|v| (Value::from(*v), 1)).collect());
        let lists = [(1, kept(&[b"a"])), (1, Absorbing::Nothing), (1, Absorbing::Gone), (2, kept(&[b"a", b"b"]))];
        let older = Totals { rows: 3, parts: lists.iter().cloned().map(|list| Total::Best(Box::new(list))).collect() };
        let expected = [
            Total::First(Absorbing::Some(Box::new(Value::from(*b"a")))),
            Total::First(Absorbing::Nothing),
            Total::First(Absorbing::Gone),
            Total::Best(Box::new((2, kept(&[b"a", b"b"])))),
        ];
        let read = Totals::decode(&older.encode().unwrap()).unwrap();
        assert_eq!(read, Totals { rows: 3, parts: expected.into_iter().collect() });
    }
}

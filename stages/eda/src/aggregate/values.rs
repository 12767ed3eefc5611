//! Aggregates of all values of a group, found by looking at its values when it has changed.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_engine::Epoch;
use alluvium_engine::arrow::row::RowConverter;
use alluvium_engine::stage::StageError;
use differential_dataflow::VecCollection;
use differential_dataflow::trace::cursor::cursor_list;
use differential_dataflow::trace::{Cursor, TraceReader};
use timely::progress::Antichain;

use super::add::{GroupValue, orders};
use super::column::{Column, Kept};
use super::definition::Function;
use super::found::found;
use super::keys::Group;
use super::operator::ValueTrace;
use super::totals::{Total, Totals, Value};

/// How often there is each value.
pub(crate) type Counted<'scope> = VecCollection<'scope, Epoch, (GroupValue, isize), isize>;

/// For each aggregate whose values are kept apart, those that ask for them: itself, and those that share them.
pub(crate) fn asking(columns: &[Column], wanted: fn(&Function) -> bool) -> Vec<Vec<u16>> {
    let mut who = vec![Vec::new(); columns.len()];
    for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.kept == Kept::Apart && wanted(&c.function)) {
        if let (Some(who), Ok(at)) = (who.get_mut(column.shared.unwrap_or(at)), u16::try_from(at)) {
            who.push(at);
        }
    }
    who
}

/// Whether values are looked at, and not only counted.
pub(crate) fn looked_at(function: &Function) -> bool {
    !matches!(function, Function::CountDistinct { .. })
}

/// What the aggregates of a group's values come to.
pub(crate) type Found = Vec<(usize, Total)>;

/// Finds aggregates of values.
pub(crate) struct Finder {
    columns: Vec<Column>,
    orders: Vec<Option<RowConverter>>,
    /// By the number under which values are kept: who asks for them, and how many of the first values are enough for all.
    asked: BTreeMap<u16, (Vec<u16>, Option<i64>)>,
}

/// How often a value was there before an epoch, and is after it.
type Counts<'t> = (&'t Value, [i64; 2]);

impl Finder {
    /// Nothing if no aggregate looks at values.
    pub(crate) fn new(columns: &[Column]) -> Result<Option<Self>, StageError> {
        let enough = |who: &[u16]| {
            let first = |at: &u16| match columns.get(usize::from(*at)) {
                Some(c) if matches!(c.function, Function::Min | Function::Max | Function::Best { .. }) => {
                    Some(i64::from(c.wanted()))
                }
                _ => None,
            };
            who.iter().map(first).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
        };
        let asking = (0..).zip(asking(columns, looked_at)).filter(|(_, who)| !who.is_empty());
        let asked: BTreeMap<u16, _> = asking.map(|(at, who)| (at, (who.clone(), enough(&who)))).collect();
        if asked.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { columns: columns.to_vec(), orders: orders(columns)?, asked }))
    }

    /// Whether these values are looked at.
    pub(crate) fn looks_at(&self, column: u16) -> bool {
        self.asked.contains_key(&column)
    }

    /// What the aggregates of each group were before an epoch, and are after it.
    pub(crate) fn find<'g>(
        &self,
        trace: &mut ValueTrace,
        groups: &BTreeSet<&'g Group>,
        epoch: Epoch,
    ) -> Result<BTreeMap<&'g Group, [Found; 2]>, StageError> {
        let batches = trace
            .batches_through(Antichain::new().borrow())
            .ok_or_else(|| StageError::internal("the values of groups are not kept"))?;
        let (mut cursor, storage) = cursor_list(batches);
        let mut all = BTreeMap::new();
        for group in groups {
            let mut of_group = [Found::new(), Found::new()];
            for (number, (who, enough)) in &self.asked {
                let mut values: Vec<Counts<'_>> = Vec::new();
                let mut seen = [0, 0];
                cursor.seek_key(&storage, &((*group).clone(), *number, Value::from([])));
                while let Some((of, at, value)) = cursor.get_key(&storage)
                    && of == *group
                    && at == number
                    && enough.is_none_or(|enough| seen.iter().any(|n| *n < enough))
                {
                    let mut counts = [0, 0];
                    cursor.map_times(&storage, |time, diff| {
                        let diff = *diff as i64;
                        counts[0] += if *time < epoch { diff } else { 0 };
                        counts[1] += if *time <= epoch { diff } else { 0 };
                    });
                    if counts != [0, 0] {
                        seen.iter_mut().zip(counts).for_each(|(seen, n)| *seen += n);
                        values.push((value, counts));
                    }
                    cursor.step_key(&storage);
                }
                for at in who.iter().map(|at| usize::from(*at)) {
                    let (Some(column), Some(Some(order))) = (self.columns.get(at), self.orders.get(at)) else {
                        continue;
                    };
                    for (when, of_group) in of_group.iter_mut().enumerate() {
                        let values = values.iter().map(|(value, counts)| (*value, counts[when]));
                        of_group.push((at, found(column, order, values)?));
                    }
                }
            }
            all.insert(*group, of_group);
        }
        Ok(all)
    }
}

/// Totals with what was found.
pub(crate) fn filled(mut totals: Totals, found: &Found) -> Totals {
    for (at, found) in found {
        if let Some(total) = totals.parts.get_mut(*at) {
            *total = found.clone();
        }
    }
    totals
}

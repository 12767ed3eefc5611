//! Aggregates of all values of a group: what changes is found without looking at values that do not matter.

use std::cmp::Reverse;
use std::rc::Rc;

use alluvium_engine::arrow::row::RowConverter;
use alluvium_engine::batch::hash;
use alluvium_engine::bridge::Faults;
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use super::add::{GroupValue, orders};
use super::arrange::{by_key, reduce};
use super::column::{Column, Kept};
use super::definition::Function;
use super::found::{best, found};
use super::keys::Group;
use super::totals::{Total, Totals, Value};
use alluvium_engine::Epoch;
use alluvium_engine::stage::StageError;

/// How often there is each value.
pub(crate) type Counted<'scope> = VecCollection<'scope, Epoch, (GroupValue, isize), isize>;

/// Parts of a group's row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Piece {
    Totals(Totals),
    /// Of an aggregate, by its number: a value, and how often it is there.
    Value(u16, Value, i64),
}

/// Groups of values are cut into parts by a hash, and the best of the parts compete again: so a change looks at hundreds of
/// values and not at all of its group. Bits that are left after each round.
const ROUNDS: [u32; 2] = [12, 6];

/// A part of the values of an aggregate: a large group is work for all workers.
type Part = ((Group, u16), u64);

fn by_part(((group, _), part): &Part) -> u64 {
    by_key(&group.0).wrapping_add(*part)
}

/// Distinct values as what they add to the totals of their groups.
pub(crate) fn distinct<'scope>(
    counted: Counted<'scope>,
    columns: &[Column],
) -> VecCollection<'scope, Epoch, (Group, Totals), isize> {
    let nothing = Totals { rows: 0, parts: columns.iter().map(Column::nothing).collect() };
    let wanted: Vec<bool> =
        columns.iter().map(|c| c.kept == Kept::Apart && matches!(c.function, Function::CountDistinct { .. })).collect();
    counted.filter(move |((_, column, _), n)| *n > 0 && wanted.get(usize::from(*column)).copied().unwrap_or(false)).map(
        move |((group, column, _), _)| {
            let mut totals = nothing.clone();
            if let Some(Total::Count(n)) = totals.parts.get_mut(usize::from(column)) {
                *n = 1;
            }
            (group, totals)
        },
    )
}

/// The pieces that decide the aggregates of values; nothing if there is none but distinct counts.
pub(crate) fn pieces<'scope>(
    counted: Counted<'scope>,
    columns: &[Column],
) -> Option<VecCollection<'scope, Epoch, (Group, Piece), isize>> {
    let of = |wanted: fn(&Function) -> bool| -> Vec<bool> {
        columns.iter().map(|c| c.kept == Kept::Apart && wanted(&c.function)).collect()
    };
    let has = |flags: &[bool], column: u16| flags.get(usize::from(column)).copied().unwrap_or(false);
    let all = of(|f| matches!(f, Function::Quantile { .. }));
    let modes = of(|f| matches!(f, Function::Mode));
    let firsts = of(|f| matches!(f, Function::Min | Function::Max | Function::Best { .. }));
    let wanted: Vec<u32> = columns.iter().map(Column::wanted).collect();
    let counted = counted.filter(|(_, n)| *n > 0);
    let piece = |((group, column, value), n): (GroupValue, isize)| (group, Piece::Value(column, value, n as i64));
    let mut pieces = Vec::new();
    if all.contains(&true) {
        pieces.push(counted.clone().filter(move |((_, column, _), _)| has(&all, *column)).map(piece));
    }
    if firsts.contains(&true) {
        let mut left = counted
            .clone()
            .filter(move |((_, column, _), _)| has(&firsts, *column))
            .map(|((group, column, value), n)| (((group, column), hash(&value)), (value, n)));
        for bits in ROUNDS {
            let wanted = wanted.clone();
            let parts = left.map(move |((group, hash), value)| ((group, hash & ((1 << bits) - 1)), value));
            left = reduce(parts, "the first of a part", by_part, move |((_, column), _), values, out| {
                let mut room = wanted.get(usize::from(*column)).copied().unwrap_or(1) as isize;
                for ((value, n), _) in values.iter().map(|(v, d)| (*v, d)) {
                    if room <= 0 {
                        break;
                    }
                    out.push(((value.clone(), *n), 1));
                    room -= n;
                }
            });
        }
        pieces.push(left.map(move |(((group, column), _), (value, n))| piece(((group, column, value), n))));
    }
    if modes.contains(&true) {
        let mut left = counted
            .filter(move |((_, column, _), _)| has(&modes, *column))
            .map(|((group, column, value), n)| (((group, column), hash(&value)), (Reverse(n), value)));
        for bits in ROUNDS {
            let parts = left.map(move |((group, hash), value)| ((group, hash & ((1 << bits) - 1)), value));
            left = reduce(parts, "the most frequent of a part", by_part, |_, values, out| {
                out.extend(values.first().map(|(first, _)| ((*first).clone(), 1)));
            });
        }
        pieces.push(left.map(move |(((group, column), _), (Reverse(n), value))| piece(((group, column, value), n))));
    }
    let first = pieces.pop()?;
    Some(first.concatenate(pieces))
}

/// Totals whose aggregates of values are found.
pub(crate) fn put_together<'scope>(
    pieces: VecCollection<'scope, Epoch, (Group, Piece), isize>,
    columns: Vec<Column>,
    faults: Faults,
) -> Result<VecCollection<'scope, Epoch, (Group, Totals), isize>, StageError> {
    let orders = Rc::new(orders(&columns)?);
    Ok(reduce(
        pieces,
        "put together",
        |group| by_key(&group.0),
        move |_, pieces, out| {
            let (mut totals, mut values) = (None, Vec::new());
            for (piece, _) in pieces {
                match piece {
                    Piece::Totals(t) => totals = Some(t.clone()),
                    Piece::Value(column, value, n) => values.push((*column, value, *n)),
                }
            }
            // Without totals the group has no rows: what is left are values on their way out.
            let Some(mut totals) = totals else { return };
            match fill(&mut totals, &values, &columns, &orders) {
                Ok(()) => out.push((totals, 1)),
                Err(error) => faults.raise(None, error),
            }
        },
    ))
}

/// `values` by column, in the order of bytes.
fn fill(
    totals: &mut Totals,
    values: &[(u16, &Value, i64)],
    columns: &[Column],
    orders: &[Option<RowConverter>],
) -> Result<(), StageError> {
    for (at, ((total, column), order)) in totals.parts.iter_mut().zip(columns).zip(orders).enumerate() {
        if let (Total::Apart, Some(order)) = (&total, order) {
            let mine =
                values.iter().filter(|(column, ..)| usize::from(*column) == at).map(|(_, value, n)| (*value, *n));
            *total = match column.function {
                Function::Mode | Function::Quantile { .. } => found(column, order, mine)?,
                _ => Total::Found(best(column.wanted(), mine)),
            };
        }
    }
    Ok(())
}

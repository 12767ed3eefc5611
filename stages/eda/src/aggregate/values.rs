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

/// The pieces that decide the aggregates of values; nothing if there is none but distinct counts.
pub(crate) fn pieces<'scope>(
    counted: Counted<'scope>,
    columns: &[Column],
) -> Option<VecCollection<'scope, Epoch, (Group, Piece), isize>> {
    let all = asking(columns, |f| matches!(f, Function::Quantile { .. }));
    let modes = asking(columns, |f| matches!(f, Function::Mode | Function::MostFrequent { .. }));
    let firsts = asking(columns, |f| matches!(f, Function::Min | Function::Max | Function::Best { .. }));
    let some = |who: &[Vec<u16>]| who.iter().any(|who| !who.is_empty());
    let wanted: Vec<u32> = columns.iter().map(Column::wanted).collect();
    let counted = counted.filter(|(_, n)| *n > 0);
    let piece = |((group, column, value), n): (GroupValue, isize)| (group, Piece::Value(column, value, n as i64));
    let mut pieces = Vec::new();
    if some(&all) {
        // Whoever asks for all of them finds them under the first number.
        let asked = move |column: u16| all.get(usize::from(column)).is_some_and(|who| !who.is_empty());
        pieces.push(counted.clone().filter(move |((_, column, _), _)| asked(*column)).map(piece));
    }
    if some(&firsts) {
        let mut left = counted.clone().flat_map(move |((group, column, value), n)| {
            let who = firsts.get(usize::from(column)).cloned().unwrap_or_default();
            who.into_iter().map(move |at| (((group.clone(), at), hash(&value)), (value.clone(), n)))
        });
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
    if some(&modes) {
        let mut left = counted.flat_map(move |((group, column, value), n)| {
            let who = modes.get(usize::from(column)).cloned().unwrap_or_default();
            who.into_iter().map(move |at| (((group.clone(), at), hash(&value)), (Reverse(n), value.clone())))
        });
        for bits in ROUNDS {
            let wanted = wanted.clone();
            let parts = left.map(move |((group, hash), value)| ((group, hash & ((1 << bits) - 1)), value));
            left = reduce(parts, "the most frequent of a part", by_part, move |((_, column), _), values, out| {
                let k = wanted.get(usize::from(*column)).copied().unwrap_or(1) as usize;
                out.extend(values.iter().take(k).map(|(value, _)| ((*value).clone(), 1)));
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

/// `values` by column, in the order of bytes. Under the number of an aggregate may be more of its values than it asked for.
fn fill(
    totals: &mut Totals,
    values: &[(u16, &Value, i64)],
    columns: &[Column],
    orders: &[Option<RowConverter>],
) -> Result<(), StageError> {
    for (at, ((total, column), order)) in totals.parts.iter_mut().zip(columns).zip(orders).enumerate() {
        if let (Total::Apart, Some(order)) = (&total, order) {
            let at = match column.function {
                Function::Quantile { .. } => column.shared.unwrap_or(at),
                _ => at,
            };
            let first = values.partition_point(|(column, ..)| usize::from(*column) < at);
            let mine = values.iter().skip(first).take_while(|(column, ..)| usize::from(*column) == at);
            let mine = mine.map(|(_, value, n)| (*value, *n));
            *total = match column.function {
                Function::Mode | Function::MostFrequent { .. } | Function::Quantile { .. } => {
                    found(column, order, mine)?
                }
                _ => Total::Found(best(column.wanted(), mine)),
            };
        }
    }
    Ok(())
}

//! Aggregates of all values of a group.

use std::cmp::Reverse;

use alluvium_engine::arrow::array::AsArray;
use alluvium_engine::arrow::datatypes::Float64Type;
use alluvium_engine::arrow::row::RowConverter;
use alluvium_engine::stage::StageError;

use super::column::Column;
use super::definition::Function;
use super::totals::{Total, Value};
use crate::form::broken;

/// What an aggregate is of these values, which come in its order, each with how often it is there.
pub(crate) fn found<'v>(
    column: &Column,
    order: &RowConverter,
    values: impl Iterator<Item = (&'v Value, i64)> + Clone,
) -> Result<Total, StageError> {
    let values = values.filter(|(_, n)| *n > 0);
    Ok(match column.function {
        Function::CountDistinct { .. } => Total::Count(i64::try_from(values.count()).unwrap_or(i64::MAX)),
        Function::Mode => Total::Found(Box::new(frequent(1, values).into_iter().map(|(value, _)| value).collect())),
        Function::MostFrequent { k, .. } => Total::Counted(Box::new(frequent(k, values))),
        Function::Quantile { at, .. } => {
            let value = quantile(order, values, at)?;
            Total::Found(Box::new(value.map(|v| Value::from(v.to_le_bytes())).into_iter().collect()))
        }
        _ => Total::Found(Box::new(best(column.wanted(), values))),
    })
}

/// The `k` most frequent values, the most frequent first; of equally frequent ones the first, that is the least.
pub(crate) fn frequent<'v>(k: u32, values: impl Iterator<Item = (&'v Value, i64)>) -> Vec<(Value, i64)> {
    let mut all: Vec<(Reverse<i64>, &Value)> = values.map(|(value, n)| (Reverse(n), value)).collect();
    let k = usize::try_from(k).unwrap_or(usize::MAX);
    if k < all.len() {
        all.select_nth_unstable(k);
        all.truncate(k);
    }
    all.sort_unstable();
    all.into_iter().map(|(Reverse(n), value)| (value.clone(), n)).collect()
}

/// The first `k` values.
pub(crate) fn best<'v>(k: u32, values: impl Iterator<Item = (&'v Value, i64)>) -> Vec<Value> {
    let mut best = Vec::new();
    let k = usize::try_from(k).unwrap_or(usize::MAX);
    for (value, n) in values {
        let room = k - best.len();
        best.extend(std::iter::repeat_n(value.clone(), usize::try_from(n).unwrap_or(usize::MAX).min(room)));
        if best.len() == k {
            break;
        }
    }
    best
}

/// The value at a share of all values, between the two nearest in proportion.
fn quantile<'v>(
    order: &RowConverter,
    values: impl Iterator<Item = (&'v Value, i64)> + Clone,
    at: f64,
) -> Result<Option<f64>, StageError> {
    let all: i64 = values.clone().map(|(_, n)| n).sum();
    if all == 0 {
        return Ok(None);
    }
    let rank = at * (all - 1) as f64;
    let (low, high) = (rank.floor() as i64, rank.ceil() as i64);
    let mut until = 0;
    let mut ends = values.map(|(value, n)| {
        until += n;
        (value, until)
    });
    let Some((first, until)) = ends.find(|(_, until)| *until > low) else { return Ok(None) };
    let second = if until > high { Some(first) } else { ends.next().map(|(value, _)| value) };
    let number = |value: &Value| {
        let arrays = order.convert_rows([order.parser().parse(value)]).map_err(broken)?;
        Ok::<_, StageError>(arrays.first().map_or(f64::NAN, |a| a.as_primitive::<Float64Type>().value(0)))
    };
    let low = number(first)?;
    let high = second.map(number).transpose()?.unwrap_or(low);
    let share = rank - rank.floor();
    Ok(Some(if low == high || share == 0.0 { low } else { low + (high - low) * share }))
}

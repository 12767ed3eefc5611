//! Rows to what they add to their groups.

use std::collections::HashMap;

use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch};
use alluvium_engine::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use alluvium_engine::arrow::row::{RowConverter, Rows};
use alluvium_engine::stage::{StageError, diffs};

use super::buckets::Buckets;
use super::column::{Column, Kept};
use super::definition::Function;
use super::exact::ExactSum;
use super::keys::{Group, canonical, form};
use super::shape::{Shape, Timed};
use super::totals::{Absorbing, Sketch, Total, Totals, Value, count_value, merge_best};
use crate::form::{Form, broken};

/// A value of a group, with the aggregate that asks for it.
pub(crate) type GroupValue = (Group, u16, Value);

/// What an epoch adds to groups.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) groups: HashMap<Group, Totals>,
    pub(crate) values: HashMap<GroupValue, i64>,
}

/// Adds up rows.
pub(crate) struct Adder {
    keys: Form,
    key_columns: usize,
    /// For each aggregate that compares, the form of its values.
    orders: Vec<Option<RowConverter>>,
    columns: Vec<Column>,
    buckets: Vec<Buckets>,
    window: Option<Timed>,
}

/// An argument's values, ready to be taken row by row.
enum Values {
    /// Another aggregate takes them.
    Elsewhere,
    /// Every row counts.
    Rows,
    /// Rows with a value count.
    Present(ArrayRef),
    Whole(Int64Array),
    Float(Float64Array),
    /// Values to compare, and which rows have one.
    Ordered(Rows, ArrayRef),
}

impl Adder {
    pub(crate) fn new(shape: &Shape) -> Result<Self, StageError> {
        Ok(Self {
            keys: form(shape.keys())?,
            key_columns: shape.keys().len(),
            orders: orders(&shape.columns)?,
            columns: shape.columns.clone(),
            buckets: shape.columns.iter().map(|c| Buckets::of(&c.function)).collect(),
            window: shape.window,
        })
    }

    /// Adds projected rows to their groups, in those of their windows that are open at this watermark.
    pub(crate) fn add(
        &self,
        batch: &RecordBatch,
        watermark: Option<i64>,
        into: &mut Gathered,
    ) -> Result<(), StageError> {
        let keys =
            self.keys.encode(&batch.columns().iter().take(self.key_columns).map(canonical).collect::<Vec<_>>())?;
        let values = self.columns.iter().zip(&self.orders).map(|(c, order)| values(c, order.as_ref(), batch));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let filters: Vec<Option<&BooleanArray>> =
            self.columns.iter().map(|c| c.filter.map(|i| batch.column(i).as_boolean())).collect();
        let numbers = diffs(batch)?;
        let times = self.window.map(|w| (w.windows, batch.column(w.time).as_primitive::<TimestampMicrosecondType>()));
        for row in 0..batch.num_rows() {
            let n = numbers.map_or(1, |numbers| numbers.value(row));
            let mut add = |time: i64| {
                let group = (keys.row(row), time);
                self.row(row, n, group, &values, &filters, into);
            };
            match times {
                None => add(0),
                // Rows that are in no window are not among these.
                Some((windows, times)) => windows
                    .kept(times.value(row))
                    .into_iter()
                    .flatten()
                    .filter(|time| watermark.is_none_or(|w| windows.ends(*time) > w))
                    .for_each(add),
            }
        }
        Ok(())
    }

    fn row(
        &self,
        row: usize,
        n: i64,
        group: Group,
        values: &[Values],
        filters: &[Option<&BooleanArray>],
        into: &mut Gathered,
    ) {
        let taken = |filter: &Option<&BooleanArray>| filter.is_none_or(|f| f.is_valid(row) && f.value(row));
        for (at, ((column, values), filter)) in self.columns.iter().zip(values).zip(filters).enumerate() {
            if let (Kept::Apart, Values::Ordered(rows, given), true) = (column.kept, values, taken(filter))
                && given.is_valid(row)
            {
                let value: GroupValue =
                    (group.clone(), u16::try_from(at).unwrap_or(u16::MAX), rows.row(row).data().into());
                *into.values.entry(value).or_default() += n;
            }
        }
        let totals = into.groups.entry(group).or_insert_with(|| self.nothing());
        totals.rows += n;
        for ((total, values), (filter, buckets)) in
            totals.parts.iter_mut().zip(values).zip(filters.iter().zip(&self.buckets))
        {
            if taken(filter) {
                values.add(row, n, total, buckets);
            }
        }
    }

    fn nothing(&self) -> Totals {
        let nothing = |c: &Column| match c.nothing() {
            // A sketch is made at once of all values of the epoch.
            Total::Distinct(_) => Total::Values(Box::default()),
            total => total,
        };
        Totals { rows: 0, parts: self.columns.iter().map(nothing).collect() }
    }

    /// The totals as they go on.
    pub(crate) fn finished(&self, mut totals: Totals) -> Totals {
        for (total, column) in totals.parts.iter_mut().zip(&self.columns) {
            if let (Total::Values(values), Kept::Best) = (&*total, column.kept) {
                let sketch = if values.is_empty() { None } else { Sketch::of(values.keys().map(AsRef::as_ref)) };
                *total = Total::Distinct(Box::new(sketch.map_or(Absorbing::Nothing, Absorbing::Some)));
            }
        }
        totals
    }
}

/// The forms of values that are compared.
pub(crate) fn orders(columns: &[Column]) -> Result<Vec<Option<RowConverter>>, StageError> {
    columns.iter().map(|c| c.order().map(RowConverter::new).transpose().map_err(broken)).collect()
}

fn values(column: &Column, order: Option<&RowConverter>, batch: &RecordBatch) -> Result<Values, StageError> {
    if column.shared.is_some() {
        return Ok(Values::Elsewhere);
    }
    let Some(argument) = column.arguments.first().map(|&i| batch.column(i)) else { return Ok(Values::Rows) };
    if let Some(order) = order {
        let all: Vec<ArrayRef> = column.arguments.iter().map(|&i| canonical(batch.column(i))).collect();
        return Ok(Values::Ordered(order.convert_columns(&all).map_err(broken)?, argument.clone()));
    }
    Ok(match column.function {
        Function::Count => Values::Present(argument.clone()),
        _ if column.input().is_floating() => Values::Float(argument.as_primitive::<Float64Type>().clone()),
        _ => Values::Whole(argument.as_primitive::<Int64Type>().clone()),
    })
}

impl Values {
    fn add(&self, row: usize, n: i64, total: &mut Total, buckets: &Buckets) {
        match (self, total) {
            (Self::Rows, Total::Count(count)) => *count += n,
            (Self::Present(values), Total::Count(count)) => *count += if values.is_valid(row) { n } else { 0 },
            (Self::Whole(values), Total::Whole(sum)) if values.is_valid(row) => {
                sum.0 += i128::from(values.value(row)) * i128::from(n);
                sum.1 += n;
            }
            (Self::Float(values), Total::Float(sum)) if values.is_valid(row) => {
                sum.0.add(&ExactSum::of(values.value(row)).times(n));
                sum.1 += n;
            }
            (Self::Float(values), Total::Squares(sums)) if values.is_valid(row) => {
                sums.0.add(&ExactSum::of(values.value(row)).times(n));
                sums.1.add(&ExactSum::of_square(values.value(row)).times(n));
                sums.2 += n;
            }
            (Self::Float(values), Total::Buckets(counts)) if values.is_valid(row) => {
                let bucket = buckets.bucket(values.value(row));
                match counts.binary_search_by_key(&bucket, |(b, _)| *b) {
                    Ok(at) => counts[at].1 += n,
                    Err(at) => counts.insert(at, (bucket, n)),
                }
            }
            (Self::Ordered(rows, given), Total::First(first)) if given.is_valid(row) => {
                let value = rows.row(row).data();
                if first.get().is_none_or(|first| *value < ***first) {
                    *first = Absorbing::Some(Box::new(value.into()));
                }
            }
            (Self::Ordered(rows, given), Total::Best(best)) if given.is_valid(row) => {
                let (k, best) = best.as_mut();
                offer(*k, best, rows.row(row).data(), n);
            }
            (Self::Ordered(rows, given), Total::Frequencies(values)) if given.is_valid(row) => {
                values.count(rows.row(row).data(), n);
            }
            (Self::Ordered(rows, given), Total::Values(values)) if given.is_valid(row) => {
                count_value(values, rows.row(row).data(), n);
            }
            _ => {}
        }
    }
}

fn offer(k: u32, best: &mut Absorbing<Vec<(Value, i64)>>, value: &[u8], n: i64) {
    match best {
        Absorbing::Some(mine) => {
            let full = mine.iter().map(|(_, n)| n).sum::<i64>() >= i64::from(k);
            if !full || mine.last().is_none_or(|(last, _)| *value < **last) {
                merge_best(k, mine, &[(value.into(), n)]);
            }
        }
        _ => *best = Absorbing::Some(vec![(value.into(), n)]),
    }
}

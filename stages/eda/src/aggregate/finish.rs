//! Totals to the columns of rows.

use std::sync::Arc;

use alluvium_engine::arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use alluvium_engine::arrow::buffer::{NullBuffer, OffsetBuffer};
use alluvium_engine::arrow::datatypes::{DataType, Field, SchemaRef};
use alluvium_engine::arrow::row::RowConverter;
use alluvium_engine::stage::{StageError, with_diff};

use super::add::orders;
use super::buckets;
use super::column::{Column, Kept, bucket_fields, frequency_fields};
use super::definition::Function;
use super::exact;
use super::found::{best, found, frequent};
use super::keys::{Group, form};
use super::shape::Shape;
use super::totals::{Absorbing, Total, Totals, Value};
use crate::form::{Form, broken};

/// A row of the output: its group, the end of its window if it has one, its totals, and how often it comes or goes.
pub(crate) type Row = (Group, i64, Totals, i64);

/// Makes rows.
pub(crate) struct Finisher {
    keys: Form,
    orders: Vec<Option<RowConverter>>,
    columns: Vec<Column>,
    windowed: bool,
    output: SchemaRef,
}

impl Finisher {
    pub(crate) fn new(shape: &Shape) -> Result<Self, StageError> {
        Ok(Self {
            keys: form(shape.keys())?,
            orders: orders(&shape.columns)?,
            columns: shape.columns.clone(),
            windowed: shape.window.is_some(),
            output: with_diff(&shape.output),
        })
    }

    /// Rows of windows, keys and finished aggregates, each with its number; a group's time is the start of its window.
    pub(crate) fn rows(&self, rows: &[Row]) -> Result<RecordBatch, StageError> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        if self.windowed {
            let times = |time: fn(&Row) -> i64| {
                Arc::new(rows.iter().map(|r| Some(time(r))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            };
            columns.push(times(|((_, start), ..)| *start));
            columns.push(times(|(_, end, ..)| *end));
        }
        columns.extend(self.keys.decode(rows.iter().map(|((key, _), ..)| key))?);
        for (at, (column, order)) in self.columns.iter().zip(&self.orders).enumerate() {
            let totals: Vec<&Total> = rows.iter().filter_map(|(_, _, t, _)| t.parts.get(held(at, column))).collect();
            columns.push(finish(column, order.as_ref(), &totals)?);
        }
        columns.push(Arc::new(rows.iter().map(|(.., n)| *n).collect::<Int64Array>()));
        RecordBatch::try_new(self.output.clone(), columns).map_err(broken)
    }
}

/// Where the total of an aggregate is: values that are kept apart have come to one for each.
fn held(at: usize, column: &Column) -> usize {
    column.shared.filter(|_| column.kept != Kept::Apart).unwrap_or(at)
}

fn finish(column: &Column, order: Option<&RowConverter>, totals: &[&Total]) -> Result<ArrayRef, StageError> {
    let Some(order) = order else { return numbers(column, totals) };
    if let Function::MostFrequent { k, .. } = column.function {
        return frequencies(column, k, order, totals);
    }
    let mut lists = Vec::with_capacity(totals.len());
    let mut counts = Vec::with_capacity(totals.len());
    for total in totals {
        match total {
            Total::Count(n) => counts.push(*n),
            Total::Distinct(sketch) => counts.push(sketch.get().and_then(|s| s.estimate()).unwrap_or(0)),
            Total::First(value) => lists.push(value.get().map(|v| v.as_ref().clone()).into_iter().collect()),
            Total::Best(kept) => {
                let (k, values) = kept.as_ref();
                lists.push(values.get().map_or_else(Vec::new, |v| best(*k, v.iter().map(|(value, n)| (value, *n)))));
            }
            Total::Found(values) => lists.push(values.as_ref().clone()),
            Total::Values(values) => match found(column, order, values.iter().map(|(value, n)| (value, *n)))? {
                Total::Count(n) => counts.push(n),
                Total::Found(values) => lists.push(*values),
                _ => return Err(StageError::internal("values have come to nothing")),
            },
            _ => return Err(StageError::internal("an aggregate is kept in another form than planned")),
        }
    }
    match column.function {
        Function::CountDistinct { .. } => Ok(Arc::new(Int64Array::from(counts))),
        Function::Quantile { .. } => {
            let number = |list: &Vec<Value>| Some(f64::from_le_bytes(list.first()?.as_ref().try_into().ok()?));
            Ok(Arc::new(lists.iter().map(number).collect::<Float64Array>()))
        }
        Function::Best { .. } => listed(column, order, &lists),
        _ => single(column, order, &lists),
    }
}

/// The first value of each list, or NULL.
fn single(column: &Column, order: &RowConverter, lists: &[Vec<Value>]) -> Result<ArrayRef, StageError> {
    let nothing = order.convert_columns(&[new_null_array(&column.input(), 1)]).map_err(broken)?;
    let parser = order.parser();
    let rows = lists.iter().map(|list| list.first().map_or_else(|| nothing.row(0), |value| parser.parse(value)));
    let mut arrays = order.convert_rows(rows.collect::<Vec<_>>()).map_err(broken)?;
    arrays.pop().ok_or_else(|| StageError::internal("a value has no column"))
}

fn listed(column: &Column, order: &RowConverter, lists: &[Vec<Value>]) -> Result<ArrayRef, StageError> {
    let parser = order.parser();
    let arrays = order.convert_rows(lists.iter().flatten().map(|value| parser.parse(value))).map_err(broken)?;
    let items: ArrayRef = match (arrays.len(), arrays.first()) {
        (1, Some(values)) => values.clone(),
        _ => Arc::new(StructArray::try_new(column.entry(), arrays, None).map_err(broken)?),
    };
    list(items, lists.iter().map(Vec::len))
}

/// The most frequent values of each row; NULL where they have become too many to be kept.
fn frequencies(column: &Column, k: u32, order: &RowConverter, totals: &[&Total]) -> Result<ArrayRef, StageError> {
    let lists = totals.iter().map(|total| {
        Ok(match total {
            Total::Counted(values) => Some(values.as_ref().clone()),
            Total::Frequencies(values) if **values == Absorbing::Gone => None,
            Total::Frequencies(values) => Some(frequent(k, values.get().into_iter().flatten().map(|(v, n)| (v, *n)))),
            Total::Values(values) => match found(column, order, values.iter().map(|(v, n)| (v, *n)))? {
                Total::Counted(values) => Some(*values),
                _ => return Err(StageError::internal("values have come to nothing")),
            },
            _ => return Err(StageError::internal("an aggregate is kept in another form than planned")),
        })
    });
    let lists = lists.collect::<Result<Vec<_>, StageError>>()?;
    let all = || lists.iter().flatten().flatten();
    let parser = order.parser();
    let mut arrays = order.convert_rows(all().map(|(value, _)| parser.parse(value))).map_err(broken)?;
    arrays.push(Arc::new(all().map(|(_, n)| *n).collect::<Int64Array>()));
    let items = StructArray::try_new(frequency_fields(column.input()), arrays, None).map_err(broken)?;
    let nulls: NullBuffer = lists.iter().map(Option::is_some).collect();
    let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.as_ref().map_or(0, Vec::len)));
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, Arc::new(items), Some(nulls)).map_err(broken)?))
}

fn list(items: ArrayRef, lengths: impl Iterator<Item = usize>) -> Result<ArrayRef, StageError> {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, None).map_err(broken)?))
}

fn numbers(column: &Column, totals: &[&Total]) -> Result<ArrayRef, StageError> {
    let doubles = |of: &dyn Fn(&Total) -> Option<f64>| -> ArrayRef {
        Arc::new(totals.iter().map(|t| of(t)).collect::<Float64Array>())
    };
    Ok(match &column.function {
        Function::Avg => doubles(&mean),
        Function::Variance => doubles(&variance),
        Function::Stddev => doubles(&|t| variance(t).map(f64::sqrt)),
        Function::Quantile { at, .. } => {
            doubles(&|t| if let Total::Buckets(counts) = t { buckets::quantile(counts, *at) } else { None })
        }
        Function::Histogram { bounds } => histogram(bounds, totals)?,
        Function::Sum if column.output() == DataType::Float64 => {
            doubles(&|t| if let Total::Float(sum) = t { (sum.1 > 0).then(|| sum.0.value()) } else { None })
        }
        Function::Sum => Arc::new(totals.iter().map(|t| whole(t)).collect::<Result<Int64Array, _>>()?),
        _ => Arc::new(totals.iter().map(|t| if let Total::Count(n) = t { *n } else { 0 }).collect::<Int64Array>()),
    })
}

fn mean(total: &Total) -> Option<f64> {
    match total {
        Total::Whole(sum) if sum.1 > 0 => Some(sum.0 as f64 / sum.1 as f64),
        Total::Float(sum) if sum.1 > 0 => Some(sum.0.value() / sum.1 as f64),
        _ => None,
    }
}

fn variance(total: &Total) -> Option<f64> {
    let Total::Squares(sums) = total else { return None };
    (sums.2 > 1).then(|| exact::variance(&sums.0, &sums.1, sums.2))
}

fn whole(total: &Total) -> Result<Option<i64>, StageError> {
    match total {
        Total::Whole(sum) if sum.1 > 0 => i64::try_from(sum.0).map(Some).map_err(|_| {
            StageError::user(format!("a sum has left the range of 64-bit whole numbers: {}", sum.0))
                .hint("sum a double instead: `sum: CAST(x AS DOUBLE)`")
        }),
        _ => Ok(None),
    }
}

/// All buckets of a histogram, the empty ones too.
fn histogram(bounds: &[f64], totals: &[&Total]) -> Result<ArrayRef, StageError> {
    let each = bounds.len() + 1;
    let bound = |at: Option<usize>| at.and_then(|at| bounds.get(at)).copied();
    let many = || (0..totals.len()).flat_map(|_| 0..each);
    let from: Float64Array = many().map(|b| bound(b.checked_sub(1))).collect();
    let to: Float64Array = many().map(|b| bound(Some(b))).collect();
    let mut counts = vec![0_i64; totals.len() * each];
    for (at, total) in totals.iter().enumerate() {
        let Total::Buckets(buckets) = total else { continue };
        for (bucket, n) in buckets.iter() {
            if let Some(count) = usize::try_from(*bucket).ok().and_then(|b| counts.get_mut(at * each + b)) {
                *count = *n;
            }
        }
    }
    let columns: Vec<ArrayRef> = vec![Arc::new(from), Arc::new(to), Arc::new(Int64Array::from(counts))];
    let items = StructArray::try_new(bucket_fields(), columns, None).map_err(broken)?;
    list(Arc::new(items), std::iter::repeat_n(each, totals.len()))
}

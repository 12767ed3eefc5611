//! Rows to totals, and totals to rows.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array, Int64Array, RecordBatch};
use alluvium_engine::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::row::{RowConverter, Rows, SortField};
use alluvium_engine::stage::{StageError, with_diff};

use super::accumulator::{Total, Totals};
use super::columns::{Column, Function, Shape};
use super::exact::ExactSum;

/// A group's key in the form of an Arrow row.
pub(crate) type Key = Box<[u8]>;

/// Groups of an epoch on this worker.
pub(crate) type Groups = HashMap<Key, Totals>;

/// Turns keys and values into bytes and back.
pub(crate) struct Codec {
    pub(crate) keys: RowConverter,
    /// For each aggregate that compares, the form of its values.
    extremes: Vec<Option<RowConverter>>,
    columns: Vec<Column>,
    key_columns: usize,
    output: SchemaRef,
}

fn broken(error: ArrowError) -> StageError {
    StageError::internal("rows cannot be grouped").because(error)
}

/// An argument's values, ready to be taken row by row.
enum Values {
    /// Every row counts.
    Rows,
    /// Rows with a value count.
    Present(ArrayRef),
    Whole(Int64Array),
    Float(Float64Array),
    Compared(Rows, ArrayRef),
}

impl Codec {
    pub(crate) fn new(shape: &Shape) -> Result<Self, StageError> {
        let converter = |t: &DataType| RowConverter::new(vec![SortField::new(t.clone())]).map_err(broken);
        let keys = shape.keys().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let extremes = shape
            .columns
            .iter()
            .map(|c| matches!(c.function, Function::Min | Function::Max).then(|| converter(&c.input)).transpose());
        Ok(Self {
            keys: RowConverter::new(keys).map_err(broken)?,
            extremes: extremes.collect::<Result<_, _>>()?,
            columns: shape.columns.clone(),
            key_columns: shape.keys().len(),
            output: with_diff(&shape.output),
        })
    }

    /// Adds projected rows to the groups.
    pub(crate) fn add(&self, batch: &RecordBatch, groups: &mut Groups) -> Result<(), StageError> {
        let keys =
            self.keys.convert_columns(&batch.columns()[..self.key_columns.min(batch.num_columns())]).map_err(broken)?;
        let values = self
            .columns
            .iter()
            .zip(&self.extremes)
            .map(|(c, e)| values(c, e.as_ref(), batch))
            .collect::<Result<Vec<_>, _>>()?;
        let filters: Vec<Option<_>> =
            self.columns.iter().map(|c| c.filter.map(|i| batch.column(i).as_boolean())).collect();
        for (row, key) in keys.iter().enumerate() {
            let totals = match groups.get_mut(key.as_ref()) {
                Some(totals) => totals,
                None => groups.entry(key.as_ref().into()).or_insert_with(|| self.none()),
            };
            for ((total, values), filter) in totals.0.iter_mut().zip(&values).zip(&filters) {
                if filter.is_none_or(|f| f.is_valid(row) && f.value(row)) {
                    values.add(row, total);
                }
            }
        }
        Ok(())
    }

    fn none(&self) -> Totals {
        Totals(self.columns.iter().map(|c| Total::none(c.function, c.input.is_floating())).collect())
    }

    /// Rows of keys and finished aggregates, each with its number.
    pub(crate) fn rows(&self, groups: &[(Key, Totals, i64)]) -> Result<RecordBatch, StageError> {
        let mut columns = self.key_arrays(groups.iter().map(|(key, ..)| key))?;
        for (at, (column, extreme)) in self.columns.iter().zip(&self.extremes).enumerate() {
            let totals = || groups.iter().filter_map(|(_, t, _)| t.0.get(at));
            columns.push(finish(column, extreme.as_ref(), totals)?);
        }
        columns.push(Arc::new(groups.iter().map(|(.., n)| *n).collect::<Int64Array>()));
        RecordBatch::try_new(self.output.clone(), columns).map_err(broken)
    }

    /// Rows of keys and encoded totals, of those groups that are there now.
    pub(crate) fn state(&self, groups: &[(Key, Totals, i64)], schema: &SchemaRef) -> Result<RecordBatch, StageError> {
        let now = || groups.iter().filter(|(.., n)| *n > 0);
        let mut columns = self.key_arrays(now().map(|(key, ..)| key))?;
        let encoded = now().map(|(_, t, _)| t.encode()).collect::<Result<Vec<_>, _>>()?;
        columns.push(Arc::new(BinaryArray::from_iter_values(encoded)));
        RecordBatch::try_new(schema.clone(), columns).map_err(broken)
    }

    /// Keys and totals of state rows.
    pub(crate) fn restore(&self, batch: &RecordBatch) -> Result<Vec<(Key, Totals)>, StageError> {
        let Some((totals, keys)) = batch.columns().split_last() else { return Ok(Vec::new()) };
        let rows = self.keys.convert_columns(keys).map_err(broken)?;
        let totals = totals.as_binary::<i32>();
        rows.iter()
            .zip(totals)
            .map(|(key, totals)| Ok((key.as_ref().into(), Totals::decode(totals.unwrap_or_default())?)))
            .collect()
    }

    fn key_arrays<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<Vec<ArrayRef>, StageError> {
        let parser = self.keys.parser();
        self.keys.convert_rows(keys.map(|key| parser.parse(key))).map_err(broken)
    }
}

fn values(column: &Column, extreme: Option<&RowConverter>, batch: &RecordBatch) -> Result<Values, StageError> {
    let Some(argument) = column.argument.map(|i| batch.column(i)) else { return Ok(Values::Rows) };
    Ok(match (column.function, extreme) {
        (_, Some(converter)) => Values::Compared(
            converter.convert_columns(std::slice::from_ref(argument)).map_err(broken)?,
            argument.clone(),
        ),
        (Function::Count, _) => Values::Present(argument.clone()),
        _ if column.input.is_floating() => Values::Float(argument.as_primitive::<Float64Type>().clone()),
        _ => Values::Whole(argument.as_primitive::<Int64Type>().clone()),
    })
}

impl Values {
    fn add(&self, row: usize, total: &mut Total) {
        match (self, total) {
            (Self::Rows, Total::Count(n)) => *n += 1,
            (Self::Present(values), Total::Count(n)) => *n += i64::from(values.is_valid(row)),
            (Self::Whole(values), Total::Whole(sum)) if values.is_valid(row) => {
                sum.0 += i128::from(values.value(row));
                sum.1 += 1;
            }
            (Self::Float(values), Total::Float(sum)) if values.is_valid(row) => {
                sum.0.add(&ExactSum::of(values.value(row)));
                sum.1 += 1;
            }
            (Self::Compared(rows, values), total) if values.is_valid(row) => total.compare(rows.row(row).as_ref()),
            _ => {}
        }
    }
}

fn finish<'t, I: Iterator<Item = &'t Total>>(
    column: &Column,
    extreme: Option<&RowConverter>,
    totals: impl Fn() -> I,
) -> Result<ArrayRef, StageError> {
    Ok(match (column.function, extreme) {
        (_, Some(converter)) => {
            let nothing = nothing(&column.input, converter)?;
            let parser = converter.parser();
            let value = |t: &'t Total| match t {
                Total::Min(Some(bytes)) | Total::Max(Some(bytes)) => parser.parse(bytes),
                _ => parser.parse(&nothing),
            };
            let mut arrays = converter.convert_rows(totals().map(value).collect::<Vec<_>>()).map_err(broken)?;
            arrays.pop().ok_or_else(|| StageError::internal("an extreme has no column"))?
        }
        (Function::Count, _) => {
            Arc::new(totals().map(|t| if let Total::Count(n) = t { *n } else { 0 }).collect::<Int64Array>())
        }
        (Function::Avg, _) => Arc::new(totals().map(mean).collect::<Float64Array>()),
        _ if column.input.is_floating() => Arc::new(
            totals()
                .map(|t| if let Total::Float(sum) = t { (sum.1 > 0).then(|| sum.0.value()) } else { None })
                .collect::<Float64Array>(),
        ),
        _ => Arc::new(totals().map(whole).collect::<Result<Int64Array, _>>()?),
    })
}

/// NULL as an Arrow row.
fn nothing(data_type: &DataType, converter: &RowConverter) -> Result<Vec<u8>, StageError> {
    let null = alluvium_engine::arrow::array::new_null_array(data_type, 1);
    let rows = converter.convert_columns(&[null]).map_err(broken)?;
    Ok(rows.row(0).as_ref().to_vec())
}

fn mean(total: &Total) -> Option<f64> {
    match total {
        Total::Whole(sum) if sum.1 > 0 => Some(sum.0 as f64 / sum.1 as f64),
        Total::Float(sum) if sum.1 > 0 => Some(sum.0.value() / sum.1 as f64),
        _ => None,
    }
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

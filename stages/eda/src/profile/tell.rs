//! A wide row of aggregates as one row for each column.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, new_null_array};
use alluvium_engine::arrow::compute::{cast, concat_batches};
use alluvium_engine::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use alluvium_engine::stage::{DIFF, StageError, with_diff};

use super::ask::{Asked, LOOKS, QUANTILES, place};
use crate::aggregate::frequency_fields;
use crate::form::broken;

/// This part of the texts that are not empty must look like something.
const ENOUGH: f64 = 0.95;

/// Columns of the rows.
pub(super) fn schema() -> Schema {
    let must = |name, t| Field::new(name, t, false);
    let may = |name, t| Field::new(name, t, true);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Struct(frequency_fields(DataType::Utf8)), true)));
    let mut fields = vec![must("column", DataType::Utf8), must("type", DataType::Utf8)];
    fields.extend(["rows", "nulls"].map(|name| must(name, DataType::Int64)));
    fields.push(may("distinct", DataType::Int64));
    fields.extend(["min", "max"].map(|name| may(name, DataType::Utf8)));
    fields.extend(["mean", "stddev"].map(|name| may(name, DataType::Float64)));
    fields.extend(QUANTILES.map(|(name, _)| may(name, DataType::Float64)));
    fields.push(may("not_finite", DataType::Int64));
    fields.push(may("min_length", DataType::Int64));
    fields.push(may("mean_length", DataType::Float64));
    fields.push(may("max_length", DataType::Int64));
    fields.push(may("empty", DataType::Int64));
    fields.push(may("looks_like", DataType::Utf8));
    fields.push(may("type_problems", DataType::Int64));
    fields.push(may("top", list));
    Schema::new(fields)
}

/// Rows of all columns for each wide row, with its number.
pub(super) fn tell(asked: &[Asked], wide: &RecordBatch) -> Result<RecordBatch, StageError> {
    let schema = with_diff(&schema());
    // A wide row has thousands of columns if its input has hundreds.
    let known = wide.schema_ref().fields().iter().map(|f| f.name().as_str()).zip(wide.columns()).collect::<Known<'_>>();
    let batches = asked.iter().enumerate().map(|(at, column)| {
        let told = Told::new(at, &known, wide.num_rows())?;
        let fields = schema.fields().iter().map(|field| told.field(column, field));
        RecordBatch::try_new(schema.clone(), fields.collect::<Result<_, _>>()?).map_err(broken)
    });
    concat_batches(&schema, &batches.collect::<Result<Vec<_>, StageError>>()?).map_err(broken)
}

/// Columns of wide rows by name.
type Known<'b> = HashMap<&'b str, &'b ArrayRef>;

/// What is known of a column.
struct Told<'b> {
    at: usize,
    known: &'b Known<'b>,
    rows: &'b Int64Array,
    /// Values that are not NULL.
    count: &'b Int64Array,
    /// For each row what the texts look like, and how many of them do not.
    looks: Vec<Option<(&'static str, i64)>>,
}

impl<'b> Told<'b> {
    fn new(at: usize, known: &'b Known<'b>, rows_told: usize) -> Result<Self, StageError> {
        let number = |name: &str| known.get(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let missing = || StageError::internal("a profile has no counts");
        let rows = number("rows").ok_or_else(missing)?;
        let count = number(&place(at, "count")).ok_or_else(missing)?;
        let empty = number(&place(at, "empty"));
        let looks = LOOKS.map(|(name, _)| (name, number(&place(at, name))));
        let of_row = |row: usize| {
            let (all, texts) = (count.value(row), count.value(row) - empty?.value(row));
            let enough = |n: i64| texts > 0 && n as f64 >= ENOUGH * texts as f64;
            let read = |(name, n): &(&'static str, Option<&Int64Array>)| Some((*name, n.as_ref()?.value(row)));
            looks.iter().filter_map(read).find(|(_, n)| enough(*n)).map(|(name, n)| (name, all - n))
        };
        Ok(Self { at, known, rows, count, looks: (0..rows_told).map(of_row).collect() })
    }

    fn field(&self, column: &Asked, field: &Field) -> Result<ArrayRef, StageError> {
        let rows = self.looks.len();
        let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
        Ok(match field.name().as_str() {
            "column" => same(&column.name),
            "type" => same(&column.shown),
            "rows" => Arc::new(self.rows.clone()),
            "nulls" => {
                Arc::new(self.rows.iter().zip(self.count).map(|(all, n)| Some(all? - n?)).collect::<Int64Array>())
            }
            "looks_like" => Arc::new(self.looks.iter().map(|l| l.map(|(name, _)| name)).collect::<StringArray>()),
            "type_problems" => Arc::new(self.looks.iter().map(|l| l.map(|(_, n)| n)).collect::<Int64Array>()),
            DIFF => self.known.get(DIFF).map(|c| (*c).clone()).ok_or_else(|| StageError::internal("no changes"))?,
            name => match self.known.get(place(self.at, name).as_str()) {
                Some(found) => cast(found, field.data_type()).map_err(broken)?,
                None => new_null_array(field.data_type(), rows),
            },
        })
    }
}

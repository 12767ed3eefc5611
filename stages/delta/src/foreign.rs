//! Columns of a table that the plan does not know: another program has added them, and filled them. Whatever is written
//! anew keeps their values; a row that takes the place of another takes them over.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array, new_null_array};
use alluvium_engine::arrow::compute::{CastOptions, cast_with_options, interleave, take_record_batch};
use alluvium_engine::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;

use crate::changes::Changes;

/// Rows of a file with these columns. Those that an older file lacks are NULL; other programs write a type in their own way,
/// such as text with views.
pub(crate) fn in_order(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let column = |f: &FieldRef| match batch.column_by_name(f.name()) {
        None => Ok(new_null_array(f.data_type(), batch.num_rows())),
        Some(column) if column.data_type() == f.data_type() => Ok(column.clone()),
        Some(column) => cast_with_options(column, f.data_type(), &options),
    };
    RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect::<Result<_, ArrowError>>()?)
}

/// The columns, and the values of rows that are replaced.
pub(crate) struct Foreign {
    /// Those of the plan, then these.
    schema: SchemaRef,
    fields: Vec<FieldRef>,
    /// Values of replaced rows, column by column and batch by batch; the first is NULL.
    values: Vec<Vec<ArrayRef>>,
    /// Where those of a new row are: batch and row.
    places: HashMap<u32, (usize, usize)>,
}

impl Foreign {
    pub(crate) fn new(plan: &SchemaRef, table: &SchemaRef) -> Self {
        let unknown = table.fields().iter().filter(|f| plan.field_with_name(f.name()).is_err());
        let fields: Vec<FieldRef> = unknown.map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect();
        let schema = Schema::new(plan.fields().iter().chain(&fields).cloned().collect::<Vec<_>>());
        let values = fields.iter().map(|f| vec![new_null_array(f.data_type(), 1)]).collect();
        Self { schema: Arc::new(schema), fields, values, places: HashMap::new() }
    }

    /// All columns of the table.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows of a file in this order.
    pub(crate) fn in_order(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        in_order(batch, &self.schema)
    }

    /// Remembers the values of rows of the table that are replaced.
    pub(crate) fn keep(&mut self, old: &RecordBatch, changes: &Changes) -> Result<(), ArrowError> {
        if self.fields.is_empty() || old.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.values.first().map_or(0, Vec::len);
        let known = self.schema.fields().len() - self.fields.len();
        for (values, column) in self.values.iter_mut().zip(&old.columns()[known..]) {
            values.push(column.clone());
        }
        let taken_over = changes.numbers_of(old)?.into_iter().enumerate();
        self.places.extend(taken_over.filter_map(|(row, number)| Some((number?, (batch, row)))));
        Ok(())
    }

    /// Some of the rows that came, with these columns.
    pub(crate) fn complete(&self, rows: &RecordBatch, numbers: &[u32]) -> Result<RecordBatch, ArrowError> {
        let rows = take_record_batch(rows, &UInt32Array::from(numbers.to_vec()))?;
        let places: Vec<_> = numbers.iter().map(|n| self.places.get(n).copied().unwrap_or((0, 0))).collect();
        let mut columns = rows.columns().to_vec();
        for values in &self.values {
            let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
            columns.push(interleave(&values, &places)?);
        }
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

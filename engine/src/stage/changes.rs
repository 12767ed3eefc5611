//! Rows that come and go: the form of a stream of changes.

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::StageError;

/// The column of rows that are changes: how often the row is added (positive) or taken away (negative). No other rows have
/// a column of this name.
pub const DIFF: &str = "_diff";

/// Says that rows are changes, as differential dataflow has them: each carries a number ([`DIFF`]), and what holds after
/// an epoch is the sum of all changes up to it. A row that is corrected is taken away as it was and added as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// After every epoch there is at most one row with the same values in these columns; empty if nothing is known.
    pub keys: Vec<String>,
}

/// A schema with [`DIFF`] as its last column.
pub fn with_diff(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().filter(|f| f.name() != DIFF).cloned().collect();
    fields.push(Field::new(DIFF, DataType::Int64, false).into());
    Schema::new(fields).into()
}

/// A schema without [`DIFF`]: the columns of the rows that come and go.
pub fn without_diff(schema: &Schema) -> SchemaRef {
    Schema::new(schema.fields().iter().filter(|f| f.name() != DIFF).cloned().collect::<Vec<_>>()).into()
}

/// The numbers of a batch of changes; nothing if the batch has no such column, and every row is added once.
///
/// # Errors
/// The column is of another type, or has NULLs.
pub fn diffs(batch: &RecordBatch) -> Result<Option<&Int64Array>, StageError> {
    let Some(column) = batch.column_by_name(DIFF) else { return Ok(None) };
    match column.as_primitive_opt::<Int64Type>() {
        Some(diffs) if diffs.null_count() == 0 => Ok(Some(diffs)),
        _ => Err(StageError::internal(format!("the column `{DIFF}` is no number of rows"))),
    }
}

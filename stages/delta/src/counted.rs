//! Rows with a number: how often each is added or taken away by an epoch.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::arrow::array::{Int64Array, RecordBatch, UInt32Array};
use alluvium_engine::arrow::compute::{concat_batches, take_record_batch};
use alluvium_engine::arrow::datatypes::{SchemaRef, ToByteSlice};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::row::{RowConverter, SortField};
use alluvium_engine::stage::{DIFF, StageError, diffs, with_diff};

fn broken(error: ArrowError) -> StageError {
    StageError::internal("changed rows cannot be added up").because(error)
}

/// Every row once, with the sum of its numbers as the last column; rows that add up to nothing are left out.
///
/// # Errors
/// Rows of other columns than those of the schema.
pub(crate) fn add_up(batches: &[RecordBatch], schema: &SchemaRef) -> Result<RecordBatch, StageError> {
    let counted = with_diff(schema);
    let ordered: Result<Vec<RecordBatch>, ArrowError> = batches
        .iter()
        .map(|b| {
            let columns = counted.fields().iter().map(|f| Ok(b.column(b.schema().index_of(f.name())?).clone()));
            RecordBatch::try_new(counted.clone(), columns.collect::<Result<_, ArrowError>>()?)
        })
        .collect();
    let all = concat_batches(&counted, &ordered.map_err(broken)?).map_err(broken)?;
    let numbers = diffs(&all)?.ok_or_else(|| StageError::internal(format!("changes have no column `{DIFF}`")))?;
    let fields = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    let rows = RowConverter::new(fields)
        .and_then(|c| c.convert_columns(&all.columns()[..schema.fields().len()]))
        .map_err(broken)?;
    let mut sums: HashMap<&[u8], (u32, i64)> = HashMap::with_capacity(all.num_rows());
    let bytes: Vec<_> = rows.iter().collect();
    for ((place, row), number) in (0_u32..).zip(&bytes).zip(numbers.values()) {
        sums.entry(row.as_ref().to_byte_slice()).or_insert((place, 0)).1 += number;
    }
    let mut kept: Vec<(u32, i64)> = sums.into_values().filter(|(_, sum)| *sum != 0).collect();
    kept.sort_unstable();
    let (places, sums): (Vec<u32>, Vec<i64>) = kept.into_iter().unzip();
    let taken = take_record_batch(&all, &UInt32Array::from(places)).map_err(broken)?;
    let mut columns = taken.columns().to_vec();
    columns.pop();
    columns.push(Arc::new(Int64Array::from(sums)));
    RecordBatch::try_new(counted, columns).map_err(broken)
}

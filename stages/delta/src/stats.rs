//! Statistics of a data file as Delta keeps them, from the Parquet footer.

use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use alluvium_engine::arrow::compute;
use alluvium_engine::arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::DateTime;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Number, Value, json};

/// As in Spark's `delta.dataSkippingNumIndexedCols`.
const COLUMNS: usize = 32;

/// `numRecords`, `minValues`, `maxValues` and `nullCount` of the first columns. Nested columns have none, which the
/// protocol allows.
pub(crate) fn stats(footer: &ParquetMetaData, schema: &SchemaRef) -> Result<Value> {
    let (mut least, mut most, mut nulls) = (Map::new(), Map::new(), Map::new());
    let groups = footer.row_groups();
    for field in schema.fields().iter().take(COLUMNS).filter(|f| !f.data_type().is_nested()) {
        let converter = StatisticsConverter::try_new(field.name(), schema, footer.file_metadata().schema_descr())?;
        let counts: UInt64Array = converter.row_group_null_counts(groups)?;
        if counts.null_count() == 0 {
            nulls.insert(field.name().clone(), counts.iter().flatten().sum::<u64>().into());
        }
        if let Some(value) = extreme(&converter.row_group_mins(groups)?, true) {
            least.insert(field.name().clone(), value);
        }
        if let Some(value) = extreme(&converter.row_group_maxes(groups)?, false) {
            most.insert(field.name().clone(), value);
        }
    }
    Ok(
        json!({ "numRecords": footer.file_metadata().num_rows(), "minValues": least, "maxValues": most, "nullCount": nulls }),
    )
}

/// The smallest or largest value over row groups. Nothing for types without an order in JSON, and for NaN, which
/// Parquet leaves out: a bound that ignores it could hide rows.
fn extreme(values: &ArrayRef, least: bool) -> Option<Value> {
    macro_rules! of {
        ($t:ty) => {{
            let values = values.as_primitive::<$t>();
            if least { compute::min(values) } else { compute::max(values) }
        }};
    }
    // A row group without statistics may hold anything.
    if values.null_count() > 0 {
        return None;
    }
    match values.data_type() {
        DataType::Int8 => of!(Int8Type).map(Value::from),
        DataType::Int16 => of!(Int16Type).map(Value::from),
        DataType::Int32 => of!(Int32Type).map(Value::from),
        DataType::Int64 => of!(Int64Type).map(Value::from),
        DataType::Float32 => of!(Float32Type).and_then(|f| Number::from_f64(f64::from(f))).map(Value::Number),
        DataType::Float64 => of!(Float64Type).and_then(Number::from_f64).map(Value::Number),
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            (if least { compute::min_string(values) } else { compute::max_string(values) }).map(Value::from)
        }
        DataType::Date32 => {
            of!(Date32Type).and_then(Date32Type::to_naive_date_opt).map(|d| d.format("%Y-%m-%d").to_string().into())
        }
        // Milliseconds, cut off; readers allow for that in the maximum.
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => of!(TimestampMicrosecondType)
            .and_then(DateTime::from_timestamp_micros)
            .map(|t| t.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into()),
        _ => None,
    }
}

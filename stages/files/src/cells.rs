//! Columns from the types of an object to those of the schema: a cell that does not fit makes its row a bad row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_engine::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, new_null_array,
};
use alluvium_engine::arrow::buffer::NullBuffer;
use alluvium_engine::arrow::compute::{CastOptions, cast, cast_with_options, filter_record_batch, nullif};
use alluvium_engine::arrow::datatypes::{ArrowPrimitiveType, DataType, Float64Type, Int32Type, Int64Type, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::util::display::array_value_to_string;

use crate::rows::shorten;

/// Rows in the types of the schema.
pub(crate) struct Fitted {
    /// Rows of which every cell fits.
    pub(crate) good: RecordBatch,
    /// The others, by their number in what came in: why.
    pub(crate) wrong: BTreeMap<usize, String>,
}

/// Casts columns, which are in the order of the schema. Nothing is rounded and nothing becomes NULL on the way.
///
/// # Errors
/// A type that can never become the one of the schema.
pub(crate) fn fit(columns: &[ArrayRef], schema: &SchemaRef) -> Result<Fitted, ArrowError> {
    let mut fitted = Vec::with_capacity(columns.len());
    let mut wrong = BTreeMap::new();
    for (column, field) in columns.iter().zip(schema.fields()) {
        let cast = convert(column, field.data_type())?;
        for row in misfits(column, &cast)? {
            let cell = array_value_to_string(column, row)?;
            let why =
                || format!("column `{}`: `{}` is not {}", field.name(), shorten(&cell, 100), name(field.data_type()));
            wrong.entry(row).or_insert_with(why);
        }
        fitted.push(cast);
    }
    let all = RecordBatch::try_new(schema.clone(), fitted)?;
    if wrong.is_empty() {
        return Ok(Fitted { good: all, wrong });
    }
    let keep: BooleanArray = (0..all.num_rows()).map(|row| Some(!wrong.contains_key(&row))).collect();
    Ok(Fitted { good: filter_record_batch(&all, &keep)?, wrong })
}

/// The same, but a cell that does not fit becomes NULL; gives row and column of every such cell, row by row.
///
/// # Errors
/// When a column that fits cannot be put together with the others.
pub(crate) fn fit_or_null(
    columns: &[ArrayRef],
    schema: &SchemaRef,
) -> Result<(RecordBatch, Vec<(usize, usize)>), ArrowError> {
    let (mut fitted, mut wrong) = (Vec::with_capacity(columns.len()), Vec::new());
    for (place, (column, field)) in columns.iter().zip(schema.fields()).enumerate() {
        let (cast, misfits) = match convert(column, field.data_type()) {
            Ok(cast) => {
                let misfits = misfits(column, &cast)?;
                (cast, misfits)
            }
            // No value of this type fits.
            Err(_) => {
                let nulls = column.logical_nulls();
                let there = |row: &usize| !nulls.as_ref().is_some_and(|n| n.is_null(*row));
                (new_null_array(field.data_type(), column.len()), (0..column.len()).filter(there).collect())
            }
        };
        let mask: BTreeSet<usize> = misfits.iter().copied().collect();
        let mask: BooleanArray = (0..column.len()).map(|row| Some(mask.contains(&row))).collect();
        fitted.push(if misfits.is_empty() { cast } else { nullif(&cast, &mask)? });
        wrong.extend(misfits.into_iter().map(|row| (row, place)));
    }
    wrong.sort_unstable();
    Ok((RecordBatch::try_new(schema.clone(), fitted)?, wrong))
}

fn name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "true or false",
        DataType::Date32 => "a date",
        DataType::Timestamp(..) => "a timestamp",
        DataType::Float32 | DataType::Float64 => "a number",
        DataType::Int32 => "a 32-bit whole number",
        DataType::Int64 => "a 64-bit whole number",
        _ => "text",
    }
}

fn convert(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == to {
        return Ok(column.clone());
    }
    let cast = cast_with_options(column, to, &CastOptions { safe: true, ..CastOptions::default() })?;
    match (column.data_type(), to) {
        (DataType::Utf8, DataType::Int32) if lost(column, &cast) => Ok(whole::<Int32Type>(column, &cast)),
        (DataType::Utf8, DataType::Int64) if lost(column, &cast) => Ok(whole::<Int64Type>(column, &cast)),
        _ => Ok(cast),
    }
}

fn lost(before: &ArrayRef, after: &ArrayRef) -> bool {
    before.logical_null_count() != after.logical_null_count()
}

/// Many programs write whole numbers as `5.0` or `1e3`: taken where nothing is lost by it.
fn whole<T: ArrowPrimitiveType>(text: &ArrayRef, cast: &ArrayRef) -> ArrayRef
where
    T::Native: TryFrom<i64>,
{
    /// Above it a float no longer tells neighbours apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let parse = |text: &str| {
        let number: f64 = text.parse().ok()?;
        let fits = number.fract() == 0.0 && number.abs() < EXACT;
        // Lossless after the test.
        fits.then_some(number as i64).and_then(|n| T::Native::try_from(n).ok())
    };
    let cells = text.as_string::<i32>().iter().zip(cast.as_primitive::<T>());
    Arc::new(cells.map(|(text, number)| number.or_else(|| text.and_then(parse))).collect::<PrimitiveArray<T>>())
}

/// Rows whose cell has become NULL, or another number.
fn misfits(before: &ArrayRef, after: &ArrayRef) -> Result<Vec<usize>, ArrowError> {
    let rounds = before.data_type().is_floating() && after.data_type().is_integer();
    if !rounds && !lost(before, after) {
        return Ok(Vec::new());
    }
    let nulls = (before.logical_nulls(), after.logical_nulls());
    let is_null = |nulls: &Option<NullBuffer>, row| nulls.as_ref().is_some_and(|n| n.is_null(row));
    let back = if rounds { Some((cast(before, &DataType::Float64)?, cast(after, &DataType::Float64)?)) } else { None };
    let other = |row: usize| {
        back.as_ref().is_some_and(|(before, after)| {
            before.as_primitive::<Float64Type>().value(row) != after.as_primitive::<Float64Type>().value(row)
        })
    };
    Ok((0..before.len()).filter(|&row| !is_null(&nulls.0, row) && (is_null(&nulls.1, row) || other(row))).collect())
}

#[cfg(test)]
mod tests {
    use alluvium_engine::arrow::array::{Float64Array, Int64Array, StringArray, TimestampNanosecondArray};
    use alluvium_engine::arrow::datatypes::{Field, Schema};
    use alluvium_engine::spec::timestamp;

    use super::*;

    fn fitted(column: impl Array + 'static, to: DataType) -> (ArrayRef, Vec<(usize, String)>) {
        let schema = Arc::new(Schema::new(vec![Field::new("c", to, true)]));
        let fitted = fit(&[Arc::new(column)], &schema).unwrap();
        (fitted.good.column(0).clone(), fitted.wrong.into_iter().collect())
    }

    #[test]
    fn whole_numbers_are_never_rounded() {
        let text = StringArray::from(vec![
            Some("7"),
            Some("5.0"),
            Some("1e3"),
            Some("1.5"),
            None,
            Some("x"),
            Some("3000000000"),
        ]);
        let (good, wrong) = fitted(text, DataType::Int32);
        assert_eq!(good.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(7), Some(5), Some(1000), None]);
        let expected = [(3, "`1.5`"), (5, "`x`"), (6, "`3000000000`")]
            .map(|(row, cell)| (row, format!("column `c`: {cell} is not a 32-bit whole number")));
        assert_eq!(wrong, expected);
        let (good, wrong) =
            fitted(Float64Array::from(vec![Some(2.0), Some(2.5), None, Some(f64::NAN), Some(1e300)]), DataType::Int64);
        assert_eq!(good.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(2), None]);
        assert_eq!(wrong.iter().map(|w| w.0).collect::<Vec<_>>(), [1, 3, 4]);
        assert_eq!(
            fitted(StringArray::from(vec!["9007199254740993"]), DataType::Int64).0.as_primitive::<Int64Type>().value(0),
            9_007_199_254_740_993
        );
    }

    /// As the reference says of `schema:`.
    #[test]
    fn moments_are_cut_to_microseconds_and_days() {
        let moment = "2026-03-01T10:20:30.123456789Z";
        let text = || StringArray::from(vec![moment]);
        let nanos = || TimestampNanosecondArray::from(vec![1_772_360_430_123_456_789]).with_timezone("UTC");
        for column in [Arc::new(text()) as ArrayRef, Arc::new(nanos())] {
            for (to, cut) in [(timestamp(), "2026-03-01T10:20:30.123456Z"), (DataType::Date32, "2026-03-01")] {
                let schema = Arc::new(Schema::new(vec![Field::new("c", to, true)]));
                let fitted = fit(std::slice::from_ref(&column), &schema).unwrap();
                assert!(fitted.wrong.is_empty());
                assert_eq!(array_value_to_string(fitted.good.column(0), 0).unwrap(), cut);
            }
        }
        let (good, wrong) = fitted(Int64Array::from(vec![9_007_199_254_740_993]), DataType::Float64);
        assert_eq!((good.as_primitive::<Float64Type>().value(0), wrong.len()), (9_007_199_254_740_992.0, 0));
    }

    #[test]
    fn a_type_that_cannot_be_cast_is_an_error_of_the_object() {
        let list =
            alluvium_engine::arrow::array::ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]);
        let schema = Arc::new(Schema::new(vec![Field::new("c", DataType::Int64, true)]));
        assert!(fit(&[Arc::new(list)], &schema).is_err());
        assert!(fit(&[Arc::new(Int64Array::from(vec![1]))], &schema).is_ok());
    }
}

//! Why a line of JSON cannot be read, in words for the person who has to put it right.

use alluvium_engine::arrow::array::{ArrayRef, StringArray};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use serde_json::{Map, Value};
use std::sync::Arc;

use crate::cells::fit;
use crate::rows::shorten;

/// Finds what is wrong with a line for which the decoder has failed; `why` is what that said.
pub(crate) fn reason(line: &[u8], schema: &SchemaRef, why: Option<ArrowError>) -> String {
    if std::str::from_utf8(line).is_err() {
        return "the line is not UTF-8".into();
    }
    match serde_json::from_slice(line.trim_ascii_end()) {
        Ok(Value::Object(object)) => misfit(&object, schema).unwrap_or_else(|| told(why)),
        Ok(_) => "the line is not a JSON object".into(),
        Err(e) if e.to_string().starts_with("recursion") => told(why),
        Err(e) if e.to_string().starts_with("trailing") => {
            format!("more than one JSON value on the line, at column {}", e.column())
        }
        // A line is all there is, so its number there says nothing.
        Err(e) => format!("not valid JSON: {}", e.to_string().replace("at line 1 column", "at column")),
    }
}

fn told(why: Option<ArrowError>) -> String {
    match why {
        Some(ArrowError::JsonError(text)) => shorten(&text, 200),
        Some(other) => shorten(&other.to_string(), 200),
        None => "the line is not one JSON object".into(),
    }
}

/// The first column whose value does not fit.
fn misfit(object: &Map<String, Value>, schema: &SchemaRef) -> Option<String> {
    schema.fields().iter().find_map(|field| {
        let value = object.get(field.name()).filter(|v| !v.is_null())?;
        let complain = |expected: &str| {
            Some(format!("column `{}`: `{}` is not {expected}", field.name(), shorten(&value.to_string(), 100)))
        };
        match (field.data_type(), value) {
            (_, Value::Array(_) | Value::Object(_)) => {
                complain(if field.data_type() == &DataType::Utf8 { "text" } else { "a single value" })
            }
            (DataType::Utf8, _) | (DataType::Boolean, Value::Bool(_)) => None,
            (DataType::Boolean, _) => complain("true or false"),
            (_, Value::String(text)) => cell(field, text),
            (_, value) => cell(field, &value.to_string()),
        }
    })
}

/// Whether a value, as it is written in JSON and other than null, fits a column.
pub(crate) fn fits(field: &Arc<Field>, raw: &str) -> bool {
    match (field.data_type(), raw.as_bytes().first()) {
        (_, Some(b'{' | b'[')) => false,
        (DataType::Utf8, _) => true,
        // Only what is unusual is worth a look as costly as this.
        (DataType::Int32, _) if raw.parse::<i32>().is_ok() => true,
        (DataType::Int64, _) if raw.parse::<i64>().is_ok() => true,
        (DataType::Float32 | DataType::Float64, _) if raw.parse::<f64>().is_ok() => true,
        (DataType::Boolean, _) => matches!(raw, "true" | "false"),
        (_, Some(b'"')) => serde_json::from_str::<String>(raw).is_ok_and(|text| cell(field, &text).is_none()),
        _ => cell(field, raw).is_none(),
    }
}

fn cell(field: &Arc<Field>, text: &str) -> Option<String> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    let fitted = fit(&[column], &Arc::new(Schema::new(vec![field.clone()]))).ok()?;
    fitted.wrong.into_values().next()
}

//! `parse_timestamp(text, pattern)`.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::arrow::array::{AsArray, TimestampMicrosecondArray};
use alluvium_engine::arrow::compute::cast;
use alluvium_engine::arrow::datatypes::DataType;
use alluvium_engine::spec::timestamp;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::pattern::Pattern;

/// A moment in UTC. Text that does not fit is an error and so a bad row, never NULL and never another hour.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ParseTimestamp {
    signature: Signature,
    compiled: Compiled<Pattern>,
}

impl Default for ParseTimestamp {
    fn default() -> Self {
        Self { signature: Signature::string(2, Volatility::Immutable), compiled: Compiled::default() }
    }
}

impl ScalarUDFImpl for ParseTimestamp {
    fn name(&self) -> &str {
        "parse_timestamp"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(timestamp())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, pattern] = args.args.as_slice() else {
            return plan_err!("parse_timestamp takes a text and a pattern");
        };
        let ColumnarValue::Scalar(pattern) = pattern else {
            return exec_err!("the pattern of parse_timestamp must be a constant");
        };
        let Some(Some(pattern)) = pattern.try_as_str() else {
            return exec_err!("the pattern of parse_timestamp must be a text");
        };
        let compiled = self.compiled.get(pattern, |p| Pattern::new(p).or_else(|e| exec_err!("{e}")))?;
        let column = cast(&text.to_array(args.number_rows)?, &DataType::Utf8)?;
        let mut out = TimestampMicrosecondArray::builder(column.len());
        for text in column.as_string::<i32>() {
            match text.map(|t| (t, compiled.parse(t))) {
                None => out.append_null(),
                Some((_, Ok(micros))) => out.append_value(micros),
                Some((text, Err(why))) => return exec_err!("`{text}` is not a date of the form `{pattern}`: {why}"),
            }
        }
        let array = out.finish().with_timezone("UTC");
        Ok(match text {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(Arc::new(array)),
        })
    }
}

/// The last pattern, compiled: a query uses the same one for every batch. No part of a function's identity.
#[derive(Debug)]
pub(super) struct Compiled<T>(Mutex<Option<(String, Arc<T>)>>);

impl<T> Default for Compiled<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Compiled<T> {
    pub(super) fn get(&self, pattern: &str, compile: impl FnOnce(&str) -> Result<T>) -> Result<Arc<T>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, compiled)) = last.as_ref()
            && of == pattern
        {
            return Ok(compiled.clone());
        }
        let compiled = Arc::new(compile(pattern)?);
        *last = Some((pattern.to_owned(), compiled.clone()));
        Ok(compiled)
    }
}

impl<T> PartialEq for Compiled<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Compiled<T> {}

impl<T> Hash for Compiled<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

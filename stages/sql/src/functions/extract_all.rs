//! `regexp_extract_all(text, pattern)`.

use std::sync::Arc;

use alluvium_engine::arrow::array::{Array, AsArray, ListBuilder, StringArray, StringBuilder};
use alluvium_engine::arrow::compute::cast;
use alluvium_engine::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use regex::Regex;

use super::parse_timestamp::Compiled;

/// Every match of a constant pattern, as a list of strings: empty where nothing matches, NULL for NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ExtractAll {
    signature: Signature,
    compiled: Compiled<Regex>,
}

impl Default for ExtractAll {
    fn default() -> Self {
        Self { signature: Signature::string(2, Volatility::Immutable), compiled: Compiled::default() }
    }
}

impl ScalarUDFImpl for ExtractAll {
    fn name(&self) -> &str {
        "regexp_extract_all"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Utf8, true))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, pattern] = args.args.as_slice() else {
            return plan_err!("regexp_extract_all takes a text and a pattern");
        };
        let ColumnarValue::Scalar(pattern) = pattern else {
            return exec_err!("the pattern of regexp_extract_all must be a constant");
        };
        let Some(Some(pattern)) = pattern.try_as_str() else {
            return exec_err!("the pattern of regexp_extract_all must be a text");
        };
        let regex = self
            .compiled
            .get(pattern, |p| Regex::new(p).or_else(|e| exec_err!("`{p}` is not a regular expression: {e}")))?;
        let column = cast(&text.to_array(args.number_rows)?, &DataType::Utf8)?;
        let list = extract(&regex, column.as_string());
        Ok(match text {
            ColumnarValue::Scalar(_) => ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?),
            ColumnarValue::Array(_) => ColumnarValue::Array(list),
        })
    }
}

fn extract(regex: &Regex, column: &StringArray) -> Arc<dyn Array> {
    let mut out = ListBuilder::new(StringBuilder::new());
    for text in column {
        if let Some(text) = text {
            for found in regex.find_iter(text) {
                out.values().append_value(found.as_str());
            }
        }
        out.append(text.is_some());
    }
    Arc::new(out.finish())
}

//! Columns whose values are in an object's path, as Hive lays tables out: `date=2009-04-06/hour=07/part.json`.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, StringArray, UInt32Array};
use alluvium_engine::arrow::compute::take;
use alluvium_engine::arrow::datatypes::{Field, Schema};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::spec::{Columns, type_name};
use alluvium_engine::stage::StageError;
use percent_encoding::percent_decode_str;

use crate::cells::fit;

/// What Hive writes where there is no value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The values of an object's partition columns, one row long.
#[derive(Debug, Clone, Default)]
pub(crate) struct Partition(Vec<ArrayRef>);

impl Partition {
    /// Reads them from the folders of an object's URL.
    ///
    /// # Errors
    /// A column without a folder, or a value that does not fit its type.
    pub(crate) fn of(object: &str, columns: &Columns) -> Result<Self, StageError> {
        let folders: Vec<&str> = object.rsplit('/').skip(1).collect();
        columns.fields().iter().map(|field| value(object, &folders, field)).collect::<Result<_, _>>().map(Self)
    }

    /// The columns for so many rows.
    pub(crate) fn columns(&self, rows: usize) -> Result<Vec<ArrayRef>, ArrowError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let first = UInt32Array::from(vec![0; rows]);
        self.0.iter().map(|value| take(value, &first, None)).collect()
    }
}

/// The value of one column. `folders` are the object's, the innermost first.
fn value(object: &str, folders: &[&str], field: &Field) -> Result<ArrayRef, StageError> {
    let (name, expected) = (field.name(), type_name(field.data_type()));
    let fault = |what: String| {
        StageError::user(what).object(object).hint(format!(
            "move the object to a folder `{name}=…` with a value of type {expected}, leave it out with `exclude:`, or \
             change `partitions:`"
        ))
    };
    let named = |folder: &&str| {
        let (key, value) = folder.split_once('=')?;
        (percent_decode_str(key).decode_utf8().ok()? == name.as_str()).then(|| value.to_owned())
    };
    let written = folders
        .iter()
        .find_map(named)
        .ok_or_else(|| fault(format!("the object's path has no folder `{name}=…`, which `partitions:` asks for")))?;
    let text = percent_decode_str(&written)
        .decode_utf8()
        .map_err(|_| fault(format!("the folder `{name}={written}` is not UTF-8 when it is decoded")))?;
    let cell: ArrayRef = Arc::new(StringArray::from(vec![(text != NULL).then_some(text.as_ref())]));
    let fitted = fit(&[cell], &Arc::new(Schema::new(vec![field.clone()])))
        .map_err(|e| StageError::internal("a value of a path cannot be cast").object(object).because(e))?;
    match fitted.wrong.into_values().next() {
        Some(why) => Err(fault(format!("the object's path does not fit `partitions:`: {why}"))),
        None => Ok(fitted.good.column(0).clone()),
    }
}

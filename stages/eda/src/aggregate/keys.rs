//! Keys of groups as bytes, and back.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray};
use alluvium_engine::arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::row::{RowConverter, Rows, SortField};
use alluvium_engine::stage::StageError;

/// The values of a group's key in the form of an Arrow row; nothing if there is one group only.
pub(crate) type Key = Box<[u8]>;

/// What is kept together: a key, and for windows a time (see [`Windows::kept`](super::window::Windows::kept)), else 0.
pub(crate) type Group = (Key, i64);

pub(crate) fn broken(error: ArrowError) -> StageError {
    StageError::internal("rows cannot be grouped").because(error)
}

/// Turns key columns into bytes and back.
pub(crate) struct Keys {
    /// None when there is no key column, since rows of no columns have no number.
    converter: Option<RowConverter>,
    columns: usize,
}

/// Keys of a batch.
pub(crate) struct KeyRows(Option<Rows>);

impl KeyRows {
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl Keys {
    pub(crate) fn new(fields: &[FieldRef]) -> Result<Self, StageError> {
        let sorted = fields.iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = (!fields.is_empty()).then(|| RowConverter::new(sorted)).transpose().map_err(broken)?;
        Ok(Self { converter, columns: fields.len() })
    }

    /// The keys of rows whose first columns these are.
    pub(crate) fn of(&self, columns: &[ArrayRef]) -> Result<KeyRows, StageError> {
        let rows = self.converter.as_ref().map(|c| {
            let columns: Vec<ArrayRef> = columns.iter().take(self.columns).map(canonical).collect();
            c.convert_columns(&columns)
        });
        rows.transpose().map(KeyRows).map_err(broken)
    }

    /// The key columns.
    pub(crate) fn columns<'k>(&self, keys: impl Iterator<Item = &'k Key>) -> Result<Vec<ArrayRef>, StageError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        converter.convert_rows(keys.map(|key| parser.parse(key))).map_err(broken)
    }
}

/// Zero has one sign, and what is no number one form: equal numbers are equal bytes.
pub(crate) fn canonical(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float64 => Arc::new(
            column
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            column
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }),
        ),
        _ => column.clone(),
    }
}

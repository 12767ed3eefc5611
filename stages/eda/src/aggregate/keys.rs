//! Keys of groups, and the form of numbers in them.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, AsArray};
use alluvium_engine::arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use alluvium_engine::stage::StageError;

use crate::form::{Bytes, Form};

/// The values of a group's key; nothing if there is one group only.
pub(crate) type Key = Bytes;

/// What is kept together: a key, and for windows a time (see [`Windows::kept`](super::window::Windows::kept)), else 0.
pub(crate) type Group = (Key, i64);

/// The form of keys.
pub(crate) fn form(keys: &[FieldRef]) -> Result<Form, StageError> {
    Form::plain(keys.iter().map(|f| f.data_type().clone()))
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

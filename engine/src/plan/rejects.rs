//! The rows of a port `STAGE.rejects`: the same columns whatever the stage.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::Epoch;
use crate::stage::Reject;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("stage", DataType::Utf8, false),
        Field::new("epoch", DataType::Int64, false),
        Field::new("object", DataType::Utf8, true),
        Field::new("line", DataType::Int64, true),
        Field::new("raw", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
    ]))
});

pub(crate) fn schema() -> SchemaRef {
    SCHEMA.clone()
}

pub(crate) fn batch(stage: &str, epoch: Epoch, rejects: &[Reject]) -> Result<RecordBatch, ArrowError> {
    let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![stage; rejects.len()])),
        Arc::new(Int64Array::from(vec![epoch; rejects.len()])),
        Arc::new(rejects.iter().map(|r| r.object.as_deref()).collect::<StringArray>()),
        Arc::new(rejects.iter().map(|r| r.line).collect::<Int64Array>()),
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| &r.raw))),
        // Expressions may hold variables of the environment, and reasons speak of expressions.
        Arc::new(StringArray::from_iter_values(rejects.iter().map(|r| crate::secret::redact(&r.reason)))),
    ];
    RecordBatch::try_new(schema(), columns)
}

//! The columns of a table that is read: recorded by the first run, compared with every version.

use std::sync::Arc;

use alluvium_engine::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, StringArray, StructArray, UInt32Array, new_null_array,
};
use alluvium_engine::arrow::compute::{CastOptions, cast_with_options, take};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::spec::type_name;
use alluvium_engine::stage::Resolved;
use deltalake::kernel::StructType;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::log::Metadata;
use crate::schema::same;

/// What is recorded of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The table's own identity: another table at the same place is none of ours.
    pub(crate) table: String,
    /// Whether files are split by the values of columns.
    partitioned: bool,
    /// Columns as the log has them.
    columns: Vec<Json>,
    /// Those that have come since the first run.
    pub(crate) added: Vec<String>,
    #[serde(skip)]
    generation: u64,
    /// The columns of rows; every one may be NULL, since a later version may lack it.
    #[serde(skip, default = "no_columns")]
    pub(crate) schema: SchemaRef,
}

/// How the columns of a version differ from those that are recorded.
pub(crate) struct Difference {
    /// Columns with another type.
    pub(crate) types: Vec<String>,
    /// Columns that are new, as the log has them.
    pub(crate) new: Vec<Json>,
}

fn no_columns() -> SchemaRef {
    Arc::new(Schema::empty())
}

impl Found {
    /// What a table says now.
    pub(crate) fn new(metadata: &Metadata) -> Result<Self, String> {
        let columns = columns(metadata)?;
        let schema = schema(&columns)?;
        let partitioned = !metadata.partition_columns.is_empty();
        Ok(Self { table: metadata.id.clone(), partitioned, columns, added: Vec::new(), generation: 1, schema })
    }

    /// What an earlier run has recorded.
    pub(crate) fn recorded(recorded: Resolved) -> Result<Self, String> {
        let found: Self = serde_json::from_value(recorded.value).map_err(|e| e.to_string())?;
        let schema = schema(&found.columns)?;
        Ok(Self { generation: recorded.generation, schema, ..found })
    }

    /// Whether a file has all columns.
    pub(crate) fn is_whole(&self) -> bool {
        !self.partitioned
    }

    pub(crate) fn record(&self) -> Resolved {
        let value = json!({ "table": self.table, "partitioned": self.partitioned, "columns": self.columns, "added": self.added });
        Resolved { generation: self.generation, value }
    }

    /// With columns that have come.
    pub(crate) fn and(&self, new: Vec<Json>) -> Self {
        let mut next = Self { generation: self.generation + 1, ..self.clone() };
        next.added.extend(new.iter().map(name));
        next.columns.extend(new);
        next
    }

    pub(crate) fn compare(&self, metadata: &Metadata) -> Result<Difference, String> {
        let columns = columns(metadata)?;
        let there = schema(&columns)?;
        let mut types = Vec::new();
        let mut new = Vec::new();
        for (column, field) in columns.into_iter().zip(there.fields()) {
            match self.schema.field_with_name(field.name()) {
                Err(_) => new.push(column),
                Ok(before) if !same(before.data_type(), field.data_type()) => types.push(format!(
                    "`{}` is {} and was {}",
                    field.name(),
                    type_name(field.data_type()),
                    type_name(before.data_type())
                )),
                Ok(_) => {}
            }
        }
        Ok(Difference { types, new })
    }
}

pub(crate) fn name(column: &Json) -> String {
    column.get("name").and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn columns(metadata: &Metadata) -> Result<Vec<Json>, String> {
    if metadata.configuration.get("delta.columnMapping.mode").is_some_and(|mode| mode != "none") {
        return Err(
            "its columns have other names in its files (`delta.columnMapping.mode`), which is not supported".into()
        );
    }
    let mut schema: Json = serde_json::from_str(&metadata.schema_string).map_err(|e| e.to_string())?;
    match schema.get_mut("fields").map(Json::take) {
        Some(Json::Array(columns)) => Ok(columns),
        _ => Err("its schema has no `fields`".into()),
    }
}

fn schema(columns: &[Json]) -> Result<SchemaRef, String> {
    let kernel: StructType =
        serde_json::from_value(json!({ "type": "struct", "fields": columns })).map_err(|e| e.to_string())?;
    let schema: Schema = (&kernel).try_into_arrow().map_err(|e: ArrowError| e.to_string())?;
    // Without what the log says beside: other tables have no use for it.
    let fields = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Never NULL in the place of a value.
const STRICT: CastOptions<'static> =
    CastOptions { safe: false, format_options: alluvium_engine::arrow::util::display::FormatOptions::new() };

/// Values of a partition column, from their text in the log.
pub(crate) fn constant(text: Option<&str>, of: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(new_null_array(of, rows)) };
    let one = cast_with_options(&StringArray::from(vec![text]), of, &STRICT)?;
    take(&one, &UInt32Array::from(vec![0; rows]), None)
}

/// Values with the type that the table has now: files may be older.
pub(crate) fn fit(column: &ArrayRef, of: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), of) {
        (there, of) if there == of => Ok(column.clone()),
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let values = column.as_struct();
            let part = |f: &Arc<Field>| match values.column_by_name(f.name()) {
                Some(part) => fit(part, f.data_type()),
                None => Ok(new_null_array(f.data_type(), column.len())),
            };
            let parts = fields.iter().map(part).collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(StructArray::try_new_with_length(
                fields.clone(),
                parts,
                column.nulls().cloned(),
                column.len(),
            )?))
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = column.as_list::<i32>();
            let values = fit(list.values(), item.data_type())?;
            Ok(Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, list.nulls().cloned())?))
        }
        (there, of) if is_kin(there, of) => cast_with_options(column, of, &STRICT),
        (there, of) => Err(ArrowError::CastError(format!("values of type {there} where the table has {of}"))),
    }
}

/// Whether values of a type are, or were before the table got a wider one, values of another. Values that do not fit are
/// errors.
fn is_kin(there: &DataType, of: &DataType) -> bool {
    use DataType as D;
    match (there, of) {
        (D::Timestamp(..), D::Timestamp(..)) | (D::Decimal128(..), D::Decimal128(..)) => true,
        (D::LargeUtf8 | D::Utf8View, D::Utf8) | (D::LargeBinary | D::BinaryView | D::Utf8, D::Binary) => true,
        (D::Float32, D::Float64) => true,
        (there, of) => there.is_integer() && (of.is_integer() || matches!(of, D::Float64 | D::Decimal128(..))),
    }
}

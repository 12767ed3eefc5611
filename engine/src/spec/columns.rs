//! Column types as people write them in a spec.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Text.
    String,
    /// 32-bit whole number.
    Int,
    /// 64-bit whole number.
    Bigint,
    /// 32-bit floating point number.
    Float,
    /// 64-bit floating point number.
    Double,
    /// true or false.
    Boolean,
    /// A day, such as 2026-03-01.
    Date,
    /// A moment in UTC with microseconds; in text as RFC 3339, such as 2026-03-01T10:00:00Z.
    Timestamp,
}

impl ColumnType {
    /// The Arrow type.
    pub fn arrow(self) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Int => DataType::Int32,
            Self::Bigint => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::Boolean => DataType::Boolean,
            Self::Date => DataType::Date32,
            Self::Timestamp => timestamp(),
        }
    }
}

/// The type of every moment in a pipeline: microseconds, UTC.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A type in the words of specs and SQL, for messages.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Int8 => "tinyint".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "int".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => "timestamp".into(),
        DataType::List(field) => format!("list of {}", type_name(field.data_type())),
        DataType::Struct(fields) => {
            let part = |f: &Arc<Field>| format!("{} {}", f.name(), type_name(f.data_type()));
            format!("struct ({})", fields.iter().map(part).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// A message of a library with its names of types in the words of specs.
pub fn in_words(text: &str) -> String {
    let names = [
        ("Timestamp(µs, \"UTC\")", "timestamp"),
        ("LargeUtf8", "string"),
        ("Utf8View", "string"),
        ("Utf8", "string"),
        ("Float64", "double"),
        ("Float32", "float"),
        ("Int64", "bigint"),
        ("Int32", "int"),
        ("Date32", "date"),
        ("Boolean", "boolean"),
    ];
    names.iter().fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
}

/// Columns by name, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns(pub Vec<(String, ColumnType)>);

impl Columns {
    /// Nullable Arrow fields.
    pub fn fields(&self) -> Vec<Field> {
        self.0.iter().map(|(name, t)| Field::new(name, t.arrow(), true)).collect()
    }

    /// The Arrow schema.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::new(Schema::new(self.fields()))
    }
}

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Columns;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mapping of column names to types")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    columns.push(entry);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl JsonSchema for Columns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Columns".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let column = generator.subschema_for::<ColumnType>();
        schemars::json_schema!({ "type": "object", "additionalProperties": column, "minProperties": 1 })
    }
}

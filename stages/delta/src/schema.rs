//! The table's columns and the plan's.

use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::spec::type_name;
use alluvium_engine::stage::StageError;
use deltalake::DeltaTable;
use deltalake::kernel::StructField;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;

use crate::commit::alone;
use crate::config::OnSchemaChange;
use crate::table::Target;

const MAPPING: &str = "delta.columnMapping.mode";

/// Makes sure that rows of the plan fit the table; adds columns where that is allowed.
pub(crate) async fn reconcile(target: &Target, table: DeltaTable) -> Result<DeltaTable, StageError> {
    let snapshot = table.snapshot().map_err(|e| target.place.failed("read", e))?;
    let there = snapshot.snapshot().arrow_schema();
    let split = snapshot.metadata().partition_columns().to_vec();
    let fault = |message: String, hint: &str| Err(StageError::user(message).object(target.place.shown()).hint(hint));
    if split != target.config.partition_by {
        return fault(
            format!(
                "the table is split by [{}], the stage says [{}]",
                split.join(", "),
                target.config.partition_by.join(", ")
            ),
            "set `partition_by:` to what the table has, or write a new table",
        );
    }
    if !matches!(snapshot.metadata().configuration().get(MAPPING).map(String::as_str), None | Some("none")) {
        return fault(
            format!("the table's columns have other names in its files (`{MAPPING}`), which is not supported"),
            "write a new table",
        );
    }
    let difference = Difference::between(&there, &target.schema);
    if !difference.types.is_empty() {
        return fault(
            format!("columns have other types in the table: {}", difference.types.join("; ")),
            "CAST them in a `sql` stage before, or write a new table",
        );
    }
    if difference.new.is_empty() && difference.gone.is_empty() {
        return Ok(table);
    }
    let came = difference.gone.is_empty() && difference.new.iter().all(|name| target.evolved.contains(name));
    if target.config.on_schema_change == OnSchemaChange::Fail && !came {
        return fault(
            format!("the table has other columns: {}", difference.text()),
            "set `on_schema_change: add` to add new columns, or write a new table",
        );
    }
    if let Some(required) =
        difference.gone.iter().find(|name| there.field_with_name(name).is_ok_and(|f| !f.is_nullable()))
    {
        return fault(
            format!("the table's column `{required}` must not be NULL, and the rows lack it"),
            "give the rows this column, or write a new table",
        );
    }
    if difference.new.is_empty() {
        return Ok(table);
    }
    let fields: Result<Vec<StructField>, _> = difference
        .new
        .iter()
        .filter_map(|name| target.schema.field_with_name(name).ok())
        .map(|f| (&f.clone().with_nullable(true)).try_into_kernel())
        .collect();
    let fields = fields.map_err(|e: deltalake::arrow::error::ArrowError| {
        StageError::user("new columns cannot be those of a Delta table").object(target.place.shown()).because(e)
    })?;
    tracing::info!(table = %target.place.shown(), columns = ?difference.new, "adding columns to the table");
    let added: Result<DeltaTable, _> = table.add_columns().with_fields(fields).with_commit_properties(alone()).await;
    added.map_err(|e| target.place.failed("given new columns", e))
}

#[derive(Default)]
struct Difference {
    types: Vec<String>,
    /// In the plan only.
    new: Vec<String>,
    /// In the table only.
    gone: Vec<String>,
}

impl Difference {
    fn between(table: &SchemaRef, plan: &SchemaRef) -> Self {
        let mut difference = Self::default();
        for field in plan.fields() {
            match table.field_with_name(field.name()) {
                Err(_) => difference.new.push(field.name().clone()),
                Ok(there) if !same(there.data_type(), field.data_type()) => {
                    difference.types.push(format!(
                        "`{}` is {} there and {} here",
                        field.name(),
                        type_name(there.data_type()),
                        type_name(field.data_type())
                    ));
                }
                Ok(_) => {}
            }
        }
        difference.gone = table
            .fields()
            .iter()
            .filter(|f| plan.field_with_name(f.name()).is_err())
            .map(|f| f.name().clone())
            .collect();
        difference
    }

    fn text(&self) -> String {
        let quote = |names: &[String]| names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !self.new.is_empty() {
            parts.push(format!("it lacks {}", quote(&self.new)));
        }
        if !self.gone.is_empty() {
            parts.push(format!("the rows lack {}", quote(&self.gone)));
        }
        parts.join("; ")
    }
}

/// Whether two Arrow types are one Delta type.
pub(crate) fn same(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => same(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| a.name() == b.name() && same(a.data_type(), b.data_type()))
        }
        _ => a == b,
    }
}

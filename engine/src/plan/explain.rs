//! A plan in words.

use std::fmt::Write;

use arrow::datatypes::SchemaRef;

use super::{Plan, PlannedStage, reject_schema};
use crate::secret;
use crate::spec::type_name;
use crate::stage::{Role, Route, without_diff};

/// The plan for a person: stages in order, columns on every edge, routes, guarantees per table.
pub fn explain(plan: &Plan) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(plan, &mut out);
    secret::redact(&out)
}

fn write(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "pipeline {}  (plan {})", plan.pipeline, plan.hash)?;
    if let Some(description) = &plan.description {
        writeln!(out, "  {description}")?;
    }
    writeln!(out, "  state    {}", secret::public_url(&plan.state))?;
    let limits = &plan.limits;
    writeln!(out, "  epochs   closed at {} or {} splits; at most {} open", limits.bytes, limits.splits, limits.open)?;
    for (number, stage) in plan.stages.iter().enumerate() {
        writeln!(out, "\n{}. {}  {} ({})", number + 1, stage.name, stage.kind, stage.role.name())?;
        stage_lines(plan, stage, out)?;
    }
    writeln!(out, "\ntables")?;
    let mut any = false;
    for stage in &plan.stages {
        if let Some(table) = &stage.outputs.table {
            any = true;
            writeln!(out, "  {:<16} {}  {}", stage.name, table.guarantee, secret::public_url(&table.url))?;
        }
    }
    if !any {
        writeln!(out, "  none: nothing of this pipeline is kept")?;
    }
    Ok(())
}

fn stage_lines(plan: &Plan, stage: &PlannedStage, out: &mut String) -> std::fmt::Result {
    if let Some(description) = &stage.description {
        writeln!(out, "   {description}")?;
    }
    for edge in &stage.edges {
        let from = plan.stages.get(edge.from).map_or("?", |s| s.name.as_str());
        let port = if edge.rejects { ".rejects" } else { "" };
        let route = match &edge.route {
            Route::Pipeline => "stays on its worker".into(),
            Route::Exchange(keys) => format!("exchanged by {}", keys.join(", ")),
        };
        writeln!(out, "   from     {from}{port}, {route}")?;
    }
    match (stage.role, &stage.outputs.changes) {
        (Role::Sink, _) => {}
        (_, None) => writeln!(out, "   rows     {}", columns(&stage.outputs.schema))?,
        (_, Some(changes)) => {
            let by = if changes.keys.is_empty() { String::new() } else { format!("  by {}", changes.keys.join(", ")) };
            writeln!(out, "   changes  {}{by}", columns(&without_diff(&stage.outputs.schema)))?;
        }
    }
    if stage.outputs.rejects {
        writeln!(out, "   rejects  {}", columns(&reject_schema()))?;
    }
    if stage.outputs.heavy {
        writeln!(out, "   runs     on threads of its own")?;
    }
    if let Some(state) = &stage.outputs.state {
        // Columns of the stage's own have names that begin so.
        let keys = state.schema.fields().iter().take(state.keys).map(|f| f.name().as_str());
        let keys: Vec<&str> = keys.filter(|name| !name.starts_with('_')).collect();
        let by = if keys.is_empty() { String::new() } else { format!("by {}, ", keys.join(", ")) };
        writeln!(out, "   state    {by}saved with every epoch")?;
    }
    if let Some(table) = &stage.outputs.table {
        writeln!(out, "   table    {}", secret::public_url(&table.url))?;
    }
    for (name, value) in &stage.outputs.lineage {
        writeln!(out, "   lineage  {name} = {value}")?;
    }
    Ok(())
}

/// `name type` for each column.
pub(crate) fn columns(schema: &SchemaRef) -> String {
    let list = schema.fields().iter().map(|f| format!("{} {}", f.name(), type_name(f.data_type())));
    list.collect::<Vec<_>>().join(", ")
}

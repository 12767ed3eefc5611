//! What is shown of a pipeline that does not say it: what the columns of its tables suggest.

use std::collections::BTreeSet;

use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::plan::{Plan, PlannedStage};
use alluvium_engine::spec::{Chart, Names, Panel, Report};
use alluvium_engine::tables::Snapshot;
use indexmap::IndexMap;

use crate::rows::Rows;

/// A column with so many different values, at most, has its distribution shown.
const FEW: f64 = 12.0;
/// Distributions of a table, at most.
const DISTRIBUTIONS: usize = 4;

/// The panels of a pipeline.
///
/// # Errors
/// When a table cannot be asked what it holds.
pub(crate) async fn report(plan: &Plan, tables: &dyn Snapshot) -> Result<Report, String> {
    let mut panels = IndexMap::new();
    let written: Vec<(usize, &PlannedStage)> =
        plan.stages.iter().enumerate().filter(|(_, s)| is_written(s, tables)).collect();
    let mut filled = BTreeSet::new();
    for (at, stage) in &written {
        let count = format!("SELECT count(*) AS rows FROM \"{}\"", stage.name);
        let rows = Rows::new(&tables.query(&count, None).await?, 1)?;
        if rows.column("rows")?.number(0).is_some_and(|n| n > 0.0) {
            filled.insert(*at);
        }
        let count = Panel::of_query(&stage.name, Chart::Number, count);
        let description = stage.description.clone().or_else(|| Some("rows".into()));
        panels.insert(format!("{}_rows", stage.name), Panel { description, ..count });
    }
    for (at, stage) in written.iter().filter(|(at, _)| filled.contains(at)) {
        let Some(table) = &stage.outputs.table else { continue };
        if !table.keys.is_empty() {
            panels.extend(largest(&stage.name, &table.keys, &table.schema));
        } else if !is_rejects(&table.schema) && is_last(plan, *at, &filled) {
            panels.extend(over_time(&stage.name, &table.schema, tables).await?);
            panels.extend(distributions(&stage.name, &table.schema, tables).await?);
        }
    }
    for (_, stage) in written.iter().filter(|(_, s)| s.outputs.table.as_ref().is_some_and(|t| is_rejects(&t.schema))) {
        let sql = format!(
            "SELECT concat(stage, ': ', reason) AS reason, count(*) AS rows FROM \"{}\" GROUP BY 1 ORDER BY rows DESC, 1",
            stage.name
        );
        let panel = Panel::of_query(format!("Rejected rows in {}", stage.name), Chart::Bar, sql);
        panels.insert(format!("{}_reasons", stage.name), Panel { limit: Some(15), ..bars(panel, "reason", "rows") });
    }
    Ok(Report { title: None, description: None, panels })
}

fn is_written(stage: &PlannedStage, tables: &dyn Snapshot) -> bool {
    tables.tables().iter().any(|t| t.stage == stage.name && t.version.is_some())
}

/// Rows that some stage could not process.
fn is_rejects(schema: &SchemaRef) -> bool {
    ["stage", "epoch", "object", "line", "raw", "reason"].iter().all(|c| schema.index_of(c).is_ok())
}

/// Whether no other table of rows that are only added, with any in it, is made of this one's: then it says most.
fn is_last(plan: &Plan, at: usize, filled: &BTreeSet<usize>) -> bool {
    let mut readers =
        plan.stages.iter().enumerate().filter(|(_, s)| s.edges.iter().any(|e| e.from == at && !e.rejects));
    readers.all(|(reader, stage)| {
        let rows = stage.outputs.table.as_ref().is_some_and(|t| t.keys.is_empty()) && filled.contains(&reader);
        !rows && is_last(plan, reader, filled)
    })
}

fn bars(panel: Panel, x: &str, y: &str) -> Panel {
    Panel { x: Some(x.into()), y: Some(Names::One(y.into())), ..panel }
}

/// The ten keys with the most of the first number.
fn largest(table: &str, keys: &[String], schema: &SchemaRef) -> Option<(String, Panel)> {
    let number = schema.fields().iter().find(|f| f.data_type().is_numeric() && !keys.contains(f.name()))?.name();
    let key: Vec<String> = keys.iter().map(|k| format!("CAST({} AS VARCHAR)", quoted(k))).collect();
    let label = keys.join(" ");
    let sql = format!(
        "SELECT concat_ws(' ', {}) AS {}, {} FROM \"{table}\" ORDER BY 2 DESC NULLS LAST, 1",
        key.join(", "),
        quoted(&label),
        quoted(number)
    );
    let panel = Panel::of_query(format!("{table}: largest {number}"), Chart::Bar, sql);
    Some((format!("{table}_largest"), Panel { limit: Some(10), ..bars(panel, &label, number) }))
}

/// Rows by the first column of times, in steps that suit their span.
async fn over_time(table: &str, schema: &SchemaRef, tables: &dyn Snapshot) -> Result<Option<(String, Panel)>, String> {
    let moment = schema.fields().iter().find(|f| matches!(f.data_type(), DataType::Timestamp(..)));
    let day_only = || schema.fields().iter().find(|f| f.data_type() == &DataType::Date32);
    let Some(field) = moment.or_else(day_only) else { return Ok(None) };
    let column = field.name();
    let name = quoted(column);
    let ends = tables.query(&format!("SELECT min({name}) AS lo, max({name}) AS hi FROM \"{table}\""), None).await?;
    let ends = Rows::new(&ends, 1)?;
    let (Some(lo), Some(hi)) = (ends.column("lo")?.number(0), ends.column("hi")?.number(0)) else { return Ok(None) };
    let day = 86_400.0;
    let step = match hi - lo {
        span if span > 1_500.0 * day => "month",
        span if span > 4.0 * day || moment.is_none() => "day",
        span if span > 7_200.0 => "hour",
        _ => "minute",
    };
    let sql = format!(
        "SELECT date_trunc('{step}', {name}) AS {name}, count(*) AS rows FROM \"{table}\" WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 1"
    );
    let panel = Panel::of_query(format!("{table}: rows by {step} of {column}"), Chart::Line, sql);
    Ok(Some((format!("{table}_over_time"), bars(panel, column, "rows"))))
}

/// How often each value comes, of columns that have few.
async fn distributions(table: &str, schema: &SchemaRef, tables: &dyn Snapshot) -> Result<Vec<(String, Panel)>, String> {
    let text =
        |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean);
    let names: Vec<&String> = schema.fields().iter().filter(|f| text(f.data_type())).map(|f| f.name()).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let counts =
        names.iter().enumerate().map(|(at, n)| format!("approx_distinct(CAST({} AS VARCHAR)) AS c{at}", quoted(n)));
    let sql = format!("SELECT {} FROM \"{table}\"", counts.collect::<Vec<_>>().join(", "));
    let found = Rows::new(&tables.query(&sql, None).await?, 1)?;
    let few = names.iter().zip(&found.columns).filter(|(_, c)| c.number(0).is_some_and(|n| (2.0..=FEW).contains(&n)));
    let panel = |name: &str| {
        let sql = format!(
            "SELECT CAST({0} AS VARCHAR) AS {0}, count(*) AS rows FROM \"{table}\" GROUP BY 1 ORDER BY 2 DESC, 1",
            quoted(name)
        );
        (
            format!("{table}_{name}"),
            bars(Panel::of_query(format!("{table}: rows by {name}"), Chart::Bar, sql), name, "rows"),
        )
    };
    Ok(few.take(DISTRIBUTIONS).map(|(name, _)| panel(name)).collect())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

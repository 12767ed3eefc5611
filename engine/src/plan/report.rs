//! Whether the panels of a report can be: without looking into any table.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, SchemaRef};

use super::PlannedStage;
use crate::spec::{Chart, Names, Node, Panel, Problem, Report, Spec, place, type_name};
use crate::tables::Tables;

/// All that is wrong with the panels. Without a reader queries are not looked at: stages have problems of their own.
pub(super) fn check(
    report: &Report,
    node: &Node,
    spec: &Spec,
    done: &BTreeMap<usize, PlannedStage>,
    reader: Option<&dyn Tables>,
    runtime: &tokio::runtime::Handle,
) -> Vec<Problem> {
    let tables: Vec<(String, SchemaRef)> =
        done.values().filter_map(|s| Some((s.name.clone(), s.outputs.table.as_ref()?.schema.clone()))).collect();
    let all_known = done.len() == spec.stages.len();
    let mut problems = Vec::new();
    for (name, panel) in &report.panels {
        let mut found = shape(name, panel);
        if found.is_empty() && all_known {
            found.extend(source(panel, spec, &tables));
        }
        if let (true, Some(reader)) = (found.is_empty(), reader) {
            found.extend(match runtime.block_on(reader.plan(&tables, &panel.sql())) {
                Ok(columns) => fit(panel, &columns),
                Err(problem) => {
                    let key = if panel.query.is_some() { "query" } else { "order" };
                    vec![Problem { path: vec![key.into()], ..problem }]
                }
            });
        }
        let key = node.get("panels").and_then(|p| p.entries().iter().find(|(key, _)| &key.name == name));
        let Some((key, panel_node)) = key else { continue };
        problems.extend(found.into_iter().map(|p| {
            let p = if p.path.is_empty() && p.label.is_none() { p.label("this panel") } else { p };
            place(panel_node, &key.span, p)
        }));
    }
    problems
}

/// What can be said of a panel alone.
fn shape(name: &str, panel: &Panel) -> Vec<Problem> {
    let mut problems = Vec::new();
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !valid {
        problems.push(
            Problem::new(format!("`{name}` is not a panel name"))
                .help("use letters, digits, `_` and `-`, beginning with a letter: files are named after panels"),
        );
    }
    match (&panel.table, &panel.query) {
        (None, None) => problems.push(
            Problem::new(format!("the panel `{name}` shows nothing"))
                .help("add `table: STAGE`, or `query: SELECT …` over the pipeline's tables"),
        ),
        (Some(_), Some(_)) => problems.push(
            Problem::field("query", "a panel shows a table or the answer of a query, not both")
                .label("second one")
                .help("keep one of `table` and `query`"),
        ),
        (None, Some(_)) if panel.order.is_some() => problems.push(
            Problem::field("order", "`order` sorts the rows of `table`")
                .label("no effect here")
                .help("write ORDER BY into the query"),
        ),
        _ => {}
    }
    let chart = panel.chart.name();
    let (needed, allowed) = panel.chart.columns();
    let given = [
        ("x", panel.x.is_some()),
        ("y", panel.y.is_some()),
        ("series", panel.series.is_some()),
        ("value", panel.value.is_some()),
    ];
    for (field, given) in given {
        if needed.contains(&field) && !given {
            problems.push(
                Problem { at_key: true, ..Problem::new(format!("a `{chart}` needs `{field}`")) }
                    .help(format!("add `{field}:` with the name of a column")),
            );
        } else if given && !needed.contains(&field) && !allowed.contains(&field) {
            problems.push(
                Problem::field(field, format!("a `{chart}` has no `{field}`"))
                    .label("no effect here")
                    .help("remove it, or choose another `chart`"),
            );
        }
    }
    let several = panel.y.as_ref().is_some_and(|y| y.list().len() != 1);
    let single = panel.series.is_some() || matches!(panel.chart, Chart::Heatmap | Chart::Number);
    if several && (single || panel.y.as_ref().is_some_and(|y| y.list().is_empty())) {
        let why = if panel.series.is_some() { " beside `series`" } else { "" };
        problems.push(
            Problem::field("y", format!("a `{chart}`{why} has one column `y`"))
                .label("not one")
                .help("give one name, or make a series of each of several columns by leaving `series` out"),
        );
    }
    problems
}

/// Whether `table` is one.
fn source(panel: &Panel, spec: &Spec, tables: &[(String, SchemaRef)]) -> Option<Problem> {
    let table = panel.table.as_ref().filter(|t| !tables.iter().any(|(name, _)| name == *t))?;
    let stage = spec.stages.iter().any(|s| &s.name.name == table);
    let message = if stage { format!("`{table}` writes no table") } else { format!("there is no stage `{table}`") };
    let problem = Problem::field("table", message).label(if stage { "not a table" } else { "no such stage" });
    Some(problem.suggest(table, tables.iter().map(|(name, _)| name.as_str()), "stages that write tables"))
}

/// Whether the columns are there, and of types that can be drawn.
fn fit(panel: &Panel, columns: &SchemaRef) -> Vec<Problem> {
    let mut problems = Vec::new();
    let numbers = panel.y.as_ref().map(Names::list).unwrap_or_default();
    let mut wanted: Vec<(&str, &str, Need)> = Vec::new();
    let x = match panel.chart {
        Chart::Line | Chart::Area => Need::Axis,
        Chart::Histogram => Need::Number,
        _ => Need::Any,
    };
    let y = if panel.chart == Chart::Heatmap || panel.chart == Chart::Number { Need::Any } else { Need::Number };
    wanted.extend(panel.x.as_deref().map(|c| ("x", c, x)));
    wanted.extend(numbers.iter().map(|c| ("y", c.as_str(), y)));
    wanted.extend(panel.series.as_deref().map(|c| ("series", c, Need::Any)));
    wanted.extend(panel.value.as_deref().map(|c| ("value", c, Need::Number)));
    for (field, name, need) in wanted {
        let Ok(column) = columns.field_with_name(name) else {
            let known = columns.fields().iter().map(|f| f.name().as_str());
            let problem = Problem::field(field, format!("the rows of the panel have no column `{name}`"));
            problems.push(problem.within(name).label("no such column").suggest(name, known, "columns"));
            continue;
        };
        if let Some(expected) = need.lacks(column.data_type()) {
            let found = type_name(column.data_type());
            problems.push(
                Problem::field(
                    field,
                    format!("`{name}` has type {found}, and `{field}` of a `{}` is {expected}", panel.chart.name()),
                )
                .within(name)
                .label("cannot be drawn")
                .help("name another column, or CAST it in a `query`"),
            );
        }
    }
    if panel.chart == Chart::Number && panel.y.is_none() && columns.fields().len() != 1 {
        let known: Vec<String> = columns.fields().iter().map(|f| format!("`{}`", f.name())).collect();
        problems.push(
            Problem::field("chart", "it is not clear which column is the number")
                .label("of several columns")
                .help(format!("add `y: COLUMN`; columns: {}", known.join(", "))),
        );
    }
    problems
}

/// What a column must be.
#[derive(Clone, Copy)]
enum Need {
    Any,
    Number,
    /// Something with distances.
    Axis,
}

impl Need {
    /// What was expected, if the type is not that.
    fn lacks(self, found: &DataType) -> Option<&'static str> {
        let time = matches!(found, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
        match self {
            Self::Number if !found.is_numeric() => Some("a number"),
            Self::Axis if !found.is_numeric() && !time => Some("a number or a time"),
            _ => None,
        }
    }
}

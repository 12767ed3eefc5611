//! Everything that is known at plan time, and the query that computes what the aggregates need of a row.

use std::collections::HashSet;
use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use alluvium_engine::spec::{Problem, timestamp, type_name};
use alluvium_engine::stage::{DIFF, Input};
use alluvium_sql::{Query, quote};

use super::Aggregate;
use super::column::{Column, column, share};
use super::definition::Key;
use super::selection::{Selection, expression};
use super::window::{OnLate, Windows, micros};

/// Columns of the output that say which window a row is of.
pub(crate) const WINDOW: [&str; 2] = ["window_start", "window_end"];

pub(crate) struct Shape {
    /// Rows in, projected rows out: keys first, then the time, then arguments and conditions; the number of a change last.
    pub(crate) query: Query,
    pub(crate) columns: Vec<Column>,
    /// The window, the keys, then one column for each aggregate.
    pub(crate) output: SchemaRef,
    /// How many of the projected columns are keys.
    pub(crate) keys: usize,
    pub(crate) window: Option<Timed>,
}

/// What is known of the windows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub(crate) windows: Windows,
    /// The time in the projected rows.
    pub(crate) time: usize,
    /// Microseconds; without it windows are never closed.
    pub(crate) lateness: Option<i64>,
    pub(crate) on_late: OnLate,
}

impl Shape {
    pub(crate) fn new(config: &Aggregate, input: &Input) -> Result<Self, Vec<Problem>> {
        let schema = &input.schema;
        let mut problems = keys(&config.by, schema);
        if let Some(filter) = &config.filter {
            problems.extend(expression(filter, schema, "where", true).err());
        }
        let mut selected: Vec<String> = config.by.iter().map(selection).collect();
        let window = match timed(config, schema, selected.len()) {
            Ok(window) => window,
            Err(more) => {
                problems.extend(more);
                None
            }
        };
        if let Some(window) = &config.window {
            selected.push(format!("{} AS _time", quote(&window.time)));
        }
        let mut selection = Selection::new(schema, selected);
        let session = window.is_some_and(|w| matches!(w.windows, Windows::Session { .. }));
        let taken: Vec<&str> = config.by.iter().map(Key::name).chain(window.iter().flat_map(|_| WINDOW)).collect();
        let mut columns = Vec::new();
        for (name, definition) in &config.columns {
            let path = format!("columns.{name}");
            if taken.contains(&name.as_str()) {
                problems.push(
                    Problem::field(&path, format!("`{name}` is already a key"))
                        .label("the name is taken")
                        .help("give the aggregate another name"),
                );
            }
            match column(definition, &path, input, session, &mut selection) {
                Ok(column) => columns.push(column),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let condition = config.filter.as_ref().map(|f| format!(" WHERE {f}")).unwrap_or_default();
        let sql = format!("SELECT {} FROM input{condition}", selection.text());
        let query = Query::plan(&sql, schema).map_err(|r| vec![r.problem("columns")])?;
        let projected = query.schema();
        let mut fields: Vec<Field> =
            window.iter().flat_map(|_| WINDOW).map(|name| Field::new(name, timestamp(), false)).collect();
        fields.extend(projected.fields().iter().take(config.by.len()).map(|f| f.as_ref().clone()));
        for (column, name) in columns.iter_mut().zip(config.columns.keys()) {
            column.typed(&projected);
            fields.push(Field::new(name, column.output(), !column.counts()));
        }
        share(&mut columns);
        Ok(Self { query, columns, output: Arc::new(Schema::new(fields)), keys: config.by.len(), window })
    }

    /// The key columns, without the window.
    pub(crate) fn keys(&self) -> &[FieldRef] {
        let first = if self.window.is_some() { WINDOW.len() } else { 0 };
        let fields = self.output.fields();
        &fields[first.min(fields.len())..(first + self.keys).min(fields.len())]
    }

    /// Columns of which no two rows have the same values.
    pub(crate) fn unique(&self) -> Vec<String> {
        let mut names: Vec<String> = self.window.iter().map(|_| WINDOW[0].to_owned()).collect();
        names.extend(self.keys().iter().map(|f| f.name().clone()));
        if names.is_empty() {
            // There is one row, so any column will do.
            names.extend(self.output.fields().first().map(|f| f.name().clone()));
        }
        names
    }

    /// Types of keys and arguments: part of what the state means.
    pub(crate) fn types(&self) -> Vec<String> {
        let projected = self.query.schema();
        let first = self.keys + usize::from(self.window.is_some());
        let mut places: Vec<usize> = (0..first).collect();
        places.extend(self.columns.iter().flat_map(|c| c.arguments.iter().chain(&c.filter)));
        let known: HashSet<usize> = places.iter().copied().collect();
        let rest: Vec<usize> = (0..projected.fields().len()).filter(|at| !known.contains(at)).collect();
        places.into_iter().chain(rest).map(|at| projected.field(at).data_type().to_string()).collect()
    }
}

fn selection(key: &Key) -> String {
    match key.expression() {
        None => quote(key.name()),
        Some(expression) => format!("({expression}) AS {}", quote(key.name())),
    }
}

fn keys(by: &[Key], input: &SchemaRef) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, key) in by.iter().enumerate() {
        let (name, path) = (key.name(), format!("by.{at}"));
        let found = match key.expression() {
            Some(text) => expression(text, input, &format!("{path}.{name}"), false),
            None => input.field_with_name(name).map(|f| f.data_type().clone()).map_err(|_| {
                Problem::field(&path, format!("there is no column `{name}`")).label("not a column").suggest(
                    name,
                    input.fields().iter().map(|f| f.name().as_str()),
                    "columns",
                )
            }),
        };
        match found {
            Err(problem) => problems.push(problem),
            Ok(found) if found.is_nested() => problems.push(
                Problem::field(&path, format!("a column of type {} makes no groups", type_name(&found))).label("here"),
            ),
            Ok(_) if name == DIFF || by.iter().take(at).any(|b| b.name() == name) => {
                problems.push(Problem::field(&path, format!("`{name}` is given twice")).label("here"));
            }
            Ok(_) => {}
        }
    }
    problems
}

fn timed(config: &Aggregate, input: &SchemaRef, time: usize) -> Result<Option<Timed>, Vec<Problem>> {
    let Some(window) = &config.window else { return Ok(None) };
    let mut problems = Vec::new();
    match input.field_with_name(&window.time) {
        Err(_) => problems.push(
            Problem::field("window.time", format!("there is no column `{}`", window.time))
                .label("not a column")
                .suggest(&window.time, input.fields().iter().map(|f| f.name().as_str()), "columns"),
        ),
        Ok(field) if !matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) => problems.push(
            Problem::field(
                "window.time",
                format!("column `{}` is {}, a timestamp is needed", window.time, type_name(field.data_type())),
            )
            .label("not a time")
            .help("make one in a `sql` stage before, with parse_timestamp or CAST"),
        ),
        Ok(_) => {}
    }
    for name in config.by.iter().map(Key::name).filter(|name| WINDOW.contains(name)) {
        problems
            .push(Problem::field("by", format!("`{name}` is the name of a column that the window adds")).label("here"));
    }
    if window.lateness.is_none() && window.on_late != OnLate::Drop {
        problems.push(
            Problem::field("window.on_late", "without `lateness` no row is late")
                .label("no effect here")
                .help("add for example `lateness: 1h`"),
        );
    }
    match window.windows() {
        Ok(windows) if problems.is_empty() => {
            Ok(Some(Timed { windows, time, lateness: window.lateness.map(micros), on_late: window.on_late }))
        }
        Ok(_) => Err(problems),
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

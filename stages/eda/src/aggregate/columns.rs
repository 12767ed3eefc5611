//! What the aggregates are, and the query that computes what they need of a row.

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_sql::{Query, Refused};
use indexmap::IndexMap;

/// One aggregate: exactly one of the functions, and optionally a condition.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// Number of rows (`"*"`), or of rows where this SQL expression is not NULL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<String>,
    /// Sum of a numeric SQL expression; NULL when there was no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sum: Option<String>,
    /// Mean of a numeric SQL expression; NULL when there was no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avg: Option<String>,
    /// Least value of a SQL expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<String>,
    /// Greatest value of a SQL expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<String>,
    /// SQL condition: only these rows count.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    filter: Option<String>,
}

/// The function of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

impl Definition {
    fn function(&self) -> Result<(Function, &str, &'static str), Problem> {
        let given: Vec<(Function, &str, &'static str)> = [
            (Function::Count, &self.count, "count"),
            (Function::Sum, &self.sum, "sum"),
            (Function::Avg, &self.avg, "avg"),
            (Function::Min, &self.min, "min"),
            (Function::Max, &self.max, "max"),
        ]
        .into_iter()
        .filter_map(|(function, expression, name)| Some((function, expression.as_deref()?, name)))
        .collect();
        match given.as_slice() {
            [one] => Ok(*one),
            [] => Err(Problem::new("an aggregate needs a function")
                .label("no function")
                .help("one of count, sum, avg, min, max; for example `{ count: \"*\" }`")),
            _ => Err(Problem::new("an aggregate has one function")
                .label("several functions")
                .help("make a column of each")),
        }
    }
}

/// What an aggregate is at run time.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) function: Function,
    /// Its argument in the projected rows; none for `count(*)`.
    pub(crate) argument: Option<usize>,
    /// Its condition in the projected rows.
    pub(crate) filter: Option<usize>,
    /// Type of the argument.
    pub(crate) input: DataType,
}

/// Everything that is known at plan time.
pub(crate) struct Shape {
    /// Rows in, projected rows out: keys first, then arguments and conditions.
    pub(crate) query: Query,
    pub(crate) columns: Vec<Column>,
    /// Keys, then one column for each aggregate.
    pub(crate) output: SchemaRef,
    keys: usize,
}

impl Shape {
    pub(crate) fn new(
        by: &[String],
        filter: Option<&str>,
        definitions: &IndexMap<String, Definition>,
        input: &SchemaRef,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, name) in by.iter().enumerate() {
            if input.field_with_name(name).is_err() {
                problems.push(
                    Problem::field(&format!("by.{at}"), format!("there is no column `{name}`"))
                        .label("not a column")
                        .suggest(name, input.fields().iter().map(|f| f.name().as_str()), "columns"),
                );
            } else if by.iter().take(at).any(|b| b == name) {
                problems.push(Problem::field(&format!("by.{at}"), format!("`{name}` is given twice")).label("here"));
            }
        }
        if let Some(filter) = filter {
            problems.extend(expression(filter, input, "where", true).err());
        }
        let mut selected: Vec<String> = by.iter().map(|name| quote(name)).collect();
        let mut columns = Vec::new();
        for (name, definition) in definitions {
            let path = format!("columns.{name}");
            if by.contains(name) {
                problems.push(
                    Problem::field(&path, format!("`{name}` is already a key"))
                        .label("the name is taken")
                        .help("give the aggregate another name"),
                );
            }
            match column(definition, &path, input, &mut selected) {
                Ok(column) => columns.push(column),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let condition = filter.map(|f| format!(" WHERE {f}")).unwrap_or_default();
        let sql = format!("SELECT {} FROM input{condition}", selected.join(", "));
        let query = Query::plan(&sql, input).map_err(|r| vec![refused(r, "columns")])?;
        let mut fields: Vec<Field> =
            query.schema().fields().iter().take(by.len()).map(|f| f.as_ref().clone()).collect();
        for (column, name) in columns.iter_mut().zip(definitions.keys()) {
            column.input = column.argument.map_or(DataType::Int64, |i| query.schema().field(i).data_type().clone());
            fields.push(Field::new(name, column.output(), column.function != Function::Count));
        }
        Ok(Self { query, columns, output: Arc::new(Schema::new(fields)), keys: by.len() })
    }

    /// The key columns.
    pub(crate) fn keys(&self) -> &[FieldRef] {
        let fields = self.output.fields();
        &fields[..self.keys.min(fields.len())]
    }

    /// Types of keys and arguments: part of what the state means.
    pub(crate) fn types(&self) -> Vec<String> {
        self.query.schema().fields().iter().map(|f| f.data_type().to_string()).collect()
    }
}

impl Column {
    fn output(&self) -> DataType {
        match self.function {
            Function::Count => DataType::Int64,
            Function::Avg => DataType::Float64,
            Function::Sum | Function::Min | Function::Max => self.input.clone(),
        }
    }
}

fn column(
    definition: &Definition,
    path: &str,
    input: &SchemaRef,
    selected: &mut Vec<String>,
) -> Result<Column, Vec<Problem>> {
    let (function, argument, name) =
        definition.function().map_err(|p| vec![Problem { path: path.split('.').map(Into::into).collect(), ..p }])?;
    let mut problems = Vec::new();
    let mut select = |text: String| {
        selected.push(format!("{text} AS _c{}", selected.len()));
        selected.len() - 1
    };
    let mut place = None;
    if !(function == Function::Count && argument.trim() == "*") {
        match expression(argument, input, &format!("{path}.{name}"), false) {
            Err(problem) => problems.push(problem),
            Ok(found) => match wanted(function, &found) {
                Ok(cast) => {
                    place = Some(select(
                        cast.map_or_else(|| format!("({argument})"), |c| format!("CAST(({argument}) AS {c})")),
                    ))
                }
                Err(message) => {
                    problems.push(Problem::field(&format!("{path}.{name}"), message).label("of the wrong type"))
                }
            },
        }
    }
    let mut filter = None;
    if let Some(condition) = &definition.filter {
        match expression(condition, input, &format!("{path}.where"), true) {
            Err(problem) => problems.push(problem),
            Ok(_) => filter = Some(select(format!("({condition})"))),
        }
    }
    if problems.is_empty() {
        Ok(Column { function, argument: place, filter, input: DataType::Null })
    } else {
        Err(problems)
    }
}

/// The type that an argument is cast to, if any.
fn wanted(function: Function, found: &DataType) -> Result<Option<&'static str>, String> {
    match function {
        Function::Count => Ok(None),
        Function::Sum | Function::Avg if found.is_integer() => Ok(Some("BIGINT")),
        Function::Sum | Function::Avg if found.is_floating() => Ok(Some("DOUBLE")),
        Function::Sum | Function::Avg => Err(format!("a column of type {} cannot be added up", type_name(found))),
        Function::Min | Function::Max if found.is_nested() => {
            Err(format!("a column of type {} has no least or greatest value", type_name(found)))
        }
        Function::Min | Function::Max => Ok(None),
    }
}

/// Plans one expression by itself, so that a problem is shown where it stands; gives its type.
fn expression(text: &str, input: &SchemaRef, path: &str, condition: bool) -> Result<DataType, Problem> {
    let query = Query::plan(&format!("SELECT ({text}) AS x FROM input"), input).map_err(|r| refused(r, path))?;
    let found = query.schema().fields().first().map_or(DataType::Null, |f| f.data_type().clone());
    if condition && found != DataType::Boolean {
        return Err(Problem::field(path, format!("a condition is true or false, this is a {}", type_name(&found)))
            .label("not a condition"));
    }
    Ok(found)
}

fn refused(refused: Refused, path: &str) -> Problem {
    refused.problem(path)
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

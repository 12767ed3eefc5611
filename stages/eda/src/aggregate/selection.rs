//! What the aggregates need of a row: the columns of the query that computes it, each once.

use std::collections::HashMap;

use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_sql::Query;

/// Columns of a query over rows of a schema.
pub(crate) struct Selection<'s> {
    schema: &'s SchemaRef,
    columns: Vec<String>,
    /// Arguments and conditions, by their text.
    places: HashMap<String, usize>,
    /// Types of expressions: planning one takes long enough to do it once.
    types: HashMap<String, DataType>,
}

impl<'s> Selection<'s> {
    /// Begins with these.
    pub(crate) fn new(schema: &'s SchemaRef, columns: Vec<String>) -> Self {
        Self { schema, columns, places: HashMap::new(), types: HashMap::new() }
    }

    /// The place of an argument or a condition.
    pub(crate) fn place(&mut self, text: String) -> usize {
        let next = self.columns.len();
        let place = *self.places.entry(text.clone()).or_insert(next);
        if place == next {
            self.columns.push(format!("{text} AS _c{next}"));
        }
        place
    }

    /// See [`expression`].
    pub(crate) fn expression(&mut self, text: &str, path: &str, condition: bool) -> Result<DataType, Problem> {
        if let Some(known) = self.types.get(text).filter(|t| !condition || **t == DataType::Boolean) {
            return Ok(known.clone());
        }
        let found = expression(text, self.schema, path, condition)?;
        self.types.insert(text.to_owned(), found.clone());
        Ok(found)
    }

    /// The columns of the query; one without a meaning if nothing is needed.
    pub(crate) fn text(&self) -> String {
        if self.columns.is_empty() { "1 AS _all".to_owned() } else { self.columns.join(", ") }
    }
}

/// Plans one expression by itself, so that a problem is shown where it stands; gives its type.
pub(crate) fn expression(text: &str, input: &SchemaRef, path: &str, condition: bool) -> Result<DataType, Problem> {
    let query = Query::plan(&format!("SELECT ({text}) AS x FROM input"), input).map_err(|r| r.problem(path))?;
    let found = query.schema().fields().first().map_or(DataType::Null, |f| f.data_type().clone());
    if condition && found != DataType::Boolean {
        return Err(Problem::field(path, format!("a condition is true or false, this is a {}", type_name(&found)))
            .label("not a condition"));
    }
    Ok(found)
}

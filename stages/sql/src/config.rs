//! What the stage's YAML says, and what is found out about the query at plan time.

use std::collections::BTreeSet;

use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{Changes, Input, Outputs, Role, Stage, StageConfig, StageContext, StageError};

use crate::query::Query;
use crate::transform::SqlTransform;

/// Runs one SQL query (DataFusion) on the rows of `input`, row by row: columns, filters, functions, `unnest`.
///
/// Added functions:
/// `regexp_extract_all(text, pattern)` gives every match as a list;
/// `parse_timestamp(text, pattern)` reads a moment by a pattern such as `EEE MMM dd HH:mm:ss zzz yyyy`, with zone names
/// (`PDT`, `GMT`, `BST`, …) and offsets, and gives UTC; text that does not fit, or a zone that is not known or not
/// unique, makes the row a bad row.
/// `unnest_outer(list)` keeps rows whose list is empty or NULL, `unnest(list)` drops them.
/// Functions that depend on the clock are refused: let the source add the processing time as a column.
///
/// ```yaml
/// clean:
///   kind: sql
///   input: bronze
///   query: SELECT lower(name) AS name, price * 1.19 AS gross FROM input WHERE price > 0
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The query. Its only table is `input`.
    #[schemars(length(min = 1))]
    query: String,
    /// What becomes of a row for which an expression fails, such as a cast or a date that cannot be read.
    #[serde(default)]
    on_bad_row: OnBadRow,
}

/// What becomes of a row for which an expression fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnBadRow {
    /// The run stops; nothing of the epoch is committed.
    #[default]
    Fail,
    /// It goes to `STAGE.rejects` with its columns as JSON and the reason.
    Quarantine,
    /// It is left out and counted in the log.
    Drop,
}

impl StageConfig for Sql {
    const KIND: &'static str = "sql";
    const ROLE: Role = Role::Transform;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let Some(input) = inputs.first() else { return Err(vec![Problem::new("the stage has no input")]) };
        let query = Query::plan(&self.query, &input.schema).map_err(|refused| vec![refused.problem("query")])?;
        let mut seen = BTreeSet::new();
        let twice: Vec<Problem> = query
            .schema()
            .fields()
            .iter()
            .filter(|f| !seen.insert(f.name().clone()))
            .map(|f| {
                Problem::field("query", format!("two columns are named `{}`", f.name()))
                    .label("in this query")
                    .help("rename one with AS")
            })
            .collect();
        if !twice.is_empty() {
            return Err(twice);
        }
        let mut outputs = Outputs::rows(query.schema());
        // Without its key a row may be there several times.
        outputs.changes = input.changes.as_ref().map(|c| Changes { keys: query.renamed(&c.keys).unwrap_or_default() });
        outputs.rejects = self.on_bad_row == OnBadRow::Quarantine;
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let schema = context
            .inputs
            .first()
            .map(|i| i.schema.clone())
            .ok_or_else(|| StageError::internal("the stage has no input"))?;
        let query = Query::plan(&self.query, &schema).map_err(|r| StageError::internal(r.message))?;
        Ok(Stage::transform(SqlTransform::new(query, self.on_bad_row, context.stage.clone())))
    }
}

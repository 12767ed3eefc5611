//! `kind: aggregate`: groups by key, kept current.
//!
//! ```text
//! rows ─> project (SQL) ─> add up per key and epoch ─> exchange ─> arrange ─> totals that changed ─> upserts, state
//!                          (this worker)               (differential)
//! ```
//! All aggregates of a key are one accumulator, and accumulators are differential's differences: one arrangement
//! holds everything. What comes out for an epoch is the new total of each key that changed in it; that is both the
//! upsert and the state that a restart begins from.

mod accumulator;
mod columns;
mod exact;
mod groups;
mod operator;

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    Changes, Input, Outputs, Role, Stage, StageConfig, StageContext, StageError, StateSchema, with_diff,
};
use indexmap::IndexMap;

use columns::Definition;
use columns::Shape;
use operator::AggregateOperator;

/// Groups rows by key and keeps aggregates of each group, epoch by epoch, over restarts. Gives the new row of each
/// group that changed (upserts), so send it to a table with `mode: upsert`.
///
/// Sums of floating point numbers are exact before they are rounded once: the same with any number of workers.
///
/// ```yaml
/// mentions:
///   kind: aggregate
///   input: gold
///   by: [mention]
///   where: mention IS NOT NULL
///   columns:
///     total: { count: "*" }
///     positive: { count: "*", where: "sentiment = 'positive'" }
///     newest: { max: timestamp }
/// ```
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// Columns whose values make a group.
    #[schemars(length(min = 1))]
    by: Vec<String>,
    /// SQL condition; other rows are left out.
    #[serde(default, rename = "where")]
    filter: Option<String>,
    /// The aggregates: name and what it is.
    #[schemars(length(min = 1))]
    columns: IndexMap<String, Definition>,
}

/// Name of the state's column that holds all totals of a key.
const TOTALS: &str = "_totals";

impl StageConfig for Aggregate {
    const KIND: &'static str = "aggregate";
    const ROLE: Role = Role::Operator;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [input] = inputs else {
            return Err(vec![
                Problem::field("input", "an aggregate has one input")
                    .label("here")
                    .help("merge several with a `sql` stage before"),
            ]);
        };
        let shape = self.shape(&input.schema)?;
        let mut outputs = Outputs::rows(with_diff(&shape.output));
        outputs.changes = Some(Changes { keys: self.by.clone() });
        outputs.state = Some(self.state(&shape));
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let schema = context
            .inputs
            .first()
            .map(|i| i.schema.clone())
            .ok_or_else(|| StageError::internal("the stage has no input"))?;
        let shape = self
            .shape(&schema)
            .map_err(|p| StageError::internal(p.first().map(|p| p.message.clone()).unwrap_or_default()))?;
        let state = self.state(&shape).schema;
        Ok(Stage::operator(AggregateOperator { shape, state, worker: context.worker, workers: context.workers }))
    }
}

impl Aggregate {
    fn shape(&self, input: &SchemaRef) -> Result<Shape, Vec<Problem>> {
        Shape::new(&self.by, self.filter.as_deref(), &self.columns, input)
    }

    fn state(&self, shape: &Shape) -> StateSchema {
        let mut fields: Vec<Field> = shape.keys().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(TOTALS, DataType::Binary, false));
        // The definition itself: any change of it makes the old totals meaningless.
        let fingerprint = serde_json::to_string(self).unwrap_or_default();
        StateSchema {
            keys: fields.len() - 1,
            schema: Arc::new(Schema::new(fields)),
            fingerprint: format!("{fingerprint} {:?}", shape.types()),
        }
    }
}

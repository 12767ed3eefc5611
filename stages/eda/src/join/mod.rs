//! `kind: join`: rows of two inputs with the same key, kept current.
//!
//! ```text
//! left ──> by key ─> arrange ─┬─> join ─────────────────────────────────┐
//! right ─> by key ─> arrange ─┤                                         ├─> added up per epoch ─> rows
//!                             ├─> left rows, less those with a match ───┘
//!                             │   (left join only)
//!                             └─> number of each row that changed ─> state
//! ```
//! Both sides are differential arrangements, compacted as the frontier goes on: what is kept is the rows that are there
//! now, not their history. The state of a restart is the same rows with their number; it comes in at epoch 0, and pairs of
//! rows that were both there before are not looked at again.

mod codec;
mod counts;
mod emit;
mod operator;
mod shape;
mod take;

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    Input, Outputs, Role, Route, Stage, StageConfig, StageContext, StageError, StateSchema, with_diff,
};
use indexmap::IndexMap;

use crate::form::lasting;
use operator::JoinOperator;
use shape::Shape;

/// Puts rows of two inputs together that have the same key, and keeps the result current whichever side changes, over
/// restarts. `input` names the left side first, then the right side.
///
/// Rows that come later match rows that came before, on both sides. Either side may be rows that only come or changes. An inner
/// join of two inputs whose rows only come gives such rows; everything else gives changes, for a table with `mode: upsert` or
/// `mode: changes`. A left join gives a row without a match with NULL for the right side, and takes it back when its match
/// comes. As in SQL, NULL equals nothing.
///
/// All rows of both sides are kept in memory, of the right side only the columns that are needed.
///
/// ```yaml
/// named:
///   kind: join
///   input: [orders, customers]
///   by: { customer: id }
///   how: left
///   right: { customer_name: name, city: city }
/// ```
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Columns that are equal in rows that match: a list of names that both sides have, or a mapping of left to right ones.
    by: By,
    /// Which rows come out.
    #[serde(default)]
    how: How,
    /// Columns of the right side that come out, as `new name: column`. Without it all, by their own names, but those of
    /// `by`: they are those of the left side.
    #[serde(default)]
    right: Option<IndexMap<String, String>>,
}

/// The key.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
enum By {
    Same(Vec<String>),
    Named(IndexMap<String, String>),
}

impl schemars::JsonSchema for By {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "By".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [
            { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            { "type": "object", "additionalProperties": { "type": "string" }, "minProperties": 1 },
        ] })
    }
}

/// Which rows come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    /// Those with a match.
    #[default]
    Inner,
    /// All of the left side.
    Left,
}

impl StageConfig for Join {
    const KIND: &'static str = "join";
    const ROLE: Role = Role::Operator;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [left, right] = inputs else {
            return Err(vec![
                Problem::field("input", format!("a join has two inputs, and here is {}", inputs.len()))
                    .label("left and right")
                    .help("write `input: [left, right]`; join a third one with a stage after this one"),
            ]);
        };
        let shape = Shape::new(self, left, right)?;
        let mut outputs = Outputs::rows(shape.output.clone());
        if let Some(changes) = &shape.changes {
            outputs.schema = with_diff(&shape.output);
            outputs.changes = Some(changes.clone());
        }
        outputs.routes = vec![
            Route::Exchange(shape.left.key_names(&left.schema)),
            Route::Exchange(shape.right.key_names(&right.schema)),
        ];
        outputs.state = Some(self.state(&shape, left, right));
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let [left, right] = context.inputs.as_slice() else {
            return Err(StageError::internal("the stage has not two inputs"));
        };
        let shape = Shape::new(self, left, right)
            .map_err(|p| StageError::internal(p.first().map(|p| p.message.clone()).unwrap_or_default()))?;
        let state = state_schema(&shape);
        let all = self.how == How::Left;
        Ok(Stage::operator(JoinOperator { shape, state, all, worker: context.worker, workers: context.workers }))
    }
}

impl Join {
    fn state(&self, shape: &Shape, left: &Input, right: &Input) -> StateSchema {
        let schema = state_schema(shape);
        let definition = serde_json::to_string(self).unwrap_or_default();
        let columns = (lasting(&left.schema, &left.evolved), lasting(&right.schema, &right.evolved));
        StateSchema { keys: schema.fields().len() - 1, schema, fingerprint: format!("{definition} {columns:?}") }
    }
}

/// A row of one side, and how often it is there.
fn state_schema(shape: &Shape) -> SchemaRef {
    let mut fields = vec![Field::new("side", DataType::Utf8, false)];
    for (prefix, columns) in [("key", &shape.key), ("left", &shape.left.columns), ("right", &shape.right.columns)] {
        fields
            .extend(columns.iter().map(|f| Field::new(format!("{prefix}.{}", f.name()), f.data_type().clone(), true)));
    }
    fields.push(Field::new("rows", DataType::Int64, true));
    Arc::new(Schema::new(fields))
}

//! `kind: dedup`: one row per key, kept current.
//!
//! ```text
//! rows ─> by key ─> rows of the epoch ─(it is over)─> rows that are kept ─> what has changed of them, state
//! ```
//! No arrangement: what is kept is one ordered map, in which the row of a key that is kept is the first one of the key.
//! A reduction would look at all rows of a key again when one of them changes, and keep its own copy of the result.

mod codec;
mod kept;
mod operator;

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{
    Changes, Input, Outputs, Role, Route, Stage, StageConfig, StageContext, StageError, StateSchema, with_diff,
    without_diff,
};

use crate::form::{lasting, unfit};
use kept::Policy;
use operator::DedupOperator;

/// Keeps one row of each key, epoch by epoch, over restarts. NULL is a value of a key like any other.
///
/// Of rows that only come, `first` keeps the row of the earliest epoch and gives it once: such rows only come, too. `last`
/// keeps the row of the newest epoch. Which of several rows of one epoch it is, does not depend on chance: `first` takes the
/// least and `last` the greatest one, compared column by column in the order of the columns, NULL before all values.
///
/// With `order`, the row with the least (`first`) or the greatest (`last`) value in that column is kept, whenever it
/// comes; a row with NULL there only if the key has no other. Of rows with the same value, it is the least or greatest row as
/// above. Without `order`, the rows of an input of changes are compared as a whole.
///
/// Everything but `first` without `order` on rows that only come gives changes, one row per key: write them to a table with
/// `mode: upsert`. In memory is one row per key (for the first case the key alone); of an input of changes every row, since the
/// row that is kept may be taken away, and the next one comes back.
///
/// ```yaml
/// customers: { kind: dedup, input: events, by: [customer], keep: last, order: changed_at }
/// ```
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dedup {
    /// Columns that make the key.
    #[schemars(length(min = 1))]
    by: Vec<String>,
    /// Which row of a key is kept.
    #[serde(default)]
    keep: Keep,
    /// The column that decides which row is the first or the last, such as a time of change.
    #[serde(default)]
    order: Option<String>,
}

/// Which row of a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Keep {
    /// The first one.
    #[default]
    First,
    /// The last one.
    Last,
}

/// What is known at plan time.
struct Shape {
    policy: Policy,
    /// Without the number of changes.
    columns: SchemaRef,
    /// Places of the key's columns.
    key: Vec<usize>,
    /// Places of the others, the column that decides first.
    others: Vec<usize>,
}

impl StageConfig for Dedup {
    const KIND: &'static str = "dedup";
    const ROLE: Role = Role::Operator;

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let [input] = inputs else {
            return Err(vec![
                Problem::field("input", "a dedup has one input")
                    .label("here")
                    .help("merge several with a `sql` stage before"),
            ]);
        };
        let shape = self.shape(input)?;
        let mut outputs = Outputs::rows(shape.columns.clone());
        if shape.policy != Policy::Once {
            outputs.schema = with_diff(&shape.columns);
            outputs.changes = Some(Changes { keys: self.by.clone() });
        }
        outputs.routes = vec![Route::Exchange(self.by.clone())];
        outputs.state = Some(self.state(&shape, input));
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let input = context.inputs.first().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let shape = self
            .shape(input)
            .map_err(|p| StageError::internal(p.first().map(|p| p.message.clone()).unwrap_or_default()))?;
        let state = self.state(&shape, input).schema;
        let last = self.keep == Keep::Last;
        let ordered = self.order.is_some();
        Ok(Stage::operator(DedupOperator {
            shape,
            state,
            last,
            ordered,
            worker: context.worker,
            workers: context.workers,
        }))
    }
}

impl Dedup {
    fn shape(&self, input: &Input) -> Result<Shape, Vec<Problem>> {
        let columns = without_diff(&input.schema);
        let mut problems = unfit(&columns);
        let mut find = |path: &str, name: &String, before: &[String]| {
            place(&columns, path, name, before).map_err(|problem| problems.push(problem)).ok()
        };
        let keys = self.by.iter().enumerate();
        let key: Vec<usize> = keys.filter_map(|(n, name)| find(&format!("by.{n}"), name, &self.by[..n])).collect();
        let order = self.order.as_ref().and_then(|name| find("order", name, &self.by));
        if !problems.is_empty() {
            return Err(problems);
        }
        let policy = match (&input.changes, self.keep, order) {
            (Some(_), ..) => Policy::Counted,
            (None, _, Some(_)) => Policy::Best,
            (None, Keep::First, None) => Policy::Once,
            (None, Keep::Last, None) => Policy::Newest,
        };
        let rest = (0..columns.fields().len()).filter(|at| !key.contains(at) && order != Some(*at));
        let others = order.into_iter().chain(rest).collect();
        Ok(Shape { policy, columns, key, others })
    }

    fn state(&self, shape: &Shape, input: &Input) -> StateSchema {
        let field = |prefix: &str, at: &usize| {
            let field = shape.columns.field(*at);
            Field::new(format!("{prefix}.{}", field.name()), field.data_type().clone(), true)
        };
        let mut fields: Vec<Field> = shape.key.iter().map(|at| field("key", at)).collect();
        if shape.policy != Policy::Once {
            fields.extend(shape.others.iter().map(|at| field("row", at)));
        }
        let keys = if shape.policy == Policy::Counted { fields.len() } else { shape.key.len() };
        fields.push(Field::new("rows", DataType::Int64, true));
        let definition = serde_json::to_string(self).unwrap_or_default();
        let columns = lasting(&shape.columns, &input.evolved);
        let fingerprint = format!("{definition} {:?} {columns:?}", shape.policy);
        StateSchema { schema: Arc::new(Schema::new(fields)), keys, fingerprint }
    }
}

/// The place of a column that can be compared and is not among those `before`.
fn place(columns: &SchemaRef, path: &str, name: &String, before: &[String]) -> Result<usize, Problem> {
    let problem = |message: String| Problem::field(path, message);
    let Ok(at) = columns.index_of(name) else {
        let names = columns.fields().iter().map(|f| f.name().as_str());
        return Err(problem(format!("there is no column `{name}`"))
            .label("not a column")
            .suggest(name, names, "columns"));
    };
    if before.contains(name) {
        return Err(problem(format!("`{name}` is part of the key already"))
            .label("given twice")
            .help("all rows of a key have the same value there: name another column, or remove it"));
    }
    let data_type = columns.field(at).data_type();
    if data_type.is_nested() {
        return Err(problem(format!("a column of type {} cannot be compared", type_name(data_type)))
            .label("here")
            .help("take a field of it in a `sql` stage before"));
    }
    Ok(at)
}

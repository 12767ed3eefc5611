//! `kind: aggregate`: groups by key, kept current.
//!
//! ```text
//! rows ─> take out late ones ─> project (SQL) ─> add up per key and epoch ─┬─> exchange, arrange ─> totals ─┬─> look into ─> rows
//!           (windows only)                        (this worker)            └─> exchange, arrange ─> values ─┘   values      state
//! ```
//! Everything that can be added up is one accumulator per group, and accumulators are differential's differences: one
//! arrangement holds them all. Aggregates that need every value (`quantile`, `mode`, exact `count_distinct`; `min`, `max` and
//! the best `k` where rows may be taken away) have the values in a second one, and look at those of a group when it has changed, see
//! `values.rs`. What comes out for an epoch is each group that changed in it, as it was and as it is; new totals and counts are the state that a restart begins from.

mod add;
mod add_up;
mod arrange;
mod buckets;
mod column;
mod count;
mod definition;
mod distinct;
mod emit;
mod exact;
mod finish;
mod found;
mod keys;
mod late;
mod lookup;
mod merge;
mod operator;
mod parts;
mod selection;
mod shape;
mod state;
mod totals;
mod values;
mod window;

use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    Changes, Input, Outputs, Role, Stage, StageConfig, StageContext, StageError, StateSchema, with_diff,
};
use indexmap::IndexMap;

use definition::Key;

pub(crate) use column::frequency_fields;
pub(crate) use definition::Definition;
pub(crate) use operator::AggregateOperator;
pub(crate) use selection::expression;
use shape::Shape;
pub(crate) use shape::WINDOW;
use window::OnLate;
pub(crate) use window::Window;

/// Groups rows by key, and by windows of time if asked to, and keeps aggregates of each group, epoch by epoch, over restarts.
/// Its rows are changes: a group that has changed is taken away as it was and added as it is, so send it to a table with
/// `mode: upsert`. Rows that are taken away from its input are taken away from every aggregate, as if they had never been.
///
/// Sums, means and variances of floating point numbers are exact before they are rounded once: the same with any number of
/// workers, and after any row is taken away again.
///
/// State is one record per group, and one per different value for exact `count_distinct`, `quantile` and `mode`; also for
/// `min`, `max`, `top_k` and `bottom_k` where the input's rows may go.
///
/// ```yaml
/// mentions:
///   kind: aggregate
///   input: gold
///   by: [mention, { day: "date_trunc('day', timestamp)" }]
///   where: mention IS NOT NULL
///   columns:
///     total: { count: "*" }
///     positive: { count: "*", where: "sentiment = 'positive'" }
///     authors: { count_distinct: user }
///     median: { quantile: score, at: 0.5 }
///     newest: { max: timestamp }
/// ```
///
/// ```yaml
/// per_hour:
///   kind: aggregate
///   input: gold
///   window: { time: timestamp, tumbling: 1h, lateness: 10m }
///   columns:
///     tweets: { count: "*" }
///     best: { top_k: score, k: 3, with: [user] }
/// ```
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// What makes a group: columns, or SQL expressions with a name. Without any there is one group of all rows (of each
    /// window).
    #[serde(default)]
    by: Vec<Key>,
    /// Groups by time as well.
    #[serde(default)]
    window: Option<Window>,
    /// SQL condition; other rows are left out.
    #[serde(default, rename = "where")]
    filter: Option<String>,
    /// The aggregates: name and what it is.
    #[schemars(length(min = 1))]
    columns: IndexMap<String, Definition>,
}

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
        let shape = Shape::new(self, input)?;
        let mut outputs = Outputs::rows(with_diff(&shape.output));
        outputs.changes = Some(Changes { keys: shape.unique() });
        outputs.rejects = self.window.as_ref().is_some_and(|w| w.on_late == OnLate::Quarantine);
        outputs.state = Some(self.state(&shape, input));
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        self.operator(context, false).map(Stage::operator)
    }
}

impl Aggregate {
    /// How many rows there are of each combination of these expressions, given with their names.
    pub(crate) fn counting(by: &[(&str, String)], filter: Option<String>) -> Self {
        let key =
            |(name, expression): &(&str, String)| Key::Expression([((*name).to_owned(), expression.clone())].into());
        let count = Definition { count: Some("*".into()), ..Definition::default() };
        Self { by: by.iter().map(key).collect(), window: None, filter, columns: [("n".to_owned(), count)].into() }
    }

    /// Aggregates of all rows, or of those of each window.
    pub(crate) fn of_all(columns: IndexMap<String, Definition>, window: Option<Window>) -> Self {
        Self { by: Vec::new(), window, filter: None, columns }
    }

    /// The running stage. `retold`: what is restored comes out as well, at epoch 0.
    pub(crate) fn operator(&self, context: &StageContext, retold: bool) -> Result<AggregateOperator, StageError> {
        let input = context.inputs.first().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let shape = Shape::new(self, input)
            .map_err(|p| StageError::internal(p.first().map(|p| p.message.clone()).unwrap_or_default()))?;
        let state = self.state(&shape, input).schema;
        let time = self.window.as_ref().and_then(|w| input.schema.index_of(&w.time).ok());
        let (worker, workers) = (context.worker, context.workers);
        Ok(AggregateOperator { shape, state, stage: context.stage.clone(), time, retold, worker, workers })
    }

    /// The definition itself says what the state means: any change of it makes the old totals meaningless.
    fn state(&self, shape: &Shape, input: &Input) -> StateSchema {
        let definition = serde_json::to_string(self).unwrap_or_default();
        let rows = if input.changes.is_some() { "come and go" } else { "come" };
        state::schema(shape, &format!("{definition} {rows}"))
    }
}

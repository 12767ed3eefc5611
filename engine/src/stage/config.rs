//! What a stage says about itself at plan time.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Changes, ResolveContext, Stage, StageContext, StageError};
use crate::spec::Problem;
use crate::storage::Finding;

/// What a stage does with rows; decides what `check` gets and what `build` must return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// No input.
    Source,
    /// One input; several of the same schema are merged.
    Transform,
    /// One input, passed on unchanged; several of the same schema are merged.
    Sink,
    /// Any number of inputs, each kept apart.
    Operator,
}

impl Role {
    /// The word used in output.
    pub fn name(self) -> &'static str {
        match self {
            Role::Source => "source",
            Role::Transform => "transform",
            Role::Sink => "sink",
            Role::Operator => "operator",
        }
    }
}

/// A kind of stage: its configuration and how a stage is made of it.
///
/// The doc comment of the struct and of its fields become the reference that `alluvium stages KIND` prints, so write
/// them for the author of a pipeline. Use `#[serde(deny_unknown_fields)]`: a misspelt key is then found at check time.
pub trait StageConfig: DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The name in `kind:`. Sources and sinks are nouns, transforms are verbs.
    const KIND: &'static str;
    /// What it does with rows.
    const ROLE: Role;

    /// Finds out, by reading only, what `check` must know and the configuration does not say: opens a model, infers a
    /// schema. Called once per process before `check`. Most stages need nothing.
    ///
    /// # Errors
    /// What is wrong, with the field that it concerns.
    fn resolve(&mut self, _context: &ResolveContext) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Tries, for `alluvium doctor`, what the running stage would need of the world around it; what it leaves behind it
    /// takes away again. `what` of each finding is told with the stage's name before it.
    fn examine(&self, _context: &ResolveContext) -> Vec<Finding> {
        Vec::new()
    }

    /// Schemas in, schemas out. Pure: no I/O, the same answer every time.
    ///
    /// # Errors
    /// All that is wrong, each with the field that it concerns ([`Problem::field`]).
    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>>;

    /// Makes the running stage. Called once on each worker, in the same order everywhere.
    ///
    /// # Errors
    /// A reason why the run cannot start.
    fn build(&self, context: &StageContext) -> Result<Stage, StageError>;
}

/// An input as `check` sees it.
#[derive(Debug, Clone)]
pub struct Input {
    /// The stage (and port) it comes from, as written in the spec.
    pub from: String,
    /// Columns of its rows.
    pub schema: SchemaRef,
    /// Set when the rows are changes; the schema has the column [`DIFF`](super::DIFF) then. Otherwise rows are only added.
    /// A stage that does not give changes itself when it gets some ([`Outputs::changes`]) is taken for one that knows only
    /// rows that are added, and the spec is refused.
    pub changes: Option<Changes>,
    /// Columns that have come since the first run, because the spec asks for whatever comes; see [`Outputs::evolved`].
    pub evolved: Vec<String>,
}

/// How the rows of an input reach the workers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Route {
    /// They stay on the worker that has them.
    #[default]
    Pipeline,
    /// All rows with the same values in these columns meet on one worker.
    Exchange(Vec<String>),
}

/// A table that a stage writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Where it lies; two stages must not write one table.
    pub url: String,
    /// The columns that a reader sees.
    pub schema: SchemaRef,
    /// One row per value of these columns; none where rows are only added.
    pub keys: Vec<String>,
    /// What a reader may rely on, such as `exactly once, append`.
    pub guarantee: String,
}

/// The state that an operator keeps over restarts: one row per key, the newest wins. A row whose columns after the key are
/// all NULL says that the key is gone: it is dropped, with all older rows of the key. So let one of those columns never be
/// NULL in a row that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSchema {
    /// Columns of a state row; the first `keys` of them are the key.
    pub schema: SchemaRef,
    /// How many leading columns are the key.
    pub keys: usize,
    /// What the state means. A run refuses state that was written under another fingerprint. Columns that have come since
    /// ([`Input::evolved`]) may be left out of it: they are NULL in rows that were written without them.
    pub fingerprint: String,
}

/// What `resolve` has found out and must be the same in every later run, such as inferred columns. The first run
/// records it; [`ResolveContext::recorded`] gives it back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Resolved {
    /// 1 for the first run; whatever is found anew ([`StageError::resolved`]) has the next higher one.
    pub generation: u64,
    /// What was found out. Part of the plan's hash.
    pub value: serde_json::Value,
}

/// What a stage gives, as found by `check`.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Columns of the rows it emits.
    pub schema: SchemaRef,
    /// See [`Input::changes`].
    pub changes: Option<Changes>,
    /// It may reject rows into its port `STAGE.rejects`; the name is what the spec must say for that to be allowed.
    pub rejects: bool,
    /// It computes for long: the engine runs it on a thread of its own, and the worker goes on.
    pub heavy: bool,
    /// The table that it writes.
    pub table: Option<Table>,
    /// The table that it reads; no stage of the same pipeline may write it.
    pub reads: Option<String>,
    /// The state that it keeps.
    pub state: Option<StateSchema>,
    /// How each input is routed; missing ones are [`Route::Pipeline`].
    pub routes: Vec<Route>,
    /// What `run` must record before anything is read.
    pub resolved: Option<Resolved>,
    /// Columns of a source that have come since the first run: a table adds them without being asked. The engine hands
    /// them on from stage to stage by name.
    pub evolved: Vec<String>,
    /// Facts that go into the metadata of every commit downstream, such as a model's identity.
    pub lineage: BTreeMap<String, String>,
}

impl Outputs {
    /// Rows of this schema, nothing else.
    pub fn rows(schema: SchemaRef) -> Self {
        Self {
            schema,
            changes: None,
            rejects: false,
            heavy: false,
            table: None,
            reads: None,
            state: None,
            routes: Vec::new(),
            resolved: None,
            evolved: Vec::new(),
            lineage: BTreeMap::new(),
        }
    }

    /// What a sink gives: its input, passed on.
    pub fn passing(inputs: &[Input]) -> Self {
        let mut outputs =
            Self::rows(inputs.first().map_or_else(|| arrow::datatypes::Schema::empty().into(), |i| i.schema.clone()));
        outputs.changes = inputs.first().and_then(|i| i.changes.clone());
        outputs
    }
}

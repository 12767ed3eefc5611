//! What the stage's YAML says.

use alluvium_engine::secret::public_url;
use alluvium_engine::spec::Problem;
use alluvium_engine::stage::{
    Changes, DIFF, Input, Outputs, ResolveContext, Role, Stage, StageConfig, StageContext, StageError, with_diff,
};
use alluvium_engine::storage::Finding;
use deltalake::kernel::transaction::PROTOCOL;

use super::History;
use super::columns::Found;
use super::log::{Log, Metadata};
use crate::place::Place;

/// Reads a Delta table, each row once: first what the table holds, then what comes with each new version.
///
/// A `delta` stage without `input` is a source. Whoever writes the table may do so while it is read, and may merge its small
/// files (`OPTIMIZE`). The log and the files of versions that are not read yet must stay: clean them up later than this
/// pipeline reads. The table's identity and columns are recorded by the first run. Tables with column mapping are refused, and
/// so are versions with deletion vectors unless a change feed has their rows.
///
/// ```yaml
/// bronze: { kind: delta, table: s3://bucket/lake/bronze }                             # rows that are added
/// users:  { kind: delta, table: s3://bucket/lake/users, changes: true, key: [id] }    # rows that come and go
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaSource {
    /// Folder or URL of the table.
    #[schemars(length(min = 1))]
    pub(crate) table: String,
    /// Where the first run begins: `earliest` with all that the table holds then, `latest` with what comes afterwards, a
    /// number with what that version has changed. Of the last two, what was there before is not read, and changes are the
    /// difference to it.
    #[serde(default)]
    pub(crate) from: Begin,
    /// Rows come and go: an updated row is taken away as it was and added as it is. What a version has changed is taken from
    /// its change feed, if it has one; otherwise all rows of files that it removed go, and those of files that it added come,
    /// also those that are in both. `change_feed: true` on the stage that writes the table makes that less.
    #[serde(default)]
    pub(crate) changes: bool,
    /// With `changes`: the columns that identify a row. A table that is written from the changes needs no `key` then.
    #[serde(default)]
    pub(crate) key: Vec<String>,
    /// Without `changes`: what to do with a version that removes or rewrites rows.
    #[serde(default)]
    pub(crate) on_change: OnChange,
    /// What to do with columns that the table gets after the first run. A column with another type is a fault in any case.
    #[serde(default)]
    pub(crate) evolution: Evolution,
    /// What was found out of the table.
    #[serde(skip)]
    pub(crate) found: Option<Found>,
}

/// Where the first run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum Begin {
    Word(Word),
    Version(u64),
}

/// A place in the history of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Earliest,
    Latest,
}

impl Default for Begin {
    fn default() -> Self {
        Self::Word(Word::Earliest)
    }
}

/// What becomes of a version that removes or rewrites rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnChange {
    /// The run stops.
    #[default]
    Fail,
    /// It is left out as a whole: rows that were read stay as they were, and what it adds is not read.
    Skip,
}

/// What becomes of columns that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Evolution {
    /// They are recorded, the run starts again by itself with them, and tables get them.
    #[default]
    Add,
    /// They are left out.
    Ignore,
    /// The run stops.
    Fail,
}

impl StageConfig for DeltaSource {
    const KIND: &'static str = "delta";
    const ROLE: Role = Role::Source;

    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        context.openable("table", &self.table)?;
        self.found = Some(self.find(context)?);
        Ok(())
    }

    fn examine(&self, context: &ResolveContext) -> Vec<Finding> {
        let outcome = Place::new(&self.table, &context.storage).map_err(|e| e.text());
        let outcome = outcome.and_then(|place| context.runtime.block_on(place.examine(false)));
        vec![Finding { what: "table".into(), outcome }]
    }

    fn check(&self, _inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let Some(found) = &self.found else { return Err(vec![Problem::new("the table was not looked at")]) };
        let schema = found.schema.clone();
        let mut problems = Vec::new();
        if schema.index_of(DIFF).is_ok() {
            let problem = Problem::field("table", format!("the table has a column `{DIFF}`: it is a log of changes"));
            problems.push(problem.label("cannot be read").help(
                "let the stage that writes it keep a table of what holds as well (`mode: upsert`), and read that one with `changes: true`",
            ));
        }
        let mut idle = |field: &str, message: &str, help: &str| {
            problems.push(Problem::field(field, message).label("no effect here").help(help));
        };
        if !self.changes && !self.key.is_empty() {
            idle("key", "`key` is for changes", "set `changes: true`, or remove it");
        }
        if self.changes && self.on_change != OnChange::Fail {
            idle(
                "on_change",
                "`on_change` is for rows that are only added",
                "remove it: `changes: true` takes every version",
            );
        }
        for (at, name) in self.key.iter().enumerate() {
            if schema.index_of(name).is_err() {
                let names = schema.fields().iter().map(|f| f.name().as_str());
                let problem = Problem::field(&format!("key.{at}"), format!("the table has no column `{name}`"));
                problems.push(problem.label("not a column").suggest(name, names, "columns"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut outputs = Outputs::rows(if self.changes { with_diff(&schema) } else { schema });
        outputs.changes = self.changes.then(|| Changes { keys: self.key.clone() });
        outputs.reads = Some(self.table.clone());
        outputs.resolved = Some(found.record());
        outputs.evolved.clone_from(&found.added);
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let found = self.found.clone().ok_or_else(|| StageError::internal("the table was not looked at"))?;
        let place = Place::new(&self.table, &context.storage)?;
        let store = place.store()?;
        Ok(Stage::source(History::new(self.clone(), found, Log { place, store })))
    }
}

impl DeltaSource {
    /// What the first run has recorded, if it is still the same table; otherwise what the table says now.
    fn find(&self, context: &ResolveContext) -> Result<Found, Vec<Problem>> {
        let problem = |message: String| vec![Problem::field("table", message).label("cannot be read")];
        let failed = |error: StageError| problem(error.text().replace("\n  ", "; "));
        let place = Place::new(&self.table, &context.storage).map_err(failed)?;
        let Some(table) = context.runtime.block_on(place.load()).map_err(failed)? else {
            return Err(vec![
                Problem::field("table", format!("there is no table at {}", public_url(&self.table))).label("no table").help(
                    "a `delta` stage without `input` reads a table, which must exist: have it written first, or look at the \
                     place; to write a table, add `input:`",
                ),
            ]);
        };
        let snapshot = table.snapshot().map_err(|e| problem(e.to_string()))?;
        PROTOCOL
            .can_read_from(snapshot.snapshot())
            .map_err(|e| problem(format!("the table asks readers for what is not supported: {e}")))?;
        let metadata = Metadata::of(snapshot).map_err(failed)?;
        let now = Found::new(&metadata).map_err(|e| problem(format!("the table cannot be read: {e}")))?;
        let recorded = context.recorded().map_err(failed)?;
        match recorded.map(Found::recorded) {
            Some(Err(error)) => Err(problem(format!(
                "what the first run has recorded of the table cannot be understood: {error}; was it changed by hand?"
            ))),
            Some(Ok(recorded)) if recorded.table != now.table => Err(vec![
                Problem::field("table", "this is another table than the one that was read before")
                    .label("another table")
                    .help("put the table back; or give the stage another name, or start anew with a new `state:` and new tables"),
            ]),
            Some(Ok(recorded)) => Ok(recorded),
            None => match self.from {
                Begin::Version(first) if first > snapshot.version() + 1 => Err(vec![
                    Problem::field("from", format!("the table has no version {first}: the newest is {}", snapshot.version()))
                        .label("not there yet"),
                ]),
                _ => Ok(now),
            },
        }
    }
}

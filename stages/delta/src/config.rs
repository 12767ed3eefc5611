//! What the stage's YAML says.

use alluvium_engine::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use alluvium_engine::spec::{Problem, type_name};
use alluvium_engine::stage::{
    Changes, Committer, Input, Outputs, ResolveContext, Role, Sink, Stage, StageConfig, StageContext, StageError,
    Table, Writer, without_diff,
};

use alluvium_engine::storage::Finding;

use crate::append::{AppendCommitter, AppendWriter};
use crate::feed::RESERVED;
use crate::place::Place;
use crate::table::Target;
use crate::upkeep::Upkeep;
use crate::upsert::{UpsertCommitter, UpsertWriter};

/// Writes rows to a Delta table, exactly once, and passes them on to the next stage from memory.
///
/// The table is created if it does not exist. Each epoch is one commit, with pipeline, epoch and plan in its metadata;
/// all tables of a pipeline get the same epochs.
///
/// ```yaml
/// gold: { kind: delta, input: score, table: s3://bucket/lake/gold, partition_by: [day] }
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Delta {
    /// Folder or URL of the table.
    #[schemars(length(min = 1))]
    pub(crate) table: String,
    /// How rows go in.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// For `upsert`: the columns that identify a row. Not needed after an `aggregate`, which says it itself.
    #[serde(default)]
    pub(crate) key: Vec<String>,
    /// For `upsert`: the column that says which of two rows of a key is the newer one, such as a time of change. Older
    /// rows that come later change nothing. Not needed after an `aggregate`.
    #[serde(default)]
    pub(crate) latest_by: Option<String>,
    /// Columns by whose values files are split into folders. Only for `append`. An empty text cannot be such a value: a
    /// Delta table would read it as NULL.
    #[serde(default)]
    pub(crate) partition_by: Vec<String>,
    /// What to do when the table exists and has other columns. Columns that a source with `evolution: add` has got are added
    /// in any case.
    #[serde(default)]
    pub(crate) on_schema_change: OnSchemaChange,
    /// Readers get to know which rows each epoch has changed, without comparing versions: sets the table's property
    /// `delta.enableChangeDataFeed`, which stays set. An upsert writes the changed rows a second time then. A table that has
    /// the property already gets its feed in any case.
    #[serde(default)]
    pub(crate) change_feed: bool,
    /// What is done for the table between epochs.
    #[serde(default)]
    pub(crate) upkeep: Upkeep,
}

/// How rows go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Rows are added.
    #[default]
    Append,
    /// A row replaces the one with the same key; readers see one row per key. Stages whose rows come and go, such as
    /// `aggregate`, say themselves what the key is; for other rows give `key` and `latest_by`. Files that hold an older row of a changed key are rewritten, so
    /// this is for tables of up to some million rows.
    Upsert,
    /// For rows that come and go: each change is added as a row, and the column `_diff` says how often it comes (positive) or
    /// goes (negative). What holds is the sum.
    Changes,
}

/// What to do when the table has other columns than the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnSchemaChange {
    /// The run does not start.
    #[default]
    Fail,
    /// Columns that the table lacks are added to it; those that the rows lack are NULL, or in an upsert what the row of the
    /// key had before.
    Add,
}

impl StageConfig for Delta {
    const KIND: &'static str = "delta";
    const ROLE: Role = Role::Sink;

    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        context.openable("table", &self.table)
    }

    fn examine(&self, context: &ResolveContext) -> Vec<Finding> {
        let opened =
            Place::new(&self.table, &context.storage).and_then(|place| Ok((place, context.storage.open(&self.table)?)));
        match opened {
            Ok((place, location)) => context.runtime.block_on(async {
                let written = location.try_writing("table").await;
                if written.outcome.is_err() {
                    return vec![written];
                }
                vec![written, Finding { what: "table".into(), outcome: place.examine(true).await }]
            }),
            Err(error) => vec![Finding::bad("table", error.text())],
        }
    }

    fn check(&self, inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let Some(input) = inputs.first() else { return Err(vec![Problem::new("the stage has no input")]) };
        let mut problems = self.keys(input);
        problems.extend(self.partitions(&input.schema));
        problems.extend(self.upkeep.check());
        for field in input.schema.fields().iter().filter(|f| !storable(f.data_type())) {
            problems.push(
                Problem::field(
                    "input",
                    format!(
                        "column `{}` has type {}, which a Delta table cannot hold",
                        field.name(),
                        type_name(field.data_type())
                    ),
                )
                .label("gives this column")
                .help("CAST it in a `sql` stage before"),
            );
        }
        if let Some(name) = RESERVED.iter().find(|name| self.change_feed && input.schema.index_of(name).is_ok()) {
            problems.push(
                Problem::field("change_feed", format!("`{}` gives a column `{name}`", input.from))
                    .label("the name is taken")
                    .help("readers of a change feed get a column of this name: rename yours in a `sql` stage before"),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mode = match self.mode {
            Mode::Append => "append",
            Mode::Changes => "log of changes",
            Mode::Upsert => "upsert",
        };
        let mut outputs = Outputs::passing(inputs);
        let upsert = self.mode == Mode::Upsert;
        let by = input.changes.as_ref().map(|c| c.keys.clone()).filter(|keys| !keys.is_empty());
        outputs.table = Some(Table {
            url: self.table.clone(),
            schema: if upsert { without_diff(&input.schema) } else { input.schema.clone() },
            keys: if upsert { by.unwrap_or_else(|| self.key.clone()) } else { Vec::new() },
            guarantee: format!("exactly once, {mode}"),
        });
        Ok(outputs)
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let input = context.inputs.first().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let known = input.changes.as_ref().map(|c| c.keys.clone()).filter(|keys| !keys.is_empty());
        let counted = self.mode == Mode::Upsert && input.changes.is_some();
        let schema = if counted { without_diff(&input.schema) } else { input.schema.clone() };
        let keys = known.unwrap_or_else(|| self.key.clone());
        let target = Target::new(self.clone(), schema, keys, counted, context)?;
        Ok(Stage::sink(DeltaSink { target, worker: context.worker }))
    }
}

impl Delta {
    fn keys(&self, input: &Input) -> Vec<Problem> {
        let mut problems = Vec::new();
        match (self.mode, &input.changes) {
            (Mode::Append, Some(_)) => problems.push(
                Problem::field("mode", format!("`{}` gives changes: rows that come and go", input.from))
                    .label("appends")
                    .help("set `mode: upsert` for a table of what holds, or `mode: changes` for a log of the changes"),
            ),
            (Mode::Changes, None) => problems.push(
                Problem::field("mode", format!("`{}` gives rows that only come", input.from))
                    .label("for rows that come and go")
                    .help("set `mode: append`"),
            ),
            (Mode::Append, None) | (Mode::Changes, Some(_)) => {
                for (name, given) in [("key", !self.key.is_empty()), ("latest_by", self.latest_by.is_some())] {
                    if given {
                        problems.push(
                            Problem::field(name, format!("`{name}` is for upserts"))
                                .label("no effect here")
                                .help("set `mode: upsert`, or remove it"),
                        );
                    }
                }
            }
            (Mode::Upsert, Some(Changes { keys })) => {
                if keys.is_empty() {
                    problems.extend(self.named_key(input));
                } else if !self.key.is_empty() && &self.key != keys {
                    problems.push(
                        Problem::field("key", format!("`{}` gives one row per {}", input.from, keys.join(", ")))
                            .label("another key")
                            .help("remove `key`"),
                    );
                }
                if self.latest_by.is_some() {
                    problems.push(
                        Problem::field(
                            "latest_by",
                            format!("`{}` says itself which row goes and which one comes", input.from),
                        )
                        .label("not needed")
                        .help("remove `latest_by`"),
                    );
                }
            }
            (Mode::Upsert, None) => {
                problems.extend(self.named_key(input));
                if !self.key.is_empty() && self.latest_by.is_none() {
                    problems.push(
                        Problem::field("key", "several rows may have the same key, and it is not known which one is the newest")
                            .label("needs `latest_by`")
                            .help("add `latest_by: column`, such as a time of change: with equal input the table is then always the same"),
                    );
                }
            }
        }
        problems
    }

    /// Rows without a key of their own: the stage must say what it is.
    fn named_key(&self, input: &Input) -> Vec<Problem> {
        let mut problems = Vec::new();
        let names = || input.schema.fields().iter().map(|f| f.name().as_str());
        if self.key.is_empty() {
            problems.push(
                Problem::field(
                    "mode",
                    format!("`{}` gives rows without a key, so it is not known which row replaces which", input.from),
                )
                .label("needs a key")
                .help(if input.changes.is_some() {
                    "add `key: [column]`"
                } else {
                    "add `key: [column]` and `latest_by: column`, or put an `aggregate` before it"
                }),
            );
        }
        let places = self.key.iter().enumerate().map(|(at, name)| (format!("key.{at}"), name));
        for (path, name) in places.chain(self.latest_by.iter().map(|name| ("latest_by".to_owned(), name))) {
            match input.schema.field_with_name(name) {
                Err(_) => problems.push(
                    Problem::field(&path, format!("there is no column `{name}`")).label("not a column").suggest(
                        name,
                        names(),
                        "columns",
                    ),
                ),
                Ok(field) if field.data_type().is_nested() => {
                    problems.push(
                        Problem::field(
                            &path,
                            format!("a column of type {} cannot be compared", type_name(field.data_type())),
                        )
                        .label("here"),
                    );
                }
                Ok(_) => {}
            }
        }
        problems
    }

    fn partitions(&self, schema: &SchemaRef) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.mode == Mode::Upsert && !self.partition_by.is_empty() {
            problems.push(
                Problem::field("partition_by", "an upserted table cannot be partitioned yet")
                    .label("here")
                    .help("remove `partition_by`"),
            );
        }
        for (at, name) in self.partition_by.iter().enumerate() {
            let path = format!("partition_by.{at}");
            match schema.field_with_name(name) {
                Err(_) => problems.push(
                    Problem::field(&path, format!("there is no column `{name}`")).label("not a column").suggest(
                        name,
                        schema.fields().iter().map(|f| f.name().as_str()),
                        "columns",
                    ),
                ),
                Ok(field) if !partitionable(field.data_type()) => problems.push(
                    Problem::field(
                        &path,
                        format!("a column of type {} cannot split a table", type_name(field.data_type())),
                    )
                    .label("here")
                    .help("use a string, date, boolean or whole number; CAST a timestamp to a date in a `sql` stage"),
                ),
                Ok(_) => {}
            }
        }
        if !self.partition_by.is_empty() && self.partition_by.len() >= schema.fields().len() {
            problems.push(
                Problem::field("partition_by", "a table needs a column besides those that split it").label("here"),
            );
        }
        problems
    }
}

fn storable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8
        | DataType::Binary
        | DataType::Boolean
        | DataType::Date32
        | DataType::Float32
        | DataType::Float64 => true,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => true,
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => &**zone == "UTC",
        DataType::List(field) => storable(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| storable(f.data_type())),
        _ => false,
    }
}

fn partitionable(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8
            | DataType::Boolean
            | DataType::Date32
            | DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
    )
}

struct DeltaSink {
    target: Target,
    worker: usize,
}

impl Sink for DeltaSink {
    fn writer(&self) -> Box<dyn Writer> {
        match self.target.config.mode {
            Mode::Append | Mode::Changes => Box::new(AppendWriter::new(self.target.clone(), self.worker)),
            Mode::Upsert => Box::new(UpsertWriter::new(self.target.clone())),
        }
    }

    fn committer(&self) -> Option<Box<dyn Committer>> {
        Some(match self.target.config.mode {
            Mode::Append | Mode::Changes => Box::new(AppendCommitter::new(self.target.clone())),
            Mode::Upsert => Box::new(UpsertCommitter::new(self.target.clone())),
        })
    }
}

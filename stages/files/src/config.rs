//! What the stage's YAML says.

use std::sync::Arc;

use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::spec::{Columns, Problem, timestamp};
use alluvium_engine::stage::{
    Input, OnChange, Outputs, ResolveContext, Role, Stage, StageConfig, StageContext, StageError,
};
use alluvium_engine::storage::Finding;
use indexmap::IndexMap;

use crate::list::{self, Wanted, glob};
use crate::policy::Evolution;
use crate::read::FilesSource;
use crate::schema::{self, Asked, Found};

/// Reads the objects of a folder or a bucket: JSON lines, CSV or Parquet, each object once.
///
/// Objects are found by listing. Those whose name, or the name of a folder above, begins with `_` or `.` are left out.
/// Names that end in `.gz` or `.zst` are unpacked. An object without a byte has no rows.
///
/// ```yaml
/// tweets:
///   kind: files
///   url: s3://bucket/tweets
///   format: json
///   schema: { date: string, user: string, text: string }
///   add: { source_file: path, processing_time: ingest_time }
///   on_bad_row: quarantine
/// ```
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// A folder, a single object, or a URL such as `s3://bucket/prefix`.
    #[schemars(length(min = 1))]
    pub(crate) url: String,
    /// How rows are written.
    pub(crate) format: Format,
    /// Columns to read, with their types, found by name. What is not listed is left out. A field that a JSON line or a
    /// Parquet file does not have is NULL; a CSV file must have all columns. A moment without an offset is taken as UTC.
    /// A value that does not fit its type makes a bad row, and none is cut but for this: a moment has microseconds, what is
    /// finer is left out; in a `date` column it is the day of its moment; and a number in a `float` or `double` column is
    /// the nearest that the type has, so a whole number above 2^53 may become its neighbour.
    ///
    /// With `infer` they are found out before the first run, which records them in the state: every later command takes
    /// them from there. Looked at are the first 1,000 objects by name, 4 MiB of each and 64 MiB altogether, or the schemas
    /// of so many Parquet files. Types that differ become the one that holds both: whole and other numbers `double`,
    /// anything else `string`. A list or mapping is a string of JSON; dates and moments are recognised in CSV and Parquet.
    /// An object may lack columns then, in every format.
    pub(crate) schema: Asked,
    /// With `schema: infer`: columns with a type that wins over what is found, also columns that are not found. It is
    /// used when columns are recorded and cannot change them afterwards.
    #[serde(default)]
    pub(crate) hints: Columns,
    /// What to do with columns that the schema lacks. Without it they are left out if `schema` lists columns, and are
    /// added if it is `infer`. A field of a JSON line that is null counts as none.
    #[serde(default)]
    pub(crate) evolution: Option<Evolution>,
    /// The name of the column for `evolution: rescue`. Default: `_rescued_data`.
    #[serde(default)]
    pub(crate) rescue_column: Option<String>,
    /// Columns to take from an object's path, with their types: `{ date: date, hour: int }` for
    /// `date=2009-04-06/hour=07/part.json`. Every object's path must have them, the innermost folder of a name counts, and
    /// `__HIVE_DEFAULT_PARTITION__` is NULL. A field of this name in an object's rows is left out: the path wins.
    #[serde(default)]
    pub(crate) partitions: Columns,
    /// Columns to add: name and what is in it.
    #[serde(default)]
    pub(crate) add: IndexMap<String, Added>,
    /// What becomes of a row that cannot be read.
    #[serde(default)]
    pub(crate) on_bad_row: OnBadRow,
    /// Only objects that match one of these patterns, such as `*.json.gz` (the object's name) or `2009/**/*.json` (its path
    /// below `url`). Without it all are wanted.
    #[serde(default)]
    pub(crate) include: Vec<String>,
    /// No objects that match one of these patterns.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// Which objects come first when there are more than fit into an epoch. Late ones are read in any case.
    #[serde(default)]
    pub(crate) order: Order,
    /// What to do with an object that was written again after it had been read.
    #[serde(default)]
    pub(crate) on_change: OnChange,
    /// What to do with an object that vanishes between being listed and being read.
    #[serde(default)]
    pub(crate) on_missing: OnMissing,
    /// CSV only: the separator, one character.
    #[serde(default = "comma")]
    pub(crate) delimiter: char,
    /// The columns behind `schema: infer`.
    #[serde(skip)]
    pub(crate) found: Option<Found>,
}

fn comma() -> char {
    ','
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Format {
    /// One JSON object a line. A number or boolean where a string is expected is taken as its text. Blank lines are
    /// left out.
    Json,
    /// Comma-separated values with a header line, fields quoted with `"` where needed. An empty field is NULL.
    Csv,
    /// Parquet.
    Parquet,
}

/// Which objects come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Those whose names come first.
    #[default]
    Name,
    /// Those that were written first.
    Mtime,
}

/// What becomes of an object that has vanished before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnMissing {
    /// The run stops.
    #[default]
    Fail,
    /// It is left out, with a warning.
    Skip,
}

/// What an added column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Added {
    /// The object's URL.
    Path,
    /// When the epoch was bound (UTC): the same when it is replayed.
    IngestTime,
}

/// What becomes of a row that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnBadRow {
    /// The run stops; nothing of the epoch is committed.
    #[default]
    Fail,
    /// It goes to `STAGE.rejects` with object, line, text and reason.
    Quarantine,
    /// It is left out and counted in the log.
    Drop,
}

impl Files {
    /// Whether columns are found out.
    pub(crate) fn infers(&self) -> bool {
        matches!(self.schema, Asked::Infer)
    }

    /// Columns that are read.
    fn columns(&self) -> Columns {
        match (&self.schema, &self.found) {
            (Asked::Listed(columns), _) => columns.clone(),
            (Asked::Infer, None) => Columns::default(),
            (Asked::Infer, Some(found)) => {
                let read = found.columns.iter().filter(|(name, _)| !self.takes(name));
                Columns(read.map(|(name, of)| (name.clone(), *of)).collect())
            }
        }
    }

    /// Whether a column of this name is not read from rows, because it has other values.
    pub(crate) fn takes(&self, name: &str) -> bool {
        has(&self.partitions, name) || self.add.contains_key(name) || self.rescue_column() == Some(name)
    }

    pub(crate) fn evolution(&self) -> Evolution {
        self.evolution.unwrap_or(if self.infers() { Evolution::Add } else { Evolution::Ignore })
    }

    /// The column for what does not fit, if there is one.
    fn rescue_column(&self) -> Option<&str> {
        let named = self.rescue_column.as_deref().unwrap_or("_rescued_data");
        (self.evolution == Some(Evolution::Rescue)).then_some(named)
    }

    pub(crate) fn delimiter(&self) -> u8 {
        u8::try_from(self.delimiter).unwrap_or(b',')
    }

    /// Columns that are read.
    pub(crate) fn read_schema(&self) -> SchemaRef {
        self.columns().schema()
    }

    /// Columns that are given: those that are read, those of the path, those that are added, then what was rescued.
    pub(crate) fn full_schema(&self) -> SchemaRef {
        let mut fields = self.columns().fields();
        fields.extend(self.partitions.fields());
        fields.extend(self.add.iter().map(|(name, what)| match what {
            Added::Path => Field::new(name, DataType::Utf8, false),
            Added::IngestTime => Field::new(name, timestamp(), false),
        }));
        fields.extend(self.rescue_column().map(|name| Field::new(name, DataType::Utf8, true)));
        Arc::new(Schema::new(fields))
    }
}

/// Whether a column of this name is among them.
fn has(columns: &Columns, name: &str) -> bool {
    columns.0.iter().any(|(column, _)| column == name)
}

impl Files {
    /// Names that two columns would have.
    fn names(&self) -> Vec<Problem> {
        let taken = |field: String, message: String, help: &str| {
            Problem::field(&field, message).label("the name is taken").help(help)
        };
        let mut problems = Vec::new();
        let (read, hints) = (self.columns(), &self.hints);
        for (name, _) in hints.0.iter().filter(|(name, _)| self.takes(name)) {
            let message = format!("`{name}` is not read from the objects' rows");
            problems.push(taken(format!("hints.{name}"), message, "remove the hint"));
        }
        if let Some(name) = self.rescue_column()
            && (has(&read, name) || has(&self.partitions, name) || self.add.contains_key(name))
        {
            let message =
                format!("`{name}` is the column for what does not fit, and there is another one of this name");
            problems.push(taken("rescue_column".into(), message, "set `rescue_column:` to another name"));
        }
        for (name, _) in &self.partitions.0 {
            if has(&read, name) {
                problems.push(taken(
                    format!("partitions.{name}"),
                    format!("`{name}` is read from the objects and also taken from their paths"),
                    "keep it in one of `schema` and `partitions`",
                ));
            }
        }
        for name in self.add.keys() {
            let field = format!("add.{name}");
            if has(&read, name) {
                let message = format!("`{name}` is read from the objects and also added");
                problems.push(taken(field, message, "add it under another name"));
            } else if has(&self.partitions, name) {
                let message = format!("`{name}` is taken from the objects' paths and also added");
                problems.push(taken(field, message, "add it under another name"));
            }
        }
        problems
    }
}

impl Files {
    /// Fields that have no effect, or none yet.
    fn combinations(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut idle = |field: &str, message: &str, help: &str| {
            problems.push(Problem::field(field, message).label("no effect here").help(help));
        };
        if !self.infers() {
            if !self.hints.0.is_empty() {
                idle("hints", "`hints` is for `schema: infer`", "put the types into `schema:`, or set it to `infer`");
            }
            if self.evolution == Some(Evolution::Add) {
                idle(
                    "evolution",
                    "columns cannot be added to those that `schema:` lists",
                    "set `schema: infer`, or `evolution:` to `rescue`, `fail` or `ignore`",
                );
            }
        }
        if self.rescue_column.is_some() && self.evolution != Some(Evolution::Rescue) {
            idle(
                "rescue_column",
                "`rescue_column` is for `evolution: rescue`",
                "set `evolution: rescue`, or remove it",
            );
        }
        problems
    }
}

impl StageConfig for Files {
    const KIND: &'static str = "files";
    const ROLE: Role = Role::Source;

    fn resolve(&mut self, context: &ResolveContext) -> Result<(), Vec<Problem>> {
        context.openable("url", &self.url)?;
        if self.infers() {
            self.found = Some(schema::resolve(self, context)?);
        }
        Ok(())
    }

    fn examine(&self, context: &ResolveContext) -> Vec<Finding> {
        let opened = context.storage.open(&self.url).map_err(|e| e.text());
        let found = opened.and_then(|location| {
            let wanted = Wanted::new(self).map_err(|e| e.to_string())?;
            context.runtime.block_on(list::examine(&location, &wanted, &self.partitions)).map_err(|e| e.text())
        });
        vec![Finding { what: "objects".into(), outcome: found }]
    }

    fn check(&self, _inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let mut problems = self.names();
        problems.extend(self.combinations());
        for (field, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (place, pattern) in patterns.iter().enumerate() {
                if let Err(error) = glob(pattern) {
                    problems.push(
                        Problem::field(&format!("{field}.{place}"), format!("`{pattern}` is not a pattern"))
                            .label(error.kind().to_string())
                            .help("`*` stands for any part of a name, `**` for any folders, `[ab]` and `{a,b}` for choices"),
                    );
                }
            }
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\n' | '\r') {
            problems.push(
                Problem::field(
                    "delimiter",
                    "the separator must be an ASCII character other than a quote or a line end",
                )
                .label("here"),
            );
        }
        if problems.is_empty() {
            let mut outputs = Outputs::rows(self.full_schema());
            outputs.rejects = self.on_bad_row == OnBadRow::Quarantine;
            if let Some(found) = &self.found {
                let record = found.record();
                outputs.resolved =
                    Some(record.map_err(|e| vec![Problem::new(format!("columns cannot be recorded: {e}"))])?);
                outputs.evolved.clone_from(&found.added);
            }
            Ok(outputs)
        } else {
            Err(problems)
        }
    }

    fn build(&self, context: &StageContext) -> Result<Stage, StageError> {
        let location = context.storage.open(&self.url)?;
        let wanted = Wanted::new(self).map_err(|e| StageError::internal("a pattern was not checked").because(e))?;
        Ok(Stage::source(FilesSource::new(self.clone(), location, wanted)))
    }
}

//! Synthetic rows.

use std::sync::Arc;

use alluvium_engine::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::async_trait;
use alluvium_engine::spec::{Problem, timestamp};
use alluvium_engine::stage::{
    Input, Outputs, Read, ReadContext, Role, Source, Split, Stage, StageConfig, StageContext, StageError,
};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use indexmap::IndexMap;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rows in a split; part of what makes the rows the same every time.
const SPLIT_ROWS: u64 = 65_536;
const BATCH_ROWS: u64 = 8_192;

/// Makes rows: the same for the same seed, however many workers there are.
///
/// ```yaml
/// numbers:
///   kind: generate
///   rows: 100000
///   columns:
///     id: { sequence: 1 }
///     level: { choice: [info, warning, error] }
///     ms: { float: { min: 0, max: 250 } }
/// ```
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// How many rows. Do not change it for a pipeline that has run: rows of the last split would come twice.
    #[schemars(range(min = 1))]
    rows: u64,
    /// Other seeds give other rows.
    #[serde(default)]
    seed: u64,
    /// What is in each column.
    #[schemars(length(min = 1))]
    columns: IndexMap<String, Column>,
}

/// What is in a column.
#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Column {
    /// Whole numbers that count up from this one.
    Sequence(i64),
    /// Whole numbers from `min` to `max`, both included, evenly spread.
    Int { min: i64, max: i64 },
    /// Floating point numbers from `min` to `max`, evenly spread.
    Float { min: f64, max: f64 },
    /// One of these texts, evenly spread.
    Choice(#[schemars(length(min = 1))] Vec<String>),
    /// Moments that begin at `start` and are `step_ms` milliseconds apart.
    Timestamp { start: DateTime<Utc>, step_ms: i64 },
}

impl Column {
    fn data_type(&self) -> DataType {
        match self {
            Self::Sequence(_) | Self::Int { .. } => DataType::Int64,
            Self::Float { .. } => DataType::Float64,
            Self::Choice(_) => DataType::Utf8,
            Self::Timestamp { .. } => timestamp(),
        }
    }

    fn values(&self, first: u64, rows: u64, random: &mut ChaCha8Rng) -> ArrayRef {
        let numbers = (first..first + rows).map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        match self {
            Self::Sequence(start) => Arc::new(numbers.map(|n| start.wrapping_add(n)).collect::<Int64Array>()),
            Self::Int { min, max } => {
                Arc::new((0..rows).map(|_| random.random_range(*min..=*max)).collect::<Int64Array>())
            }
            Self::Float { min, max } => {
                Arc::new((0..rows).map(|_| random.random_range(*min..=*max)).collect::<Float64Array>())
            }
            Self::Choice(of) => {
                Arc::new((0..rows).map(|_| of.get(random.random_range(0..of.len().max(1)))).collect::<StringArray>())
            }
            Self::Timestamp { start, step_ms } => {
                let micros = numbers
                    .map(|n| start.timestamp_micros().saturating_add(n.saturating_mul(*step_ms).saturating_mul(1_000)));
                Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
            }
        }
    }
}

impl StageConfig for Generate {
    const KIND: &'static str = "generate";
    const ROLE: Role = Role::Source;

    fn check(&self, _inputs: &[Input]) -> Result<Outputs, Vec<Problem>> {
        let backwards = self.columns.iter().filter_map(|(name, column)| {
            let wrong = match column {
                Column::Int { min, max } => min > max,
                Column::Float { min, max } => min > max,
                _ => false,
            };
            wrong.then(|| {
                Problem::field(&format!("columns.{name}"), "`min` is greater than `max`").label("no value fits")
            })
        });
        let problems: Vec<Problem> = backwards.collect();
        if problems.is_empty() { Ok(Outputs::rows(self.schema())) } else { Err(problems) }
    }

    fn build(&self, _context: &StageContext) -> Result<Stage, StageError> {
        Ok(Stage::source(self.clone()))
    }
}

impl Generate {
    fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self.columns.iter().map(|(name, c)| Field::new(name, c.data_type(), false)).collect();
        Arc::new(Schema::new(fields))
    }

    /// The rows of a split, computed batch by batch.
    fn batches(self, first: u64, end: u64) -> impl Iterator<Item = Result<RecordBatch, StageError>> {
        let schema = self.schema();
        // Splits begin on a fixed grid and each has its own stream of numbers: order of reading does not matter.
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(first);
        (first..end).step_by(BATCH_ROWS as usize).map(move |at| {
            let rows = BATCH_ROWS.min(end - at);
            let columns = self.columns.values().map(|c| c.values(at, rows, &mut random)).collect();
            RecordBatch::try_new(schema.clone(), columns)
                .map_err(|e| StageError::internal("rows cannot be made").because(e))
        })
    }
}

#[async_trait]
impl Source for Generate {
    fn list(&self, _after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
        let (rows, width) = (self.rows, self.columns.len() as u64 * 8);
        let starts = (0..rows).step_by(SPLIT_ROWS as usize);
        let splits = starts.map(move |first| {
            let end = rows.min(first + SPLIT_ROWS);
            let rank = i64::try_from(first).unwrap_or(i64::MAX);
            Ok(Split {
                id: format!("{first}-{end}"),
                bytes: (end - first) * width,
                version: None,
                modified: None,
                rank,
            })
        });
        stream::iter(splits).boxed()
    }

    fn read(&self, split: Split, _context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
        let bounds = split.id.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match bounds {
            Some((first, end)) => stream::iter(self.clone().batches(first, end).map(|b| b.map(Read::Rows))).boxed(),
            None => {
                let error = StageError::internal(format!("`{}` is not a split of this source", split.id));
                stream::once(async { Err(error) }).boxed()
            }
        }
    }
}

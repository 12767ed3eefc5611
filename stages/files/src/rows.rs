//! What decoders have in common: good rows get the added columns, bad rows go where `on_bad_row` says.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array};
use alluvium_engine::arrow::datatypes::{DataType, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::{Read, ReadContext, Reject, StageError};
use tokio::sync::mpsc;

use crate::config::{Added, Files, OnBadRow};
use crate::partitions::Partition;
use crate::policy::Evolution;

/// A row that cannot be read.
pub(crate) struct Bad {
    /// Its line or row, counted from 1.
    pub(crate) line: u64,
    /// As it stands in the object.
    pub(crate) raw: String,
    /// Why.
    pub(crate) reason: String,
}

/// Makes pieces of what is decoded of one object.
pub(crate) struct Rows {
    pub(crate) object: String,
    context: ReadContext,
    schema: SchemaRef,
    partition: Partition,
    added: Vec<Added>,
    rescues: bool,
    on_bad_row: OnBadRow,
    /// Columns that say the same in all rows, as long as the longest piece so far: all pieces share them.
    same: Vec<ArrayRef>,
    dropped: usize,
}

impl Rows {
    /// # Errors
    /// A path without the partition columns.
    pub(crate) fn new(config: &Files, object: String, context: ReadContext) -> Result<Self, StageError> {
        Ok(Self {
            partition: Partition::of(&object, &config.partitions)?,
            object,
            context,
            schema: config.full_schema(),
            added: config.add.values().copied().collect(),
            rescues: config.evolution() == Evolution::Rescue,
            on_bad_row: config.on_bad_row,
            same: Vec::new(),
            dropped: 0,
        })
    }

    /// Rows with the columns that are read; the others are added. `rescued` is what did not fit into them.
    pub(crate) fn good(&mut self, batch: &RecordBatch, rescued: Option<ArrayRef>) -> Result<Option<Read>, StageError> {
        let n = batch.num_rows();
        if n == 0 {
            return Ok(None);
        }
        if self.same.first().is_none_or(|column| column.len() < n) {
            self.same = self.same_in(n)?;
        }
        let mut columns = batch.columns().to_vec();
        columns.extend(self.same.iter().map(|column| column.slice(0, n)));
        if self.rescues {
            columns.push(rescued.unwrap_or_else(|| new_null_array(&DataType::Utf8, n)));
        }
        let full = RecordBatch::try_new(self.schema.clone(), columns);
        full.map(|rows| Some(Read::Rows(rows))).map_err(|e| self.broken(e))
    }

    /// Partition columns and added columns, for `n` rows.
    fn same_in(&self, n: usize) -> Result<Vec<ArrayRef>, StageError> {
        let mut columns = self.partition.columns(n).map_err(|e| self.broken(e))?;
        columns.extend(self.added.iter().map(|what| -> ArrayRef {
            match what {
                Added::Path => Arc::new(StringArray::new_repeated(&self.object, n)),
                Added::IngestTime => {
                    let micros = self.context.ingest_time.timestamp_micros();
                    Arc::new(TimestampMicrosecondArray::from_value(micros, n).with_timezone("UTC"))
                }
            }
        }));
        Ok(columns)
    }

    fn broken(&self, error: ArrowError) -> StageError {
        StageError::internal("columns cannot be added").object(&self.object).because(error)
    }

    /// Deals with rows that cannot be read.
    pub(crate) fn bad(&mut self, rows: Vec<Bad>) -> Result<Option<Read>, StageError> {
        let Some(first) = rows.first() else { return Ok(None) };
        match self.on_bad_row {
            OnBadRow::Drop => {
                self.dropped += rows.len();
                Ok(None)
            }
            OnBadRow::Quarantine => {
                let reject = |bad: Bad| Reject {
                    object: Some(self.object.clone()),
                    line: i64::try_from(bad.line).ok(),
                    raw: bad.raw,
                    reason: bad.reason,
                };
                Ok(Some(Read::Rejects(rows.into_iter().map(reject).collect())))
            }
            OnBadRow::Fail => Err(StageError::user(format!(
                "a row cannot be read: {}\n  text: {}",
                first.reason,
                shorten(&first.raw, 200)
            ))
            .object(&self.object)
            .row(first.line)
            .hint("correct the object, or set `on_bad_row:` to `quarantine` or `drop`")),
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if self.dropped > 0 {
            tracing::warn!(object = %self.object, rows = self.dropped, "bad rows were dropped");
        }
    }
}

/// Why decoding ends early.
pub(crate) enum Stop {
    /// Nobody listens any more.
    Gone,
    /// The object cannot be read on.
    Failed(StageError),
}

impl From<StageError> for Stop {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

/// From a decoder, on a thread that may block, to the reader.
pub(crate) struct Out {
    pub(crate) rows: Rows,
    pub(crate) sender: mpsc::Sender<Result<Read, StageError>>,
}

impl Out {
    /// Gives what became of a piece of the object: its bad rows, then its good ones.
    pub(crate) fn give(&mut self, bad: Vec<Bad>, good: &RecordBatch, rescued: Option<ArrayRef>) -> Result<(), Stop> {
        for piece in [self.rows.bad(bad)?, self.rows.good(good, rescued)?].into_iter().flatten() {
            self.sender.blocking_send(Ok(piece)).map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    /// The object's URL.
    pub(crate) fn object(&self) -> &str {
        &self.rows.object
    }

    /// An error of the object as a whole.
    pub(crate) fn broken(&self, what: impl Into<String>) -> StageError {
        StageError::external(what).object(&self.rows.object)
    }

    /// The bytes end too early, or cannot be unpacked.
    pub(crate) fn unreadable(&self, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StageError {
        self.broken("the object cannot be read or unpacked to its end")
            .because(error)
            .hint("write the object again as a whole; nothing of its epoch was committed")
    }

    /// Says how it ended.
    pub(crate) fn end(self, outcome: Result<(), Stop>) {
        if let Err(Stop::Failed(error)) = outcome {
            // Nobody to tell when the reader is gone.
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

/// Enough of a text to recognise it.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

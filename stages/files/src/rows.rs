//! What decoders have in common: rows out, rejects out, added columns.

use std::sync::Arc;

use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::{Read, ReadContext, Reject, StageError};
use tokio::sync::mpsc;

use crate::config::{Added, Files, OnBadRow};

/// Takes what is decoded of one object.
pub(crate) struct Rows {
    sender: mpsc::Sender<Result<Read, StageError>>,
    object: String,
    context: ReadContext,
    schema: SchemaRef,
    added: Vec<Added>,
    on_bad_row: OnBadRow,
    dropped: u64,
}

/// Nobody listens any more.
pub(crate) struct Gone;

/// Why decoding ends early.
pub(crate) enum Stop {
    /// The reader is gone.
    Gone,
    /// The object cannot be read on.
    Failed(StageError),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Rows {
    pub(crate) fn new(config: &Files, object: String, context: ReadContext, sender: mpsc::Sender<Result<Read, StageError>>) -> Self {
        Self {
            sender,
            object,
            context,
            schema: config.full_schema(),
            added: config.add.values().copied().collect(),
            on_bad_row: config.on_bad_row,
            dropped: 0,
        }
    }

    /// Gives rows with the columns that are read; adds the others.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<(), Stop> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let full = self.complete(batch).map_err(|e| Stop::Failed(StageError::internal("columns cannot be added").object(&self.object).because(e)))?;
        self.send(Ok(Read::Rows(full)))
    }

    pub(crate) fn complete(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let n = batch.num_rows();
        let mut columns = batch.columns().to_vec();
        columns.extend(self.added.iter().map(|what| -> ArrayRef {
            match what {
                Added::Path => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&self.object, n))),
                Added::IngestTime => {
                    let micros = self.context.ingest_time.timestamp_micros();
                    Arc::new(TimestampMicrosecondArray::from_value(micros, n).with_timezone("UTC"))
                }
            }
        }));
        RecordBatch::try_new(self.schema.clone(), columns)
    }

    /// Deals with rows that cannot be read: line, text, reason.
    pub(crate) fn bad(&mut self, rows: Vec<(u64, String, String)>) -> Result<(), Stop> {
        match self.on_bad_row {
            _ if rows.is_empty() => Ok(()),
            OnBadRow::Drop => {
                self.dropped += rows.len() as u64;
                Ok(())
            }
            OnBadRow::Quarantine => {
                let reject = |(line, raw, reason)| Reject { object: Some(self.object.clone()), line: i64::try_from(line).ok(), raw, reason };
                self.send(Ok(Read::Rejects(rows.into_iter().map(reject).collect())))
            }
            OnBadRow::Fail => match rows.into_iter().next() {
                None => Ok(()),
                Some((line, raw, reason)) => Err(Stop::Failed(
                    StageError::user(format!("a row cannot be read: {reason}\n  text: {}", shorten(&raw)))
                        .object(&self.object)
                        .row(line)
                        .hint("correct the object, or set `on_bad_row:` to `quarantine` or `drop`"),
                )),
            },
        }
    }

    /// An error of the object as a whole.
    pub(crate) fn broken(&self, what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Stop {
        Stop::Failed(StageError::external(what).object(&self.object).because(error))
    }

    fn send(&self, piece: Result<Read, StageError>) -> Result<(), Stop> {
        self.sender.blocking_send(piece).map_err(|_| Stop::Gone)
    }

    /// Says how it ended.
    pub(crate) fn end(self, outcome: Result<(), Stop>) {
        if self.dropped > 0 {
            tracing::warn!(object = %self.object, rows = self.dropped, "bad rows were dropped");
        }
        if let Err(Stop::Failed(error)) = outcome {
            // Nobody to tell when the reader is gone.
            let _ = self.sender.blocking_send(Err(error));
        }
    }
}

/// Enough of a row to recognise it.
fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

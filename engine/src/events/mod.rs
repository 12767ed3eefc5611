//! The event log: what happened to a pipeline, as rows of a table in its state that SQL calls `alluvium.events`.
//!
//! Only the process that leads writes it, half a minute behind at most and never in the way of the run: a log that cannot be
//! written is a warning. A run that is killed leaves no event of its end, nor those of its last half minute; what it did is
//! in the tables and in the records of its epochs.

mod log;
mod tell;

pub(crate) use log::{EventLog, EventSender, note};

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, Utc};

use crate::Epoch;
use crate::plan::Plan;

/// Where a pipeline's event log lies.
pub fn url(plan: &Plan) -> String {
    format!("{}/events", plan.state.trim_end_matches('/'))
}

/// Columns of the event log.
pub fn schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    let number = |name, nullable| Field::new(name, DataType::Int64, nullable);
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", time, false),
        text("level", false),
        text("kind", false),
        text("stage", true),
        number("epoch", true),
        number("version", true),
        number("rows", true),
        text("message", false),
        text("details", true),
        text("run_id", false),
        number("sequence", false),
    ]))
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Start,
    Epoch,
    Commit,
    Rejects,
    Schema,
    Upkeep,
    Refresh,
    Fault,
    Stop,
}

impl EventKind {
    /// Its name in the column `kind`.
    fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Epoch => "epoch",
            Self::Commit => "commit",
            Self::Rejects => "rejects",
            Self::Schema => "schema",
            Self::Upkeep => "upkeep",
            Self::Refresh => "refresh",
            Self::Fault => "fault",
            Self::Stop => "stop",
        }
    }

    fn level(self) -> &'static str {
        match self {
            Self::Rejects | Self::Schema | Self::Refresh => "warn",
            Self::Fault => "error",
            _ => "info",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    at: DateTime<Utc>,
    kind: EventKind,
    stage: Option<String>,
    epoch: Option<Epoch>,
    /// Of a table.
    version: Option<u64>,
    rows: Option<u64>,
    /// For people.
    message: String,
    /// For programs: a JSON object.
    details: Option<String>,
}

/// Events as rows, with the number of each in its run.
fn rows(run_id: &str, events: &[(u64, Event)]) -> Result<RecordBatch, ArrowError> {
    let all = || events.iter().map(|(_, event)| event);
    let text = |of: fn(&Event) -> Option<&str>| Arc::new(all().map(of).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&Event) -> Option<u64>| {
        let signed = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
        Arc::new(all().map(|event| signed(of(event))).collect::<Int64Array>()) as ArrayRef
    };
    let time = TimestampMicrosecondArray::from_iter_values(all().map(|e| e.at.timestamp_micros()));
    let sequence = events.iter().map(|(sequence, _)| i64::try_from(*sequence).unwrap_or(i64::MAX));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(time.with_timezone("UTC")),
        text(|e| Some(e.kind.level())),
        text(|e| Some(e.kind.name())),
        text(|e| e.stage.as_deref()),
        number(|e| e.epoch),
        number(|e| e.version),
        number(|e| e.rows),
        text(|e| Some(&e.message)),
        text(|e| e.details.as_deref()),
        Arc::new(all().map(|_| Some(run_id)).collect::<StringArray>()),
        Arc::new(Int64Array::from_iter_values(sequence)),
    ];
    RecordBatch::try_new(schema(), columns)
}

//! Warnings of the log, remembered for whoever looks at a run: why a request to a store is tried again, what was left out.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::Epoch;
use crate::progress::Warning;
use crate::secret;

/// Warnings that are kept.
const KEPT: usize = 50;
/// Older ones are not shown any more.
const SHOWN: TimeDelta = TimeDelta::minutes(10);
/// Why object stores try again is told as information.
const RETRIES: &str = "object_store::client::retry";

static NOTICES: Mutex<VecDeque<Warning>> = Mutex::new(VecDeque::new());

/// The warnings of the last minutes, the newest last.
pub(crate) fn recent() -> Vec<Warning> {
    let since: DateTime<Utc> = Utc::now() - SHOWN;
    let notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    notices.iter().filter(|w| w.at >= since).cloned().collect()
}

/// Part of the log's subscriber.
pub(crate) struct Remember;

impl<S: Subscriber> Layer<S> for Remember {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() > Level::WARN && about.target() != RETRIES {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let warning = Warning {
            stage: fields.stage,
            epoch: fields.epoch,
            message: secret::redact(&format!("{}{}", fields.message, fields.rest)),
            at: Utc::now(),
        };
        let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
        // The same again is only newer.
        notices.retain(|w| (&w.stage, w.epoch, &w.message) != (&warning.stage, warning.epoch, &warning.message));
        notices.push_back(warning);
        if notices.len() > KEPT {
            notices.pop_front();
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Fields {
    message: String,
    stage: Option<String>,
    epoch: Option<Epoch>,
    rest: String,
}

impl Fields {
    fn more(&mut self, field: &Field, value: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.rest, "; {}: {value}", field.name());
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "stage" => self.stage = Some(value.to_owned()),
            "message" => value.clone_into(&mut self.message),
            _ => self.more(field, value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "epoch" { self.epoch = Some(value) } else { self.more(field, value) }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "stage" => self.stage = Some(format!("{value:?}")),
            _ => self.more(field, format_args!("{value:?}")),
        }
    }
}

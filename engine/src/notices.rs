//! Warnings of the log, remembered for whoever looks at a run: why a request to a store is tried again, what was left out.

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::Epoch;
use crate::progress::Warning;
use crate::secret;

/// Warnings that are kept.
const KEPT: usize = 50;
/// Older ones are not shown any more.
const SHOWN: TimeDelta = TimeDelta::minutes(10);
/// Why object stores try again is told as information.
const RETRIES: &str = "object_store::client::retry";

/// With what makes two of them the same.
static NOTICES: Mutex<VecDeque<(String, Warning)>> = Mutex::new(VecDeque::new());

/// The warnings of the last minutes, the newest last.
pub(crate) fn recent() -> Vec<Warning> {
    let since: DateTime<Utc> = Utc::now() - SHOWN;
    let notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    notices.iter().map(|(_, w)| w).filter(|w| w.at >= since).cloned().collect()
}

/// Part of the log's subscriber.
pub(crate) struct Remember;

impl Remember {
    /// With the filter that it needs.
    pub(crate) fn layer<S>() -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        Self.with_filter(
            Targets::new()
                .with_default(Level::WARN)
                .with_target(RETRIES, Level::INFO)
                // Their errors come back as results.
                .with_targets(["buoyant_kernel", "delta_kernel"].map(|target| (target, LevelFilter::OFF))),
        )
    }
}

impl<S> Layer<S> for Remember
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id).filter(|_| fields.stage.is_some()) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        // Whoever logs does not know for which stage it works; the span does.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Fields>().filter(|_| fields.stage.is_none()) {
                fields.stage.clone_from(&around.stage);
                fields.epoch = fields.epoch.or(around.epoch);
            }
        }
        let warning = Warning {
            stage: fields.stage,
            epoch: fields.epoch,
            message: secret::redact(format!("{}{}", fields.message, fields.rest).trim_start_matches("; ")),
            at: Utc::now(),
        };
        let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
        // The same again is only newer; tries are counted in their text.
        let what = if event.metadata().target() == RETRIES { RETRIES } else { &warning.message };
        let key = format!("{:?} {:?} {what}", warning.stage, warning.epoch);
        notices.retain(|(other, _)| *other != key);
        notices.push_back((key, warning));
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

//! Lines of the log: what they say, and pipeline, stage, epoch and worker that they are about; without secrets.

use std::fmt::Debug;
use std::time::SystemTime;

use alluvium_engine::LogLayer;
use alluvium_engine::secret::redact;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Takes what the log shows.
pub(crate) fn layer(logs: &SdkLoggerProvider) -> LogLayer {
    Box::new(Lines { logger: logs.logger("alluvium") })
}

struct Lines {
    logger: SdkLogger,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // The way to the collector is not to be told on that way.
        if ["opentelemetry", "hyper", "reqwest"].iter().any(|own| event.metadata().target().starts_with(own)) {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (number, text) = severity(*event.metadata().level());
        let mut record = self.logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_severity_number(number);
        record.set_severity_text(text);
        record.set_target(event.metadata().target().to_owned());
        if let Some(message) = fields.message {
            record.set_body(message.into());
        }
        record.add_attributes(fields.others);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Fields>() {
                record.add_attributes(around.others.clone());
            }
        }
        self.logger.emit(record);
    }
}

fn severity(level: Level) -> (Severity, &'static str) {
    match level {
        Level::ERROR => (Severity::Error, "ERROR"),
        Level::WARN => (Severity::Warn, "WARN"),
        Level::INFO => (Severity::Info, "INFO"),
        Level::DEBUG => (Severity::Debug, "DEBUG"),
        Level::TRACE => (Severity::Trace, "TRACE"),
    }
}

/// What an event or a span says.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    others: Vec<(&'static str, AnyValue)>,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), i64::try_from(value).unwrap_or(i64::MAX).into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = redact(value);
        if field.name() == "message" {
            self.message = Some(value);
        } else {
            self.others.push((field.name(), value.into()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

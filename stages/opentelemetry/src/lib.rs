//! Sends what happens to an OpenTelemetry collector: each epoch as a trace, and the log.
//!
//! ```text
//!   export    the way to the collector, by OTLP over HTTP
//!   epochs    what epochs have done, as spans
//!   log       lines of the log, without secrets
//! ```
//!
//! Nothing is sent unless `OTEL_EXPORTER_OTLP_ENDPOINT` says where. What else OpenTelemetry's SDK reads from the
//! environment holds too, such as `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
//! Metrics are not sent: the collector takes them from `/metrics`.

mod epochs;
mod export;
mod log;

use std::sync::Arc;
use std::time::Duration;

use alluvium_engine::LogLayer;
use alluvium_engine::async_trait;
use alluvium_engine::monitor::{Http, Monitor, Watched, Watching};
use alluvium_engine::runtime::RunHandle;
use tokio::task::JoinHandle;

use crate::epochs::Epochs;
use crate::export::Export;

/// What is not sent when a run ends may take so long.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Exports runs that another monitor shows.
pub struct OpenTelemetry<M> {
    shown: M,
    /// Nothing: nobody has said where to.
    export: Option<Arc<Export>>,
}

impl<M: Monitor> OpenTelemetry<M> {
    /// As the environment says.
    pub fn new(shown: M) -> Self {
        Self { shown, export: Export::from_env().map(Arc::new) }
    }

    /// What takes the log.
    pub fn log_layer(&self) -> Option<LogLayer> {
        self.export.as_ref().map(|export| log::layer(&export.logs))
    }
}

#[async_trait]
impl<M: Monitor> Monitor for OpenTelemetry<M> {
    async fn start(&self, watched: Watched) -> Result<Box<dyn Watching>, String> {
        let run = watched.run.clone();
        let shown = self.shown.start(watched).await?;
        let Some(export) = self.export.clone() else { return Ok(shown) };
        let epochs = Epochs::new(&export.traces);
        let task = tokio::spawn(follow(run.clone(), epochs.clone()));
        Ok(Box::new(Exporting { shown, run, epochs, task, export }))
    }

    async fn examine(&self, http: Http) -> Result<String, String> {
        self.shown.examine(http).await
    }
}

/// Tells of epochs as they become complete.
async fn follow(run: RunHandle, epochs: Epochs) {
    let mut ticks = run.ticks();
    while ticks.changed().await.is_ok() {
        if run.leads() {
            epochs.tell(&run.epochs());
        }
    }
}

/// A run that is exported.
struct Exporting {
    shown: Box<dyn Watching>,
    run: RunHandle,
    epochs: Epochs,
    task: JoinHandle<()>,
    export: Arc<Export>,
}

#[async_trait]
impl Watching for Exporting {
    async fn end(self: Box<Self>) {
        self.task.abort();
        if self.run.leads() {
            self.epochs.tell(&self.run.epochs());
            self.epochs.end(&self.run.status());
        }
        self.shown.end().await;
        let export = self.export;
        let flushed = tokio::task::spawn_blocking(move || export.flush());
        if tokio::time::timeout(LONGEST_END, flushed).await.is_err() {
            tracing::warn!("the OpenTelemetry collector does not answer: what it has not got is lost");
        }
    }
}

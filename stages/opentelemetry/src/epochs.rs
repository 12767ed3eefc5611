//! Each epoch is a trace: when it was bound, processed and committed, table by table. It is made of what is told when the
//! epoch is complete, and not of the spans of the log: that of a run would be sent when it ends, after months.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use alluvium_engine::progress::{EpochProgress, Status};
use opentelemetry::trace::{Span, SpanBuilder, Status as Outcome, TraceContextExt, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

/// Makes spans of epochs.
#[derive(Clone)]
pub(crate) struct Epochs {
    tracer: SdkTracer,
    /// The newest that was told.
    told: Arc<AtomicU64>,
}

fn number(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn millis(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}

impl Epochs {
    pub(crate) fn new(traces: &SdkTracerProvider) -> Self {
        Self { tracer: traces.tracer("alluvium"), told: Arc::default() }
    }

    /// Those that were not told yet.
    pub(crate) fn tell(&self, epochs: &[EpochProgress]) {
        for epoch in epochs {
            if self.told.fetch_max(epoch.batch_id, Ordering::Relaxed) < epoch.batch_id {
                self.epoch(epoch);
            }
        }
    }

    fn epoch(&self, epoch: &EpochProgress) {
        let finished = SystemTime::from(epoch.finished);
        let durations = &epoch.duration_ms;
        let committing = finished - millis(durations.commit_offsets);
        let bound = committing - millis(durations.add_batch);
        let begun = bound - millis(durations.wal_commit);
        let mut about = vec![
            KeyValue::new("alluvium.pipeline", epoch.name.clone()),
            KeyValue::new("alluvium.run_id", epoch.run_id.clone()),
            KeyValue::new("alluvium.epoch", number(epoch.batch_id)),
            KeyValue::new("alluvium.rows", number(epoch.num_input_rows)),
            KeyValue::new("alluvium.replayed", epoch.replayed),
        ];
        about.extend(epoch.sources.iter().map(|source| {
            KeyValue::new(format!("alluvium.source.{}.objects", source.description), number(source.num_input_objects))
        }));
        let root = SpanBuilder::from_name("epoch").with_start_time(begun).with_attributes(about);
        let parent = Context::new().with_span(root.start_with_context(&self.tracer, &Context::new()));
        self.part(&parent, "bind", (begun, bound), Vec::new());
        let flows = epoch.stages.iter().flat_map(|stage| {
            let of = |what, n| KeyValue::new(format!("alluvium.stage.{}.{what}", stage.name), number(n));
            [of("rows", stage.rows), of("rejects", stage.rejects)]
        });
        self.part(&parent, "process", (bound, committing), flows.collect());
        let commits = self.part(&parent, "commit", (committing, finished), Vec::new());
        for table in &epoch.sinks {
            let about = vec![
                KeyValue::new("alluvium.stage", table.description.clone()),
                KeyValue::new("alluvium.version", number(table.version)),
                KeyValue::new("alluvium.rows", number(table.num_output_rows)),
                KeyValue::new("alluvium.files", number(table.num_files)),
                KeyValue::new("alluvium.conflicts", number(table.conflicts)),
            ];
            let name = format!("commit {}", table.description);
            self.part(&commits, &name, (committing, committing + millis(table.commit_ms)), about);
        }
        parent.span().end_with_timestamp(finished);
    }

    fn part(&self, parent: &Context, name: &str, time: (SystemTime, SystemTime), about: Vec<KeyValue>) -> Context {
        let part = SpanBuilder::from_name(name.to_owned()).with_start_time(time.0).with_attributes(about);
        let mut part = part.start_with_context(&self.tracer, parent);
        let context = parent.with_remote_span_context(part.span_context().clone());
        part.end_with_timestamp(time.1);
        context
    }

    /// The run as a span of its own, with why it has failed.
    pub(crate) fn end(&self, status: &Status) {
        let about = vec![
            KeyValue::new("alluvium.pipeline", status.pipeline.clone()),
            KeyValue::new("alluvium.run_id", status.run_id.clone()),
            KeyValue::new("alluvium.plan", status.plan.clone()),
            KeyValue::new("alluvium.epochs", number(status.epochs.completed_by_run)),
            KeyValue::new("alluvium.rows", number(status.rows)),
        ];
        let run = SpanBuilder::from_name("run").with_start_time(status.started).with_attributes(about);
        let mut run = run.start_with_context(&self.tracer, &Context::new());
        if let Some(fault) = &status.fault {
            run.set_attribute(KeyValue::new("alluvium.stage", fault.stage.clone()));
            if let Some(epoch) = fault.epoch {
                run.set_attribute(KeyValue::new("alluvium.epoch", number(epoch)));
            }
            run.set_status(Outcome::error(fault.message.clone()));
        }
        run.end();
    }
}

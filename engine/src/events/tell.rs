//! What there is to say of a run, an epoch, a table.

use std::collections::BTreeSet;

use chrono::Utc;
use serde_json::{Value, json};

use super::{Event, EventKind};
use crate::plan::Plan;
use crate::progress::{EpochProgress, FaultStatus, StageFlow, TableCommit, grouped};
use crate::runtime::RunOptions;

/// An event without a place.
fn plain(kind: EventKind, message: String) -> Event {
    let at = Utc::now();
    Event { at, kind, stage: None, epoch: None, version: None, rows: None, message, details: None }
}

fn count(n: u64, one: &str, ending: &str) -> String {
    format!("{} {one}{}", grouped(n), if n == 1 { "" } else { ending })
}

impl Event {
    /// A run goes to work.
    pub(super) fn start(plan: &Plan, options: &RunOptions) -> Self {
        let processes = options.cluster.as_ref().map_or(1, |c| c.hosts.count());
        let version = env!("CARGO_PKG_VERSION");
        let details = json!({
            "version": version,
            "plan": plan.hash,
            "workers": options.workers,
            "processes": processes,
            "intervalSeconds": options.watch.map(|i| i.as_secs_f64()),
        });
        let message = format!(
            "alluvium {version} begins with {} in {}",
            count(options.workers as u64, "worker", "s"),
            count(processes as u64, "process", "es"),
        );
        Self { details: Some(details.to_string()), ..plain(EventKind::Start, message) }
    }

    /// A stage has found out something that the plan is made with, such as columns.
    pub(crate) fn schema(stage: &str, message: String, resolved: Option<&Value>) -> Self {
        let details = resolved.map(Value::to_string);
        Self { stage: Some(stage.to_owned()), details, ..plain(EventKind::Schema, message) }
    }

    /// Something was done for a table between epochs.
    pub(crate) fn upkeep(stage: &str, done: String) -> Self {
        Self { stage: Some(stage.to_owned()), ..plain(EventKind::Upkeep, done) }
    }

    /// What these stages had computed is cleared.
    pub(crate) fn refresh(stages: &BTreeSet<String>, full: bool) -> Self {
        let stages: Vec<String> = stages.iter().map(|s| format!("`{s}`")).collect();
        let sources = if full { ", with everything that is known of sources" } else { "" };
        plain(EventKind::Refresh, format!("cleared to be computed again: {}{sources}", stages.join(", ")))
    }

    /// A run has failed.
    pub(crate) fn fault(fault: FaultStatus) -> Self {
        let FaultStatus { stage, epoch, message, at } = fault;
        Self { at, stage: Some(stage), epoch, ..plain(EventKind::Fault, message) }
    }

    /// A run has ended in order.
    pub(crate) fn stop(drained: bool) -> Self {
        let message = if drained { "asked to stop; the open epochs are complete" } else { "everything is processed" };
        plain(EventKind::Stop, message.to_owned())
    }

    /// An epoch, what it made of tables, and what was rejected.
    pub(super) fn of_epoch(epoch: &EpochProgress) -> Vec<Self> {
        let of = |kind, message| Self { at: epoch.finished, epoch: Some(epoch.batch_id), ..plain(kind, message) };
        let commit = |table: &TableCommit| Self {
            stage: Some(table.description.clone()),
            version: Some(table.version),
            rows: Some(table.num_output_rows),
            details: serde_json::to_string(table).ok(),
            ..of(
                EventKind::Commit,
                format!(
                    "version {}: {} in {}",
                    table.version,
                    count(table.num_output_rows, "row", "s"),
                    count(table.num_files, "file", "s")
                ),
            )
        };
        let rejects = |flow: &StageFlow| Self {
            stage: Some(flow.name.clone()),
            rows: Some(flow.rejects),
            ..of(
                EventKind::Rejects,
                format!("{} rejected, {} passed", count(flow.rejects, "row", "s"), grouped(flow.rows)),
            )
        };
        let complete = Self {
            rows: Some(epoch.num_input_rows),
            details: serde_json::to_string(epoch).ok(),
            ..of(
                EventKind::Epoch,
                format!("complete: {} in {:.2} s", count(epoch.num_input_rows, "row", "s"), epoch.batch_duration / 1e3),
            )
        };
        let rejected = epoch.stages.iter().filter(|s| s.rejects > 0).map(rejects);
        rejected.chain(epoch.sinks.iter().map(commit)).chain([complete]).collect()
    }
}

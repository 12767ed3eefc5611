//! The status as metrics. In a cluster each process tells of its own workers, and process 0 of what there is once, so
//! that sums over processes are right.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::progress::{FaultStatus, RunState, StageCondition, StageStatus, Status};

/// Name, type, unit and meaning of everything that the engine publishes.
pub const NAMES: &[(&str, &str, Unit, &str)] = &[
    (
        "alluvium_up",
        "gauge",
        Unit::Count,
        "1 while the run goes on, by state: starting, running, paused, draining, ended, failed",
    ),
    ("alluvium_build_info", "gauge", Unit::Count, "always 1; the version and the plan are labels"),
    ("alluvium_start_time_seconds", "gauge", Unit::Seconds, "when the run began, since 1970"),
    ("alluvium_epoch_completed", "gauge", Unit::Count, "newest epoch that every table holds"),
    ("alluvium_epoch_opened", "gauge", Unit::Count, "newest epoch that is bound"),
    ("alluvium_epochs_total", "counter", Unit::Count, "epochs completed by this run"),
    ("alluvium_lag_seconds", "gauge", Unit::Seconds, "age of the oldest epoch that is bound and not complete"),
    ("alluvium_backlog_objects", "gauge", Unit::Count, "objects that no complete epoch has, by source"),
    ("alluvium_backlog_bytes", "gauge", Unit::Bytes, "their bytes"),
    ("alluvium_backlog_oldest_seconds", "gauge", Unit::Seconds, "age of the oldest of them"),
    (
        "alluvium_stage_frontier",
        "gauge",
        Unit::Count,
        "oldest epoch that the stage may still have rows of; one more than the newest when it is finished",
    ),
    ("alluvium_stage_lag_epochs", "gauge", Unit::Count, "bound epochs that the stage is not through with"),
    ("alluvium_stage_lag_seconds", "gauge", Unit::Seconds, "age of the oldest of them"),
    ("alluvium_stage_lag_rows", "gauge", Unit::Count, "rows that sources have given of them"),
    ("alluvium_stage_stalled", "gauge", Unit::Count, "1 while the stage waits for something that takes long"),
    ("alluvium_stage_rows_in_total", "counter", Unit::Count, "rows taken"),
    ("alluvium_stage_rows_total", "counter", Unit::Count, "rows given; a sink: taken"),
    ("alluvium_stage_bytes_total", "counter", Unit::Bytes, "their bytes in memory"),
    ("alluvium_stage_rejects_total", "counter", Unit::Count, "rows rejected"),
    (
        "alluvium_stage_busy_seconds",
        "gauge",
        Unit::Seconds,
        "time at work, of workers and the stage's own threads and tasks",
    ),
    ("alluvium_stage_queue_rows", "gauge", Unit::Count, "rows that wait for the stage"),
    ("alluvium_stage_queue_bytes", "gauge", Unit::Bytes, "bytes that wait for its own threads and tasks"),
    ("alluvium_state_rows", "gauge", Unit::Count, "rows of state on storage, by stage"),
    ("alluvium_state_bytes", "gauge", Unit::Bytes, "their bytes"),
    ("alluvium_table_version", "gauge", Unit::Count, "newest version that the run has written"),
    ("alluvium_table_epoch", "gauge", Unit::Count, "newest epoch that the table holds"),
    ("alluvium_table_rows_total", "counter", Unit::Count, "rows written by this run"),
    ("alluvium_table_files_total", "counter", Unit::Count, "files written by this run"),
    ("alluvium_table_bytes_total", "counter", Unit::Bytes, "their bytes"),
    ("alluvium_table_commit_seconds", "gauge", Unit::Seconds, "how long the newest commit took"),
    ("alluvium_table_conflicts_total", "counter", Unit::Count, "tries to commit that another writer got in the way of"),
    ("alluvium_warnings", "gauge", Unit::Count, "warnings of the last ten minutes"),
    (
        "alluvium_last_fault",
        "gauge",
        Unit::Count,
        "1 if the run, or the one before it, has failed; stage, epoch and cause are labels",
    ),
];

pub(super) fn describe() {
    for (name, kind, unit, text) in NAMES {
        if *kind == "counter" {
            describe_counter!(*name, *unit, *text);
        } else {
            describe_gauge!(*name, *unit, *text);
        }
    }
}

pub(super) fn is_ours(name: &str) -> bool {
    NAMES.iter().any(|(ours, ..)| *ours == name)
}

/// Sets all metrics to what the status says. `status` has the numbers of this process's workers only.
pub(crate) fn publish(status: &Status, before: Option<&FaultStatus>, leads: bool) {
    let pipeline = || ("pipeline", status.pipeline.clone());
    for state in
        [RunState::Starting, RunState::Running, RunState::Paused, RunState::Draining, RunState::Ended, RunState::Failed]
    {
        let name = serde_json::to_value(state).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        gauge!("alluvium_up", &[pipeline(), ("state", name)]).set(f64::from(u8::from(state == status.state)));
    }
    gauge!("alluvium_build_info", &[pipeline(), ("version", status.version.clone()), ("plan", status.plan.clone())])
        .set(1.0);
    gauge!("alluvium_start_time_seconds", &[pipeline()]).set(status.started.timestamp_millis() as f64 / 1e3);
    gauge!("alluvium_warnings", &[pipeline()]).set(status.warnings.len() as f64);
    if let Some(fault) = status.fault.as_ref().or(before) {
        let epoch = fault.epoch.map(|e| e.to_string()).unwrap_or_default();
        let labels = [pipeline(), ("stage", fault.stage.clone()), ("epoch", epoch), ("cause", fault.message.clone())];
        gauge!("alluvium_last_fault", &labels).set(1.0);
    }
    for of in &status.stages {
        stage(of, pipeline());
    }
    if leads {
        lead(status);
    }
}

fn stage(stage: &StageStatus, pipeline: (&'static str, String)) {
    let labels = [pipeline, ("stage", stage.name.clone()), ("kind", stage.kind.clone())];
    counter!("alluvium_stage_rows_in_total", &labels).absolute(stage.rows_in);
    counter!("alluvium_stage_rows_total", &labels).absolute(stage.rows);
    counter!("alluvium_stage_bytes_total", &labels).absolute(stage.bytes);
    counter!("alluvium_stage_rejects_total", &labels).absolute(stage.rejects);
    let busy: f64 = stage.workers.iter().map(|w| w.busy_seconds).sum();
    gauge!("alluvium_stage_busy_seconds", &labels).set(busy);
    gauge!("alluvium_stage_queue_rows", &labels).set(stage.queue_rows as f64);
    gauge!("alluvium_stage_queue_bytes", &labels).set(stage.queue_bytes as f64);
    gauge!("alluvium_stage_stalled", &labels).set(f64::from(u8::from(stage.condition == StageCondition::Stalled)));
}

fn lead(status: &Status) {
    let pipeline = || ("pipeline", status.pipeline.clone());
    gauge!("alluvium_epoch_completed", &[pipeline()]).set(status.epochs.completed as f64);
    gauge!("alluvium_epoch_opened", &[pipeline()]).set(status.epochs.opened as f64);
    counter!("alluvium_epochs_total", &[pipeline()]).absolute(status.epochs.completed_by_run);
    gauge!("alluvium_lag_seconds", &[pipeline()]).set(status.epochs.lag_seconds);
    for stage in &status.stages {
        let labels = [pipeline(), ("stage", stage.name.clone()), ("kind", stage.kind.clone())];
        let frontier = stage.frontier.unwrap_or(status.epochs.opened + 1);
        gauge!("alluvium_stage_frontier", &labels).set(frontier as f64);
        gauge!("alluvium_stage_lag_epochs", &labels).set(stage.lag.epochs as f64);
        gauge!("alluvium_stage_lag_seconds", &labels).set(stage.lag.seconds);
        gauge!("alluvium_stage_lag_rows", &labels).set(stage.lag.rows as f64);
        if let Some(keeps) = &stage.keeps {
            gauge!("alluvium_state_rows", &labels).set(keeps.rows as f64);
            gauge!("alluvium_state_bytes", &labels).set(keeps.bytes as f64);
        }
        if let Some(backlog) = &stage.backlog {
            gauge!("alluvium_backlog_objects", &labels).set(backlog.objects as f64);
            gauge!("alluvium_backlog_bytes", &labels).set(backlog.bytes as f64);
            gauge!("alluvium_backlog_oldest_seconds", &labels).set(backlog.oldest_seconds.unwrap_or(0.0));
        }
    }
    for table in &status.tables {
        let labels = [pipeline(), ("stage", table.stage.clone())];
        gauge!("alluvium_table_version", &labels).set(table.version.map_or(f64::NAN, |v| v as f64));
        gauge!("alluvium_table_epoch", &labels).set(table.epoch as f64);
        counter!("alluvium_table_rows_total", &labels).absolute(table.rows);
        counter!("alluvium_table_files_total", &labels).absolute(table.files);
        counter!("alluvium_table_bytes_total", &labels).absolute(table.bytes);
        gauge!("alluvium_table_commit_seconds", &labels).set(table.commit_ms / 1e3);
        counter!("alluvium_table_conflicts_total", &labels).absolute(table.conflicts);
    }
}

//! A run in one document: what `--progress`, `top`, `status`, the page and the API show, and nothing else does.

mod build;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::StateSize;
use crate::Epoch;

/// A run at a moment, over all workers and processes of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The pipeline's name.
    pub pipeline: String,
    /// What it is for.
    pub description: Option<String>,
    /// URL of its state.
    pub state_url: String,
    /// Identifies the run.
    pub run_id: String,
    /// Identifies the plan.
    pub plan: String,
    /// Of Alluvium.
    pub version: String,
    /// What the run does.
    pub state: RunState,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When this was true.
    pub now: DateTime<Utc>,
    /// Seconds between two looks for new objects; `None` if the run ends when everything is processed.
    pub interval_seconds: Option<f64>,
    /// Processes that are heard of, with this one.
    pub processes: usize,
    /// Worker threads of all processes.
    pub workers: usize,
    /// Rows that have come in from sources.
    pub rows: u64,
    /// The same per second, over the last seconds.
    pub rows_per_second: f64,
    /// Rows that stages have rejected.
    pub rejects: u64,
    /// Epochs.
    pub epochs: EpochsStatus,
    /// Sources were listed at least once, so that the backlog is known.
    pub listed: bool,
    /// What no complete epoch has, of all sources.
    pub backlog: BacklogStatus,
    /// In the order of the plan.
    pub stages: Vec<StageStatus>,
    /// In the order of the plan.
    pub tables: Vec<TableStatus>,
    /// What someone should look at, the newest last.
    pub warnings: Vec<Warning>,
    /// Why the run has failed.
    pub fault: Option<FaultStatus>,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// It opens state and tables.
    Starting,
    /// It processes what is there.
    Running,
    /// It opens no new epochs until it is told to go on.
    Paused,
    /// It finishes the open epochs, then ends.
    Draining,
    /// It has ended in order.
    Ended,
    /// It has failed.
    Failed,
}

/// Epochs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochsStatus {
    /// The newest complete one, 0 if none.
    pub completed: Epoch,
    /// How many this run has completed.
    pub completed_by_run: u64,
    /// The newest one that is bound.
    pub opened: Epoch,
    /// How many are bound and not complete.
    pub open: u64,
    /// Age of the oldest open one: how far tables are behind what was found. 0 if none is open.
    pub lag_seconds: f64,
}

/// Objects that no complete epoch has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BacklogStatus {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since the oldest was written, as far as that is known.
    pub oldest_seconds: Option<f64>,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// `source`, `transform`, `sink` or `operator`.
    pub role: String,
    /// What it is for.
    pub description: Option<String>,
    /// Where its rows come from.
    pub inputs: Vec<EdgeStatus>,
    /// How it goes.
    pub condition: StageCondition,
    /// Why, if it stands still.
    pub cause: Option<String>,
    /// The oldest epoch that it may still have rows of; a sink: that is not staged. `None` when it is finished.
    pub frontier: Option<Epoch>,
    /// Rows taken.
    pub rows_in: u64,
    /// Rows given; a sink: taken.
    pub rows: u64,
    /// Their bytes in memory.
    pub bytes: u64,
    /// Rows rejected.
    pub rejects: u64,
    /// Rows given per second, over the last seconds.
    pub rows_per_second: f64,
    /// Bytes given per second.
    pub bytes_per_second: f64,
    /// Of all workers' time the part that it takes; more than 1 if its own threads are more than the workers.
    pub busy: f64,
    /// Rows that wait for it.
    pub queue_rows: u64,
    /// Bytes that wait for its own threads and tasks.
    pub queue_bytes: u64,
    /// How far it is behind the sources.
    pub lag: Lag,
    /// State that it keeps, as of the newest complete epoch.
    pub keeps: Option<StateSize>,
    /// Of a source: what no complete epoch has.
    pub backlog: Option<BacklogStatus>,
    /// What the stage measures itself, such as a model's tokens; over all processes.
    pub metrics: Vec<Metric>,
    /// By worker.
    pub workers: Vec<WorkerStatus>,
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeStatus {
    /// The stage.
    pub from: String,
    /// They are the rows that it rejects.
    pub rejects: bool,
    /// They are exchanged between workers, by key.
    pub exchange: bool,
}

/// How a stage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StageCondition {
    /// Nothing is outstanding.
    Idle,
    /// Epochs are open, and it goes on.
    Running,
    /// It waits for something that takes long: see `cause`.
    Stalled,
    /// It will have no more rows.
    Finished,
    /// It has stopped the run.
    Failed,
}

/// How far a stage is behind the sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Epochs that are bound and that it is not through with.
    pub epochs: u64,
    /// Age of the oldest of them.
    pub seconds: f64,
    /// Rows that sources have given of them.
    pub rows: u64,
}

/// A stage on a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// The worker, counted over the cluster.
    pub worker: usize,
    /// Its process.
    pub process: usize,
    /// What it knows of the stage's frontier.
    pub frontier: Option<Epoch>,
    /// Rows taken.
    pub rows_in: u64,
    /// Rows given.
    pub rows: u64,
    /// Seconds at work.
    pub busy_seconds: f64,
}

/// Something that a stage measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// As in `/metrics`, without labels.
    pub name: String,
    /// A total, a level, or the mean of what was measured.
    pub value: f64,
    /// Of a total: per second, over the last seconds.
    pub per_second: Option<f64>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableStatus {
    /// The stage that writes it.
    pub stage: String,
    /// Where it is.
    pub url: String,
    /// Its newest version that this run has written; `None` before the first.
    pub version: Option<u64>,
    /// The newest epoch that it holds.
    pub epoch: Epoch,
    /// Rows, files and bytes written by this run.
    pub rows: u64,
    /// See above.
    pub files: u64,
    /// See above.
    pub bytes: u64,
    /// How long the newest commit took.
    pub commit_ms: f64,
    /// Tries to commit that another writer got in the way of.
    pub conflicts: u64,
}

/// What someone should look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// The stage, if it is about one.
    pub stage: Option<String>,
    /// The epoch, if it is about one.
    pub epoch: Option<Epoch>,
    /// What happens.
    pub message: String,
    /// When it was noticed.
    pub at: DateTime<Utc>,
}

/// Why a run has failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultStatus {
    /// The stage.
    pub stage: String,
    /// The epoch, if one could not be finished.
    pub epoch: Option<Epoch>,
    /// What has happened, with its cause and what to do.
    pub message: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a document is made of besides progress.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    /// Nothing: it follows from the progress.
    pub(crate) state: Option<RunState>,
    pub(crate) interval_seconds: Option<f64>,
    pub(crate) fault: Option<FaultStatus>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) metrics: BTreeMap<String, Vec<Metric>>,
    /// Only this process's workers count.
    pub(crate) local: bool,
}

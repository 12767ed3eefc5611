//! What an epoch has done and how long its parts took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::counters::Flow;
use crate::Epoch;
use crate::checkpoint::{Completion, SourceCount};
use crate::stage::Committed;

/// Complete epochs that are remembered.
pub(super) const REMEMBERED: usize = 100;

/// When the parts of an epoch that is open were done.
#[derive(Debug, Clone)]
pub(crate) struct Timing {
    ingest_time: DateTime<Utc>,
    /// The binding is durable.
    opened: Instant,
    /// How long that took.
    binding: Duration,
    /// An earlier run had bound it.
    replayed: bool,
    /// Everything is staged.
    staged: Option<Instant>,
    /// How long each table's commit took.
    commits: BTreeMap<String, Duration>,
}

impl Timing {
    pub(crate) fn new(ingest_time: DateTime<Utc>, binding: Option<Duration>) -> Self {
        Self {
            ingest_time,
            opened: Instant::now(),
            binding: binding.unwrap_or_default(),
            replayed: binding.is_none(),
            staged: None,
            commits: BTreeMap::new(),
        }
    }

    pub(crate) fn staged(&mut self) {
        self.staged = Some(Instant::now());
    }

    pub(crate) fn committed(&mut self, table: &str, took: Duration) {
        self.commits.insert(table.to_owned(), took);
    }

    pub(crate) fn opened_at(&self) -> Instant {
        self.opened
    }
}

/// A complete epoch, as the process that leads knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EpochRecord {
    pub(crate) epoch: Epoch,
    ingest_time: DateTime<Utc>,
    finished: DateTime<Utc>,
    replayed: bool,
    /// Seconds since the epoch before was opened; `None` for the first one of a run.
    since_last: Option<f64>,
    durations: Durations,
    sources: BTreeMap<String, SourceCount>,
    tables: BTreeMap<String, TableCommit>,
    state: BTreeMap<String, StateSize>,
}

/// Milliseconds that the parts of an epoch took, by the names that Spark has for them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durations {
    /// Making the binding durable.
    pub wal_commit: f64,
    /// From then until everything was staged in every sink.
    pub add_batch: f64,
    /// From then until every table was committed and the completion was recorded.
    pub commit_offsets: f64,
    /// Everything.
    pub trigger_execution: f64,
}

/// What an epoch has made of a table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableCommit {
    /// The stage that writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The version that holds the epoch.
    pub version: u64,
    /// Rows written.
    pub num_output_rows: u64,
    /// Files written, and their bytes.
    pub num_files: u64,
    /// See above.
    pub num_bytes: u64,
    /// Tries that another writer got in the way of.
    pub conflicts: u64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// How much state an operator keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSize {
    /// Files that a restart reads.
    pub files: u64,
    /// Their rows: one for each key, and those changes that are not merged yet.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An epoch in the words of Spark's `StreamingQueryProgress`, and with frontiers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochProgress {
    /// Identifies the pipeline over all of its runs: where its state is.
    pub id: String,
    /// Identifies the run.
    pub run_id: String,
    /// The pipeline.
    pub name: String,
    /// When the epoch was bound, first of all: its processing time.
    pub timestamp: DateTime<Utc>,
    /// When it was complete.
    pub finished: DateTime<Utc>,
    /// The epoch.
    pub batch_id: Epoch,
    /// Milliseconds from its binding in this run until it was complete.
    pub batch_duration: f64,
    /// An earlier run had bound it and did not complete it.
    pub replayed: bool,
    /// Rows that came in.
    pub num_input_rows: u64,
    /// Rows per second since the epoch before was bound; `None` for the first one of a run.
    pub input_rows_per_second: Option<f64>,
    /// Rows per second of its duration.
    pub processed_rows_per_second: f64,
    /// How long its parts took.
    pub duration_ms: Durations,
    /// What was read, by source.
    pub sources: Vec<SourceProgress>,
    /// What left each stage.
    pub stages: Vec<StageFlow>,
    /// State after the epoch, by operator.
    pub state_operators: Vec<StateProgress>,
    /// What was committed, by table.
    pub sinks: Vec<TableCommit>,
    /// By stage: the oldest epoch that it may still have rows of when this was told; `null` when it is finished.
    pub frontiers: BTreeMap<String, Option<Epoch>>,
}

/// What an epoch has read of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceProgress {
    /// The stage.
    pub description: String,
    /// Objects read.
    pub num_input_objects: u64,
    /// Their bytes.
    pub num_input_bytes: u64,
    /// Their rows.
    pub num_input_rows: u64,
    /// Rows per second of the epoch's duration.
    pub processed_rows_per_second: f64,
}

/// What left a stage in an epoch; a sink: what came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageFlow {
    /// The stage.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// Rows that it rejected.
    pub rejects: u64,
}

/// State of an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateProgress {
    /// The stage.
    pub operator_name: String,
    /// Rows, as they are stored.
    pub num_rows_total: u64,
    /// Bytes, as they are stored.
    pub bytes_total: u64,
}

/// What an epoch's story needs besides its record.
pub(super) struct Frame<'a> {
    pub(super) id: &'a str,
    pub(super) run_id: &'a str,
    pub(super) name: &'a str,
    /// The names of the stages, and the flow of each.
    pub(super) stages: Vec<(&'a str, Flow)>,
    pub(super) frontiers: BTreeMap<String, Option<Epoch>>,
}

impl EpochRecord {
    pub(super) fn new(completion: &Completion, timing: &Timing, last_opened: Option<Instant>) -> Self {
        let end = Instant::now();
        let staged = timing.staged.unwrap_or(end);
        let table = |(name, committed): (&String, &Committed)| {
            let took = timing.commits.get(name).copied().unwrap_or_default();
            let commit = TableCommit {
                description: String::new(),
                version: committed.version,
                num_output_rows: committed.rows,
                num_files: committed.files,
                num_bytes: committed.bytes,
                conflicts: committed.conflicts,
                commit_ms: ms(took),
            };
            (name.clone(), commit)
        };
        Self {
            epoch: completion.epoch,
            ingest_time: timing.ingest_time,
            finished: completion.finished,
            replayed: timing.replayed,
            since_last: last_opened.map(|last| timing.opened.saturating_duration_since(last).as_secs_f64()),
            durations: Durations {
                wal_commit: ms(timing.binding),
                add_batch: ms(staged.saturating_duration_since(timing.opened)),
                commit_offsets: ms(end.saturating_duration_since(staged)),
                trigger_execution: ms(timing.binding + end.saturating_duration_since(timing.opened)),
            },
            sources: completion.sources.clone(),
            tables: completion.tables.iter().map(table).collect(),
            state: completion.state.iter().map(|(stage, manifest)| (stage.clone(), manifest.size())).collect(),
        }
    }

    /// State after the epoch, by operator.
    pub(super) fn state(&self) -> &BTreeMap<String, StateSize> {
        &self.state
    }

    /// What was committed, by table.
    pub(super) fn tables(&self) -> &BTreeMap<String, TableCommit> {
        &self.tables
    }

    pub(super) fn tell(&self, frame: Frame<'_>) -> EpochProgress {
        let rows: u64 = self.sources.values().map(|s| s.rows).sum();
        let seconds = self.durations.trigger_execution / 1e3;
        let source = |(name, count): (&String, &SourceCount)| SourceProgress {
            description: name.clone(),
            num_input_objects: count.splits,
            num_input_bytes: count.bytes,
            num_input_rows: count.rows,
            processed_rows_per_second: rate(count.rows, seconds),
        };
        let flow = |(name, flow): (&str, Flow)| StageFlow {
            name: name.to_owned(),
            rows: flow.rows,
            bytes: flow.bytes,
            rejects: flow.rejects,
        };
        EpochProgress {
            id: frame.id.to_owned(),
            run_id: frame.run_id.to_owned(),
            name: frame.name.to_owned(),
            timestamp: self.ingest_time,
            finished: self.finished,
            batch_id: self.epoch,
            batch_duration: self.durations.trigger_execution,
            replayed: self.replayed,
            num_input_rows: rows,
            input_rows_per_second: self.since_last.map(|seconds| rate(rows, seconds)),
            processed_rows_per_second: rate(rows, seconds),
            duration_ms: self.durations.clone(),
            sources: self.sources.iter().map(source).collect(),
            stages: frame.stages.into_iter().map(flow).collect(),
            state_operators: self
                .state
                .iter()
                .map(|(name, size)| StateProgress {
                    operator_name: name.clone(),
                    num_rows_total: size.rows,
                    bytes_total: size.bytes,
                })
                .collect(),
            sinks: self
                .tables
                .iter()
                .map(|(name, commit)| TableCommit { description: name.clone(), ..commit.clone() })
                .collect(),
            frontiers: frame.frontiers,
        }
    }
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

fn rate(rows: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { (rows as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
}

//! How far a run is, from Timely's own probes and logging.

mod observe;
mod terminal;

pub(crate) use observe::observe;
pub(crate) use terminal::{Terminal, grouped, summary};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::Epoch;
use crate::checkpoint::Completion;
use crate::plan::Plan;
use crate::stage::Split;

/// What is known of a run while it goes on. Written by workers and the coordinator, read by whoever shows it.
pub struct Progress {
    /// By stage of the plan.
    pub stages: Vec<StageProgress>,
    /// When the run began.
    pub started: Instant,
    /// The newest epoch that is complete, 0 if none.
    completed: AtomicU64,
    /// Epochs completed by this run.
    epochs: AtomicU64,
    tables: Mutex<BTreeMap<String, TableProgress>>,
    backlog: Mutex<Outstanding>,
    /// An epoch has become complete.
    completion: Notify,
    /// What complete epochs have read.
    read_bytes: AtomicU64,
    read_rows: AtomicU64,
    /// What the other processes of a cluster say, by process.
    others: Mutex<BTreeMap<usize, Snapshot>>,
}

/// How far one process of a cluster is, as it tells the others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// By stage: rows in, rows out, rejects.
    stages: Vec<[u64; 3]>,
    completed: Epoch,
    epochs: u64,
    tables: BTreeMap<String, TableProgress>,
    backlog: Backlog,
}

/// Splits that no complete epoch has.
#[derive(Debug, Default)]
struct Outstanding {
    /// Found, by source, and not bound.
    waiting: BTreeMap<String, Backlog>,
    /// Bound, by epoch.
    bound: BTreeMap<Epoch, Backlog>,
}

/// What is still to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Splits (objects).
    pub splits: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the oldest of them was written.
    pub oldest: Option<DateTime<Utc>>,
}

impl Backlog {
    /// One split more.
    pub(crate) fn add(&mut self, split: &Split) {
        self.merge(Self { splits: 1, bytes: split.bytes, oldest: split.modified });
    }

    fn merge(&mut self, other: Self) {
        self.splits += other.splits;
        self.bytes += other.bytes;
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
    }
}

/// What is known of a stage.
pub struct StageProgress {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// It passes on what comes in; what came in is what counts.
    sink: bool,
    /// It may reject rows; other stages use that port for something else.
    rejecting: bool,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    rejects: AtomicU64,
    /// Rows in, rows out and rejects in the other processes of the cluster.
    elsewhere: [AtomicU64; 3],
    frontier: AtomicU64,
}

/// What a run has done to a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// The newest version.
    pub version: u64,
    /// Rows written by this run.
    pub rows: u64,
}

impl Progress {
    /// Nothing done.
    pub fn new(plan: &Plan) -> Self {
        let stages = plan.stages.iter().map(|s| StageProgress {
            name: s.name.clone(),
            kind: s.kind.clone(),
            sink: s.role == crate::stage::Role::Sink,
            rejecting: s.outputs.rejects,
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            rejects: AtomicU64::new(0),
            elsewhere: Default::default(),
            frontier: AtomicU64::new(0),
        });
        Self {
            stages: stages.collect(),
            started: Instant::now(),
            completed: AtomicU64::new(0),
            epochs: AtomicU64::new(0),
            tables: Mutex::default(),
            backlog: Mutex::default(),
            completion: Notify::new(),
            read_bytes: AtomicU64::new(0),
            read_rows: AtomicU64::new(0),
            others: Mutex::default(),
        }
    }

    /// What this process tells the others.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let stages =
            self.stages.iter().map(|s| [&s.rows_in, &s.rows_out, &s.rejects].map(|n| n.load(Ordering::Relaxed)));
        Snapshot {
            stages: stages.collect(),
            completed: self.completed(),
            epochs: self.epochs(),
            tables: self.tables(),
            backlog: self.backlog(),
        }
    }

    /// What another process tells. Epochs, tables and backlog are the leader's, process 0's, to know.
    pub(crate) fn set_other(&self, process: usize, snapshot: Snapshot) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if process == 0 {
            self.completed.store(snapshot.completed, Ordering::Relaxed);
            self.epochs.store(snapshot.epochs, Ordering::Relaxed);
            self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&snapshot.tables);
        }
        others.insert(process, snapshot);
        for (stage, mine) in self.stages.iter().enumerate() {
            for (which, total) in mine.elsewhere.iter().enumerate() {
                let of = |s: &Snapshot| s.stages.get(stage).and_then(|n| n.get(which)).copied().unwrap_or(0);
                total.store(others.values().map(of).sum(), Ordering::Relaxed);
            }
        }
    }

    /// What is found and not yet in a complete epoch.
    pub fn backlog(&self) -> Backlog {
        if let Some(leader) = self.others.lock().unwrap_or_else(PoisonError::into_inner).get(&0) {
            return leader.backlog;
        }
        let outstanding = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Backlog::default();
        outstanding.waiting.values().chain(outstanding.bound.values()).for_each(|b| all.merge(*b));
        all
    }

    /// What is found and not bound of a source.
    pub(crate) fn set_waiting(&self, source: &str, backlog: Backlog) {
        let mut outstanding = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        outstanding.waiting.insert(source.to_owned(), backlog);
    }

    /// An epoch consists of these splits.
    pub(crate) fn bound<'a>(&self, epoch: Epoch, splits: impl Iterator<Item = &'a Split>) {
        let mut backlog = Backlog::default();
        splits.for_each(|split| backlog.add(split));
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).bound.insert(epoch, backlog);
    }

    /// Waits until no epoch is open. There may be one waiter.
    pub(crate) async fn all_complete(&self) {
        while !self.backlog.lock().unwrap_or_else(PoisonError::into_inner).bound.is_empty() {
            self.completion.notified().await;
        }
    }

    /// What earlier epochs have read.
    pub(crate) fn read_before(&self, completion: &Completion) {
        for count in completion.sources.values() {
            self.read_bytes.fetch_add(count.bytes, Ordering::Relaxed);
            self.read_rows.fetch_add(count.rows, Ordering::Relaxed);
        }
    }

    /// Bytes of a row, on average, as they lie in the sources; `None` when nothing is known yet.
    pub(crate) fn bytes_per_row(&self) -> Option<f64> {
        let rows = self.read_rows.load(Ordering::Relaxed);
        (rows > 0).then(|| self.read_bytes.load(Ordering::Relaxed) as f64 / rows as f64)
    }

    /// The newest complete epoch, 0 if none.
    pub fn completed(&self) -> Epoch {
        self.completed.load(Ordering::Relaxed)
    }

    /// Epochs completed by this run.
    pub fn epochs(&self) -> u64 {
        self.epochs.load(Ordering::Relaxed)
    }

    /// What the run has done to each table so far.
    pub fn tables(&self) -> BTreeMap<String, TableProgress> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn complete(&self, completion: &Completion) {
        self.completed.store(completion.epoch, Ordering::Relaxed);
        self.epochs.fetch_add(1, Ordering::Relaxed);
        self.read_before(completion);
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).bound.remove(&completion.epoch);
        self.completion.notify_one();
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (stage, committed) in &completion.tables {
            let table = tables.entry(stage.clone()).or_default();
            table.version = committed.version;
            table.rows += committed.rows;
        }
    }

    /// What a stage has no more rows of: everything before this epoch; `None` when it is finished.
    pub(crate) fn set_frontier(&self, stage: usize, frontier: Option<Epoch>) {
        if let Some(stage) = self.stages.get(stage) {
            stage.frontier.store(frontier.unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Rows that have come in from sources.
    pub fn source_rows(&self, plan: &Plan) -> u64 {
        let sources = self.stages.iter().zip(&plan.stages).filter(|(_, s)| s.role == crate::stage::Role::Source);
        sources.map(|(p, _)| p.rows()).sum()
    }
}

impl StageProgress {
    /// Rows that it has given (a sink: taken) so far.
    pub fn rows(&self) -> u64 {
        if self.sink { self.total(&self.rows_in, 0) } else { self.total(&self.rows_out, 1) }
    }

    /// Rows that it has rejected so far.
    pub fn rejects(&self) -> u64 {
        self.total(&self.rejects, 2)
    }

    fn total(&self, here: &AtomicU64, which: usize) -> u64 {
        here.load(Ordering::Relaxed) + self.elsewhere[which].load(Ordering::Relaxed)
    }

    /// The oldest epoch that it may still have rows of; `None` when it is finished.
    pub fn frontier(&self) -> Option<Epoch> {
        Some(self.frontier.load(Ordering::Relaxed)).filter(|&f| f != u64::MAX)
    }
}

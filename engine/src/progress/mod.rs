//! How far a run is, from Timely's own probes and logging.
//!
//! ```text
//!   observe, event   a worker's logs, as they are written
//!   counters         what they add up to, by worker and stage
//!   backlog          what sources have that is not done
//!   epochs           what complete epochs have done, and how long it took
//!   activity         what is being waited for
//!   snapshot         what processes of a cluster tell each other
//!   rates            numbers per second
//!   status           all of it in one document, for whoever shows it
//!   taps             sample rows of an edge
//!   terminal         the status on a terminal
//! ```

mod activity;
mod backlog;
mod counters;
mod epochs;
mod event;
mod lead;
mod observe;
mod rates;
mod snapshot;
mod status;
mod taps;
mod terminal;

pub(crate) use activity::Activities;
pub use backlog::Backlog;
pub(crate) use counters::WorkerProgress;
pub use epochs::{Durations, EpochProgress, SourceProgress, StageFlow, StateProgress, StateSize, TableCommit};
pub(crate) use event::{Passed, logger as passed_logger};
pub(crate) use lead::Lead;
pub(crate) use observe::observe;
pub use rates::Point;
pub(crate) use snapshot::{Snapshot, Told};
pub(crate) use status::Circumstances;
pub use status::{
    BacklogStatus, EdgeStatus, EpochsStatus, FaultStatus, Lag, Metric, RunState, StageCondition, StageStatus, Status,
    TableStatus, Warning, WorkerStatus,
};
pub use taps::Sample;
pub(crate) use taps::Taps;
pub(crate) use terminal::{Terminal, grouped, summary};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::Epoch;
use crate::checkpoint::{Binding, Completion};
use crate::plan::Plan;
use crate::secret;
use counters::{Counts, Flow, Flows, add_flows};
use epochs::{EpochRecord, Frame};
use rates::Rates;

/// What is known of a run while it goes on. Written by workers and the coordinator, read by whoever shows it.
pub struct Progress {
    pub(crate) plan: Arc<Plan>,
    /// Of a cluster.
    process: AtomicUsize,
    /// Identifies the run: the same in all processes of a cluster once they have met.
    run_id: Mutex<String>,
    started: Instant,
    began: DateTime<Utc>,
    /// Of this process, by their number in the cluster.
    workers: Mutex<BTreeMap<usize, Arc<WorkerProgress>>>,
    lead: Mutex<Lead>,
    /// An epoch has become complete.
    completion: Notify,
    /// What complete epochs have read.
    read_bytes: AtomicU64,
    read_rows: AtomicU64,
    /// What the other processes of a cluster say, by process.
    others: Mutex<BTreeMap<usize, Snapshot>>,
    rates: Mutex<Rates>,
    pub(crate) activities: Activities,
    pub(crate) taps: Taps,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    /// Nothing done.
    pub fn new(plan: &Arc<Plan>) -> Self {
        Self {
            plan: plan.clone(),
            process: AtomicUsize::new(0),
            run_id: Mutex::new(uuid::Uuid::new_v4().to_string()),
            started: Instant::now(),
            began: Utc::now(),
            workers: Mutex::default(),
            lead: Mutex::default(),
            completion: Notify::new(),
            read_bytes: AtomicU64::new(0),
            read_rows: AtomicU64::new(0),
            others: Mutex::default(),
            rates: Mutex::default(),
            activities: Activities::new(&plan.pipeline),
            taps: Taps::default(),
        }
    }

    /// Identifies this run.
    pub fn run_id(&self) -> String {
        locked(&self.run_id).clone()
    }

    /// What a worker of this process writes.
    pub(crate) fn worker(&self, worker: usize) -> Arc<WorkerProgress> {
        let stages = self.plan.stages.len();
        locked(&self.workers).entry(worker).or_insert_with(|| Arc::new(WorkerProgress::new(stages))).clone()
    }

    /// The numbers of every worker by stage, with its process: of this process, or of the whole cluster.
    fn counts(&self, local: bool) -> Vec<(usize, usize, Vec<Counts>)> {
        let others = locked(&self.others);
        let here = self.process.load(Ordering::Relaxed);
        let mine = locked(&self.workers);
        let mine = mine.iter().map(|(worker, progress)| (here, *worker, progress.counts()));
        let theirs = others.iter().filter(|_| !local).flat_map(|(process, snapshot)| {
            snapshot.workers.iter().map(|(worker, counts)| (*process, *worker, counts.clone()))
        });
        let mut all: Vec<_> = mine.chain(theirs).collect();
        all.sort_by_key(|(_, worker, _)| *worker);
        all
    }

    /// The numbers of each stage over these workers.
    fn totals(&self, workers: &[(usize, usize, Vec<Counts>)]) -> Vec<Counts> {
        let mut totals = vec![Counts::default(); self.plan.stages.len()];
        let mut first = true;
        for (_, _, counts) in workers {
            for (total, counts) in totals.iter_mut().zip(counts) {
                if first { *total = *counts } else { total.add(counts) }
            }
            first = false;
        }
        totals
    }

    /// What left the stages in the newest epochs, over all workers of the cluster.
    fn flows(&self) -> Flows {
        let mut all = Flows::new();
        for worker in locked(&self.workers).values() {
            add_flows(&mut all, &worker.flows(0));
        }
        for snapshot in locked(&self.others).values() {
            add_flows(&mut all, &snapshot.flows);
        }
        all
    }

    /// What is found and not yet in a complete epoch, by source.
    pub fn backlogs(&self) -> BTreeMap<String, Backlog> {
        locked(&self.lead).backlogs()
    }

    /// The same of all sources.
    pub fn backlog(&self) -> Backlog {
        let mut all = Backlog::default();
        self.backlogs().values().for_each(|b| all.merge(*b));
        all
    }

    /// What is found and not bound of a source.
    pub(crate) fn set_waiting(&self, source: &str, backlog: Backlog) {
        let mut lead = locked(&self.lead);
        lead.outstanding.set_waiting(source, backlog);
        lead.listed = true;
    }

    /// An epoch is bound, and will be opened.
    pub(crate) fn outstanding(&self, epoch: &Binding) {
        locked(&self.lead).outstanding.bound(epoch.epoch, &epoch.splits);
    }

    /// An epoch is open. `binding` tells how long it took to make that durable, unless an earlier run has done it.
    pub(crate) fn opened(&self, epoch: &Binding, binding: Option<Duration>) {
        locked(&self.lead).open(epoch, binding);
    }

    /// Everything of an epoch is staged.
    pub(crate) fn staged(&self, epoch: Epoch) {
        locked(&self.lead).timing(epoch, epochs::Timing::staged);
    }

    /// A table has got an epoch.
    pub(crate) fn committed(&self, epoch: Epoch, table: &str, took: Duration) {
        locked(&self.lead).timing(epoch, |timing| timing.committed(table, took));
    }

    /// Waits until no epoch is open. There may be one waiter.
    pub(crate) async fn all_complete(&self) {
        while !locked(&self.lead).outstanding.all_complete() {
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

    /// The state of the epoch that a run goes on from.
    pub(crate) fn restored(&self, completion: &Completion) {
        self.read_before(completion);
        locked(&self.lead).restored(completion);
    }

    /// Bytes of a row, on average, as they lie in the sources; `None` when nothing is known yet.
    pub(crate) fn bytes_per_row(&self) -> Option<f64> {
        let rows = self.read_rows.load(Ordering::Relaxed);
        (rows > 0).then(|| self.read_bytes.load(Ordering::Relaxed) as f64 / rows as f64)
    }

    pub(crate) fn complete(&self, completion: &Completion) {
        self.read_before(completion);
        locked(&self.lead).complete(completion);
        self.completion.notify_one();
    }

    /// The newest complete epoch, 0 if none.
    pub fn completed(&self) -> Epoch {
        locked(&self.lead).completed
    }

    /// Epochs completed by this run.
    pub fn epochs(&self) -> u64 {
        locked(&self.lead).epochs
    }

    /// The newest complete epochs of this run, oldest first.
    pub fn recent(&self) -> Vec<EpochProgress> {
        let records: Vec<EpochRecord> = locked(&self.lead).records.iter().cloned().collect();
        self.tell(&records)
    }

    /// The complete epochs after this one of which all is known: other processes may be behind with their numbers.
    pub(crate) fn told_after(&self, epoch: Epoch) -> Vec<EpochProgress> {
        let known = locked(&self.others).values().map(Snapshot::passed).min().unwrap_or(Epoch::MAX);
        let records: Vec<EpochRecord> =
            locked(&self.lead).records.iter().filter(|r| r.epoch > epoch && r.epoch < known).cloned().collect();
        if records.is_empty() { Vec::new() } else { self.tell(&records) }
    }

    fn tell(&self, records: &[EpochRecord]) -> Vec<EpochProgress> {
        let flows = self.flows();
        let totals = self.totals(&self.counts(false));
        let run_id = self.run_id();
        let id = secret::public_url(&self.plan.state);
        let frontiers: BTreeMap<_, _> =
            self.plan.stages.iter().zip(&totals).map(|(s, t)| (s.name.clone(), t.frontier)).collect();
        let of = |record: &EpochRecord| {
            let none = Vec::new();
            let flow = flows.get(&record.epoch).unwrap_or(&none);
            let stages = self.plan.stages.iter().enumerate();
            let stages = stages.map(|(i, s)| (s.name.as_str(), flow.get(i).copied().unwrap_or(Flow::default())));
            record.tell(Frame {
                id: &id,
                run_id: &run_id,
                name: &self.plan.pipeline,
                stages: stages.collect(),
                frontiers: frontiers.clone(),
            })
        };
        records.iter().map(of).collect()
    }

    /// To be called a few times a second: rates are made of it.
    pub fn sample(&self) {
        let workers = self.counts(false);
        let totals = self.totals(&workers);
        let (lag, backlog) = {
            let lead = locked(&self.lead);
            (lead.lag_seconds(lead.completed), lead.backlogs().values().map(|b| b.splits).sum())
        };
        locked(&self.rates).sample(&self.plan, &totals, workers.len(), lag, backlog);
    }

    /// Throughput, lag and backlog over the last minutes, one point a second.
    pub fn series(&self) -> Vec<Point> {
        locked(&self.rates).points()
    }

    /// Rows that have come in from sources.
    pub fn source_rows(&self) -> u64 {
        let sources = self.plan.stages.iter().zip(self.totals(&self.counts(false)));
        sources.filter(|(s, _)| s.role == crate::stage::Role::Source).map(|(_, t)| t.rows_out).sum()
    }

    /// Which process of a cluster this is.
    pub(crate) fn set_process(&self, process: usize) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// Whether another process leads.
    pub(crate) fn follows(&self) -> bool {
        self.process.load(Ordering::Relaxed) != 0
    }

    /// How long the run goes on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

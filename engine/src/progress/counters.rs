//! What a worker has done, by stage. Written by the worker's thread from its logs, read by whoever shows it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Passed;
use crate::Epoch;
use crate::bridge::Meter;

/// Epochs whose flow is remembered after they are complete.
const REMEMBERED: usize = 128;
/// A finished stage has no frontier.
const FINISHED: Epoch = Epoch::MAX;

/// One worker.
pub(crate) struct WorkerProgress {
    stages: Vec<Counters>,
    flows: Mutex<Flows>,
}

/// What left each stage, by epoch and stage.
pub(crate) type Flows = BTreeMap<Epoch, Vec<Flow>>;

/// What left a stage in an epoch. Processes tell each other twice a second: without what is zero, as most is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Flow {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rows: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rejects: u64,
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

impl Flow {
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.rejects += other.rejects;
    }
}

/// One stage on one worker.
#[derive(Default)]
struct Counters {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    bytes_out: AtomicU64,
    rejects: AtomicU64,
    /// Sent to the stage from here less received here: adds up to what is on its way, over all workers.
    underway: AtomicI64,
    /// Nanoseconds on the worker's thread.
    busy: AtomicU64,
    frontier: AtomicU64,
    meter: Arc<Meter>,
}

/// The numbers of a stage on a worker, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rows_in: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rows_out: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) bytes_out: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) rejects: u64,
    /// See `Counters`.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) underway: i64,
    /// Rows and bytes that wait for the stage's own threads and tasks.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) waiting_rows: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) waiting_bytes: u64,
    /// Nanoseconds of the worker's thread and the stage's own threads and tasks.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) busy: u64,
    /// `None` when the stage is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) frontier: Option<Epoch>,
}

impl Counts {
    /// Adds the numbers of another worker; the older frontier counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.bytes_out += other.bytes_out;
        self.rejects += other.rejects;
        self.underway += other.underway;
        self.waiting_rows += other.waiting_rows;
        self.waiting_bytes += other.waiting_bytes;
        self.busy += other.busy;
        self.frontier = match (self.frontier, other.frontier) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// What a message of Timely's log says of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Sent(usize),
    /// Received before the stage: it was on its way to it.
    Arrived(usize),
    /// Received by the stage itself.
    Taken(usize),
}

impl WorkerProgress {
    pub(super) fn new(stages: usize) -> Self {
        Self { stages: (0..stages).map(|_| Counters::default()).collect(), flows: Mutex::default() }
    }

    /// Measures the threads and tasks of a stage.
    pub(crate) fn meter(&self, stage: usize) -> Arc<Meter> {
        self.stages.get(stage).map(|s| s.meter.clone()).unwrap_or_default()
    }

    /// What the stage has no more rows of: everything before this epoch; `None` when it is finished.
    pub(crate) fn set_frontier(&self, stage: usize, frontier: Option<Epoch>) {
        if let Some(stage) = self.stages.get(stage) {
            stage.frontier.store(frontier.unwrap_or(FINISHED), Ordering::Relaxed);
        }
    }

    pub(super) fn busy(&self, stage: usize, time: Duration) {
        if let Some(stage) = self.stages.get(stage) {
            stage.busy.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(0), Ordering::Relaxed);
        }
    }

    pub(super) fn met(&self, met: Met, rows: u64) {
        let (Met::Sent(stage) | Met::Arrived(stage) | Met::Taken(stage)) = met;
        let Some(stage) = self.stages.get(stage) else { return };
        let signed = i64::try_from(rows).unwrap_or(0);
        match met {
            Met::Sent(_) => stage.underway.fetch_add(signed, Ordering::Relaxed),
            Met::Arrived(_) | Met::Taken(_) => stage.underway.fetch_sub(signed, Ordering::Relaxed),
        };
        if matches!(met, Met::Taken(_)) {
            stage.rows_in.fetch_add(rows, Ordering::Relaxed);
        }
    }

    pub(super) fn passed<'a>(&self, events: impl Iterator<Item = &'a Passed>) {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            let Some(stage) = self.stages.get(event.stage) else { continue };
            let of_epoch = flows.entry(event.epoch).or_insert_with(|| vec![Flow::default(); self.stages.len()]);
            let flow = &mut of_epoch[event.stage];
            if event.rejects {
                flow.rejects += event.rows;
                stage.rejects.fetch_add(event.rows, Ordering::Relaxed);
            } else {
                flow.rows += event.rows;
                flow.bytes += event.bytes;
                stage.rows_out.fetch_add(event.rows, Ordering::Relaxed);
                stage.bytes_out.fetch_add(event.bytes, Ordering::Relaxed);
            }
        }
        while flows.len() > REMEMBERED {
            flows.pop_first();
        }
    }

    /// The numbers of all stages.
    pub(crate) fn counts(&self) -> Vec<Counts> {
        let of = |s: &Counters| {
            let (waiting_rows, waiting_bytes) = s.meter.waiting();
            Counts {
                rows_in: s.rows_in.load(Ordering::Relaxed),
                rows_out: s.rows_out.load(Ordering::Relaxed),
                bytes_out: s.bytes_out.load(Ordering::Relaxed),
                rejects: s.rejects.load(Ordering::Relaxed),
                underway: s.underway.load(Ordering::Relaxed),
                waiting_rows,
                waiting_bytes,
                busy: s.busy.load(Ordering::Relaxed) + u64::try_from(s.meter.busy().as_nanos()).unwrap_or(0),
                frontier: Some(s.frontier.load(Ordering::Relaxed)).filter(|&f| f != FINISHED),
            }
        };
        self.stages.iter().map(of).collect()
    }

    /// What left the stages in epochs from this one on.
    pub(crate) fn flows(&self, from: Epoch) -> Flows {
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.range(from..).map(|(epoch, flow)| (*epoch, flow.clone())).collect()
    }
}

/// Adds flows to others.
pub(crate) fn add_flows(all: &mut Flows, more: &Flows) {
    for (epoch, stages) in more {
        let sum = all.entry(*epoch).or_insert_with(|| vec![Flow::default(); stages.len()]);
        sum.iter_mut().zip(stages).for_each(|(sum, flow)| sum.add(flow));
    }
}

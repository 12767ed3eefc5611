//! What the process that leads knows: epochs, tables, backlog. The others hear it from there.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::backlog::{Backlogs, Outstanding};
use super::epochs::{EpochRecord, REMEMBERED, StateSize, TableCommit, Timing};
use crate::Epoch;
use crate::checkpoint::{Binding, Completion};

/// Epochs that a snapshot tells of: more than can become complete between two.
const TOLD: usize = 32;

/// Epochs and tables of a run.
#[derive(Default)]
pub(crate) struct Lead {
    /// The newest complete epoch, 0 if none.
    pub(super) completed: Epoch,
    /// Epochs completed by this run.
    pub(super) epochs: u64,
    /// The newest open epoch.
    pub(super) opened: Epoch,
    /// Processing time of those that are open.
    pub(super) open: BTreeMap<Epoch, DateTime<Utc>>,
    /// Sources were listed.
    pub(super) listed: bool,
    pub(super) outstanding: Outstanding,
    pub(super) records: VecDeque<EpochRecord>,
    pub(super) tables: BTreeMap<String, TableTotal>,
    pub(super) state: BTreeMap<String, StateSize>,
    timings: BTreeMap<Epoch, Timing>,
    last_opened: Option<Instant>,
    /// In a process that follows: what the leader says.
    told: Option<Backlogs>,
}

/// What a run has done to a table so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableTotal {
    pub(crate) epoch: Epoch,
    /// The newest commit.
    pub(crate) last: TableCommit,
    pub(crate) rows: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    pub(crate) conflicts: u64,
}

/// What the others are told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LeadSnapshot {
    run_id: String,
    completed: Epoch,
    epochs: u64,
    opened: Epoch,
    listed: bool,
    open: BTreeMap<Epoch, DateTime<Utc>>,
    backlogs: Backlogs,
    tables: BTreeMap<String, TableTotal>,
    state: BTreeMap<String, StateSize>,
    records: Vec<EpochRecord>,
}

impl LeadSnapshot {
    pub(super) fn run_id(&self) -> &str {
        &self.run_id
    }

    /// The same with those complete epochs only that come after this one.
    pub(super) fn after(&self, epoch: Epoch) -> Self {
        let mut news = self.clone();
        news.records.retain(|r| r.epoch > epoch);
        news
    }

    /// The newest complete epoch that it tells of.
    pub(super) fn newest(&self) -> Option<Epoch> {
        self.records.last().map(|r| r.epoch)
    }
}

impl Lead {
    pub(super) fn open(&mut self, binding: &Binding, took: Option<Duration>) {
        self.opened = self.opened.max(binding.epoch);
        self.open.insert(binding.epoch, binding.ingest_time);
        self.outstanding.bound(binding.epoch, &binding.splits);
        self.timings.insert(binding.epoch, Timing::new(binding.ingest_time, took));
    }

    pub(super) fn timing(&mut self, epoch: Epoch, change: impl FnOnce(&mut Timing)) {
        if let Some(timing) = self.timings.get_mut(&epoch) {
            change(timing);
        }
    }

    pub(super) fn restored(&mut self, completion: &Completion) {
        self.completed = completion.epoch;
        self.opened = completion.epoch;
        self.state = completion.state.iter().map(|(stage, manifest)| (stage.clone(), manifest.size())).collect();
    }

    pub(super) fn complete(&mut self, completion: &Completion) {
        let epoch = completion.epoch;
        self.completed = epoch;
        self.epochs += 1;
        self.outstanding.complete(epoch);
        self.open.remove(&epoch);
        let timing = self.timings.remove(&epoch).unwrap_or_else(|| Timing::new(completion.finished, None));
        let record = EpochRecord::new(completion, &timing, self.last_opened);
        self.last_opened = Some(timing.opened_at());
        self.state.clone_from(record.state());
        for (stage, commit) in record.tables() {
            let table = self.tables.entry(stage.clone()).or_default();
            table.epoch = epoch;
            table.last = commit.clone();
            table.rows += commit.num_output_rows;
            table.files += commit.num_files;
            table.bytes += commit.num_bytes;
            table.conflicts += commit.conflicts;
        }
        self.remember(record);
    }

    fn remember(&mut self, record: EpochRecord) {
        self.records.push_back(record);
        if self.records.len() > REMEMBERED {
            self.records.pop_front();
        }
    }

    pub(super) fn backlogs(&self) -> Backlogs {
        self.told.clone().unwrap_or_else(|| self.outstanding.all())
    }

    /// How old an epoch is that a stage is not through with: the one after `passed`.
    pub(super) fn lag_seconds(&self, passed: Epoch) -> f64 {
        let oldest = self.open.range(passed + 1..).next();
        oldest.and_then(|(_, at)| (Utc::now() - at).to_std().ok()).map_or(0.0, |age| age.as_secs_f64())
    }

    pub(super) fn snapshot(&self, run_id: String) -> LeadSnapshot {
        LeadSnapshot {
            run_id,
            completed: self.completed,
            epochs: self.epochs,
            opened: self.opened,
            listed: self.listed,
            open: self.open.clone(),
            backlogs: self.backlogs(),
            tables: self.tables.clone(),
            state: self.state.clone(),
            records: self.records.iter().rev().take(TOLD).rev().cloned().collect(),
        }
    }

    pub(super) fn hear(&mut self, told: &LeadSnapshot) {
        self.completed = told.completed;
        self.epochs = told.epochs;
        self.opened = told.opened;
        self.listed = told.listed;
        self.open.clone_from(&told.open);
        self.told = Some(told.backlogs.clone());
        self.tables.clone_from(&told.tables);
        self.state.clone_from(&told.state);
        let newest = self.records.back().map_or(0, |r| r.epoch);
        told.records.iter().filter(|r| r.epoch > newest).for_each(|r| self.remember(r.clone()));
    }
}

//! How far one process of a cluster is, as it tells the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::activity::Wait;
use super::counters::{Counts, Flows, add_flows};
use super::lead::LeadSnapshot;
use super::{Progress, locked};
use crate::Epoch;
use crate::metrics::{self, Measured};

/// Epochs before the newest complete one whose flow is told again.
const TOLD: Epoch = 32;
/// Epochs whose flow is remembered of another process.
const REMEMBERED: usize = 128;

/// One process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// By worker and stage.
    pub(super) workers: BTreeMap<usize, Vec<Counts>>,
    /// What left its stages in the newest epochs.
    pub(super) flows: Flows,
    /// What it has been waiting for.
    pub(super) waits: Vec<Wait>,
    /// What its stages have measured.
    pub(super) measured: Measured,
    /// From the process that leads.
    pub(super) lead: Option<LeadSnapshot>,
}

impl Snapshot {
    /// The epoch before which its workers have nothing more to tell.
    pub(super) fn passed(&self) -> Epoch {
        let frontiers = self.workers.values().flatten().map(|counts| counts.frontier.unwrap_or(Epoch::MAX));
        frontiers.min().unwrap_or(0)
    }
}

impl Progress {
    /// What this process tells the others.
    pub(crate) fn snapshot(&self, leads: bool) -> Snapshot {
        let lead = locked(&self.lead);
        let from = lead.completed.saturating_sub(TOLD);
        let told = leads.then(|| lead.snapshot(self.run_id()));
        drop(lead);
        let workers = locked(&self.workers);
        let mut flows = Flows::new();
        // Frontiers first: what they have passed is in the flows then.
        let counts = workers.iter().map(|(worker, progress)| (*worker, progress.counts())).collect();
        workers.values().for_each(|worker| add_flows(&mut flows, &worker.flows(from)));
        Snapshot { workers: counts, flows, waits: self.activities.long(), measured: metrics::measured(), lead: told }
    }

    /// What the stages of all processes have measured.
    pub(crate) fn measured(&self) -> Measured {
        let mut all = metrics::measured();
        locked(&self.others).values().for_each(|other| metrics::add(&mut all, &other.measured));
        all
    }

    /// What another process tells. Epochs, tables and backlog are the leader's to know.
    pub(crate) fn set_other(&self, process: usize, mut snapshot: Snapshot) {
        if let Some(told) = &snapshot.lead {
            locked(&self.lead).hear(told);
            told.run_id().clone_into(&mut locked(&self.run_id));
        }
        let mut others = locked(&self.others);
        if let Some(before) = others.remove(&process) {
            let mut flows = before.flows;
            flows.append(&mut snapshot.flows);
            while flows.len() > REMEMBERED {
                flows.pop_first();
            }
            snapshot.flows = flows;
        }
        others.insert(process, snapshot);
    }
}

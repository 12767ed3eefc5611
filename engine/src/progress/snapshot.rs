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

/// What another process has been told: it need not be told again.
#[derive(Debug, Default)]
pub(crate) struct Told {
    flows: Flows,
    /// The newest complete epoch that was told of.
    newest: Epoch,
}

impl Snapshot {
    /// What of this is new to a process that was told so much before. It is told then.
    pub(crate) fn news(&self, told: &mut Told) -> Self {
        let before = std::mem::replace(&mut told.flows, self.flows.clone());
        let flows = self.flows.iter().filter(|(epoch, flow)| before.get(epoch) != Some(flow));
        let lead = self.lead.as_ref().map(|lead| lead.after(told.newest));
        told.newest = lead.as_ref().and_then(LeadSnapshot::newest).unwrap_or(told.newest);
        Self {
            workers: self.workers.clone(),
            flows: flows.map(|(epoch, flow)| (*epoch, flow.clone())).collect(),
            waits: self.waits.clone(),
            measured: self.measured.clone(),
            lead,
        }
    }

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

#[cfg(test)]
mod tests {
    use super::super::counters::Flow;
    use super::*;

    /// A process of so many workers that follows, with a plan of ten stages, at some epoch.
    fn at(epoch: Epoch, workers: usize) -> Snapshot {
        let counts = Counts {
            rows_in: epoch * 123_456,
            rows_out: epoch * 123_456,
            bytes_out: epoch * 12_345_678,
            busy: epoch * 1_234_567_890,
            frontier: Some(epoch + 1),
            ..Counts::default()
        };
        let flow = |of: Epoch| vec![Flow { rows: 123_456 + of, bytes: 12_345_678, rejects: 0 }; 10];
        Snapshot {
            workers: (0..workers).map(|w| (w, vec![counts; 10])).collect(),
            flows: (epoch.saturating_sub(TOLD)..=epoch).map(|of| (of, flow(of))).collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_was_told_is_not_told_again_and_nothing_is_missing() {
        let mut told = Told::default();
        let mut heard = Flows::new();
        for epoch in 1_000..1_050 {
            let snapshot = at(epoch, 4);
            let news = snapshot.news(&mut told);
            if epoch > 1_000 {
                assert_eq!(news.flows.keys().collect::<Vec<_>>(), [&epoch]);
                let bytes = serde_json::to_vec(&news).unwrap().len();
                assert!(bytes < 6_000, "{bytes} bytes twice a second to each process");
            }
            let json = serde_json::to_vec(&news).unwrap();
            heard.append(&mut serde_json::from_slice::<Snapshot>(&json).unwrap().flows);
            assert!(snapshot.flows.iter().all(|(epoch, flow)| heard.get(epoch) == Some(flow)));
            assert!(snapshot.news(&mut told).flows.is_empty());
        }
        // An epoch of which more has come is told once more, as a whole.
        let mut more = at(1_049, 4);
        more.flows.get_mut(&1_049).unwrap()[3].rejects = 1;
        assert_eq!(more.news(&mut told).flows.keys().collect::<Vec<_>>(), [&1_049]);
    }
}

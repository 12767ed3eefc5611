//! Makes the document.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};

use super::{
    BacklogStatus, Circumstances, EdgeStatus, EpochsStatus, Lag, RunState, StageCondition, StageStatus, Status,
    TableStatus, Warning, WorkerStatus,
};
use crate::plan::PlannedStage;
use crate::progress::activity::Wait;
use crate::progress::counters::{Counts, Flows};
use crate::progress::lead::Lead;
use crate::progress::rates::Rate;
use crate::progress::{Backlog, Progress, locked};
use crate::secret;
use crate::stage::{Role, Route};

/// The stage that activities of the engine itself are told of.
const ENGINE: [&str; 2] = ["checkpoint", "engine"];

/// Everything that the parts of the document are made of.
struct View<'a> {
    progress: &'a Progress,
    lead: &'a Lead,
    totals: Vec<Counts>,
    rates: Vec<Rate>,
    workers: Vec<(usize, usize, Vec<Counts>)>,
    flows: Flows,
    backlogs: BTreeMap<String, Backlog>,
    waits: Vec<Wait>,
    around: &'a Circumstances,
}

impl Progress {
    /// The run in one document.
    pub(crate) fn status(&self, around: &Circumstances) -> Status {
        let workers = self.counts(around.local);
        let (totals, flows) = (self.totals(&workers), self.flows());
        let mut waits = self.activities.long();
        locked(&self.others).values().for_each(|other| waits.extend(other.waits.iter().cloned()));
        let rates = locked(&self.rates).rates();
        let lead = locked(&self.lead);
        let backlogs = lead.backlogs();
        View { progress: self, lead: &lead, totals, rates, workers, flows, backlogs, waits, around }.status()
    }
}

impl View<'_> {
    fn status(&self) -> Status {
        let plan = &self.progress.plan;
        let mut backlog = Backlog::default();
        self.backlogs.values().for_each(|b| backlog.merge(*b));
        let stages: Vec<StageStatus> =
            plan.stages.iter().enumerate().map(|(index, stage)| self.stage(index, stage)).collect();
        let of_sources = || stages.iter().filter(|s| s.role == Role::Source.name());
        Status {
            pipeline: plan.pipeline.clone(),
            description: plan.description.clone(),
            state_url: secret::public_url(&plan.state),
            run_id: self.progress.run_id(),
            plan: plan.hash.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: self.around.state.unwrap_or(if self.workers.is_empty() {
                RunState::Starting
            } else {
                RunState::Running
            }),
            started: self.progress.began,
            now: Utc::now(),
            interval_seconds: self.around.interval_seconds,
            processes: locked(&self.progress.others).len() + 1,
            workers: self.workers.len(),
            rows: of_sources().map(|s| s.rows).sum(),
            rows_per_second: of_sources().map(|s| s.rows_per_second).sum(),
            rejects: stages.iter().map(|s| s.rejects).sum(),
            epochs: EpochsStatus {
                completed: self.lead.completed,
                completed_by_run: self.lead.epochs,
                opened: self.lead.opened,
                open: self.lead.open.len() as u64,
                lag_seconds: self.lead.lag_seconds(self.lead.completed),
            },
            listed: self.lead.listed,
            backlog: backlog_status(&backlog),
            tables: plan.stages.iter().filter_map(|s| self.table(s)).collect(),
            warnings: self.warnings(),
            fault: self.around.fault.clone(),
            stages,
        }
    }

    fn stage(&self, index: usize, stage: &PlannedStage) -> StageStatus {
        let total = self.totals.get(index).copied().unwrap_or_default();
        let rate = self.rates.get(index).copied().unwrap_or_default();
        let wait = self.waits.iter().find(|w| w.stage == stage.name);
        let lag = self.lag(&total);
        let failed = self.around.fault.as_ref().is_some_and(|f| f.stage == stage.name);
        let condition = match (failed, wait, total.frontier, lag.epochs) {
            (true, ..) => StageCondition::Failed,
            (_, Some(_), ..) => StageCondition::Stalled,
            (_, _, None, _) => StageCondition::Finished,
            (_, _, _, 0) => StageCondition::Idle,
            _ => StageCondition::Running,
        };
        let source = stage.role == Role::Source;
        let worker = |(process, worker, counts): &(usize, usize, Vec<Counts>)| {
            let counts = counts.get(index).copied().unwrap_or_default();
            WorkerStatus {
                worker: *worker,
                process: *process,
                frontier: counts.frontier,
                rows_in: if source { counts.rows_out + counts.rejects } else { counts.rows_in },
                rows: counts.rows_out,
                busy_seconds: counts.busy as f64 / 1e9,
            }
        };
        let edge = |edge: &crate::plan::Edge| EdgeStatus {
            from: self.progress.plan.stages.get(edge.from).map(|s| s.name.clone()).unwrap_or_default(),
            rejects: edge.rejects,
            exchange: matches!(edge.route, Route::Exchange(_)),
        };
        StageStatus {
            name: stage.name.clone(),
            kind: stage.kind.clone(),
            role: stage.role.name().to_owned(),
            description: stage.description.clone(),
            inputs: stage.edges.iter().map(edge).collect(),
            condition,
            cause: wait.map(|w| self.cause(w)),
            frontier: total.frontier,
            // Splits come in there.
            rows_in: if source { total.rows_out + total.rejects } else { total.rows_in },
            rows: total.rows_out,
            bytes: total.bytes_out,
            // Operators without a port of rejects use it for something else.
            rejects: if stage.outputs.rejects { total.rejects } else { 0 },
            rows_per_second: rate.rows,
            bytes_per_second: rate.bytes,
            busy: rate.busy,
            queue_rows: if source { 0 } else { u64::try_from(total.underway).unwrap_or(0) } + total.waiting_rows,
            queue_bytes: total.waiting_bytes,
            lag,
            keeps: self.lead.state.get(&stage.name).copied(),
            backlog: source.then(|| backlog_status(&self.backlogs.get(&stage.name).copied().unwrap_or_default())),
            metrics: self.around.metrics.get(&stage.name).cloned().unwrap_or_default(),
            workers: self.workers.iter().map(worker).collect(),
        }
    }

    /// What is being waited for, and what was logged meanwhile.
    fn cause(&self, wait: &Wait) -> String {
        let since = Utc::now() - TimeDelta::milliseconds((wait.seconds * 1e3) as i64);
        let about = |w: &&Warning| w.stage.as_ref() == Some(&wait.stage) && w.epoch == wait.epoch && w.at >= since;
        let noticed = self.around.warnings.iter().rev().find(about);
        let noticed = noticed.map(|w| format!(": {}", w.message)).unwrap_or_default();
        format!("{} for {:.0} s{noticed}", wait.what, wait.seconds)
    }

    fn lag(&self, total: &Counts) -> Lag {
        let Some(frontier) = total.frontier else { return Lag::default() };
        let sources: Vec<usize> = self
            .progress
            .plan
            .stages
            .iter()
            .enumerate()
            .filter(|(_, s)| s.role == Role::Source)
            .map(|(i, _)| i)
            .collect();
        let rows = self
            .flows
            .range(frontier..)
            .map(|(_, flow)| sources.iter().filter_map(|i| flow.get(*i)).map(|flow| flow.rows).sum::<u64>());
        Lag {
            epochs: (self.lead.opened + 1).saturating_sub(frontier.max(1)),
            seconds: self.lead.lag_seconds(frontier.saturating_sub(1)),
            rows: rows.sum(),
        }
    }

    fn table(&self, stage: &PlannedStage) -> Option<TableStatus> {
        let url = secret::public_url(&stage.outputs.table.as_ref()?.url);
        let total = self.lead.tables.get(&stage.name);
        let default = crate::progress::lead::TableTotal::default();
        let table = total.unwrap_or(&default);
        Some(TableStatus {
            stage: stage.name.clone(),
            url,
            version: total.map(|t| t.last.version),
            epoch: table.epoch,
            rows: table.rows,
            files: table.files,
            bytes: table.bytes,
            commit_ms: table.last.commit_ms,
            conflicts: table.conflicts,
        })
    }

    fn warnings(&self) -> Vec<Warning> {
        let waits = self.waits.iter().map(|wait| Warning {
            stage: (!ENGINE.contains(&wait.stage.as_str())).then(|| wait.stage.clone()),
            epoch: wait.epoch,
            message: self.cause(wait),
            at: Utc::now() - TimeDelta::milliseconds((wait.seconds * 1e3) as i64),
        });
        self.around.warnings.iter().cloned().chain(waits).collect()
    }
}

fn backlog_status(backlog: &Backlog) -> BacklogStatus {
    let age = backlog.oldest.and_then(|oldest| (Utc::now() - oldest).to_std().ok());
    BacklogStatus {
        objects: backlog.splits,
        bytes: backlog.bytes,
        oldest_seconds: age.filter(|_| backlog.splits > 0).map(|age| age.as_secs_f64()),
    }
}

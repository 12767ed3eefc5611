//! A run as others see it: what it does, and how it is steered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::Stop;
use crate::checkpoint::LastRun;
use crate::events::Event;
use crate::plan::Plan;
use crate::progress::{Circumstances, EpochProgress, FaultStatus, Point, Progress, RunState, Sample, Status};
use crate::spec::{ByteSize, EpochLimits};
use crate::stage::Fault;
use crate::tables::Tables;
use crate::{metrics, notices, secret};

/// What can be changed while a run goes on. In a cluster all processes have the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Control {
    /// No new epochs are opened; those that are open are finished.
    pub paused: bool,
    /// Milliseconds between two looks for new objects, of a run that watches; `None`: as it was started.
    pub interval_ms: Option<u64>,
    /// Bytes of an epoch; `None`: as the spec says.
    pub epoch_bytes: Option<u64>,
    /// Splits of an epoch.
    pub epoch_splits: Option<usize>,
    /// Rows of an epoch, about.
    pub epoch_rows: Option<u64>,
}

impl Control {
    /// The limits that hold.
    pub(crate) fn limits(&self, spec: &EpochLimits) -> EpochLimits {
        EpochLimits {
            bytes: self.epoch_bytes.map_or(spec.bytes, ByteSize),
            splits: self.epoch_splits.unwrap_or(spec.splits),
            rows: self.epoch_rows.or(spec.rows),
            open: spec.open,
        }
    }

    /// The interval that holds.
    pub(crate) fn interval(&self, started_with: Option<Duration>) -> Option<Duration> {
        started_with.map(|interval| self.interval_ms.map_or(interval, Duration::from_millis))
    }
}

/// Shows and steers a run. It outlives changes of the plan: a run that begins anew with other columns is still the same.
#[derive(Clone)]
pub struct RunHandle {
    inner: Arc<Inner>,
}

struct Inner {
    progress: Mutex<Arc<Progress>>,
    stop: Stop,
    control: watch::Sender<Control>,
    interval: Option<Duration>,
    tables: Option<Arc<dyn Tables>>,
    ended: Mutex<Option<(RunState, Option<FaultStatus>)>>,
    /// Why the run before has failed.
    before: Mutex<Option<FaultStatus>>,
    /// Changes whenever there may be something new to show.
    ticks: watch::Sender<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunHandle {
    /// A run that is about to start, and looks for new objects at this interval if it watches. `tables` write its event
    /// log.
    pub fn new(
        progress: Arc<Progress>,
        stop: Stop,
        interval: Option<Duration>,
        tables: Option<Arc<dyn Tables>>,
    ) -> Self {
        let inner = Inner {
            progress: Mutex::new(progress),
            stop,
            control: watch::channel(Control::default()).0,
            interval,
            tables,
            ended: Mutex::default(),
            before: Mutex::default(),
            ticks: watch::channel(0).0,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The run goes on with another plan.
    pub(crate) fn replace(&self, progress: Arc<Progress>) {
        *locked(&self.inner.progress) = progress;
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        locked(&self.inner.progress).clone()
    }

    /// What writes the event log.
    pub(crate) fn tables(&self) -> Option<&Arc<dyn Tables>> {
        self.inner.tables.as_ref()
    }

    /// How the run has ended, for the event log.
    pub(crate) fn last_event(&self, fault: Option<&Fault>) -> Event {
        match fault {
            None => Event::stop(self.inner.stop.is_asked()),
            Some(fault) => match fault.error.to_resolve() {
                Some(resolved) => {
                    Event::schema(&fault.stage, secret::redact(&fault.error.to_string()), Some(&resolved.value))
                }
                None => Event::fault(told(fault)),
            },
        }
    }

    /// Whether this process leads its cluster, or is alone.
    pub fn leads(&self) -> bool {
        !self.progress().follows()
    }

    /// The plan that is run.
    pub fn plan(&self) -> Arc<Plan> {
        self.progress().plan.clone()
    }

    /// Everything there is to show.
    pub fn status(&self) -> Status {
        self.status_of(false)
    }

    /// Everything that was measured, in Prometheus's text format: of a cluster this process's part.
    pub fn metrics(&self) -> String {
        let leads = self.leads();
        let before = locked(&self.inner.before).clone();
        metrics::publish(&self.status_of(true), before.as_ref(), leads);
        metrics::render()
    }

    fn status_of(&self, local: bool) -> Status {
        let ended = locked(&self.inner.ended).clone();
        let (state, fault) = match ended {
            Some((state, fault)) => (Some(state), fault),
            None if self.inner.stop.is_asked() => (Some(RunState::Draining), None),
            None if self.inner.control.borrow().paused => (Some(RunState::Paused), None),
            None => (None, None),
        };
        let interval = self.inner.control.borrow().interval(self.inner.interval);
        let around = Circumstances {
            state,
            fault,
            interval_seconds: interval.map(|i| i.as_secs_f64()),
            warnings: notices::recent(),
            metrics: if local { BTreeMap::new() } else { metrics::by_stage(self.progress().measured()) },
            local,
        };
        self.progress().status(&around)
    }

    /// The newest complete epochs, oldest first.
    pub fn epochs(&self) -> Vec<EpochProgress> {
        self.progress().recent()
    }

    /// The last minutes.
    pub fn series(&self) -> Vec<Point> {
        self.progress().series()
    }

    /// Rows of an edge of this process as they pass, `rows` at most: what the stage gives, or what it rejects.
    pub fn tap(&self, stage: &str, rejects: bool, rows: usize) -> Option<mpsc::UnboundedReceiver<Sample>> {
        let progress = self.progress();
        let index = progress.plan.stages.iter().position(|s| s.name == stage)?;
        Some(progress.taps.open(index, rejects, rows))
    }

    /// Asks the run to stop: the open epochs are finished.
    pub fn stop(&self) {
        self.inner.stop.drain();
    }

    /// Ends the process at once, which is safe at any moment: the next run completes what is open.
    pub fn stop_now(&self) {
        crate::cli::end_now();
    }

    /// What is changed now.
    pub fn control(&self) -> Control {
        self.inner.control.borrow().clone()
    }

    /// Changes how the run goes on.
    pub fn steer(&self, change: impl FnOnce(&mut Control)) {
        self.inner.control.send_if_modified(|control| {
            let before = control.clone();
            change(control);
            *control != before
        });
        self.tick();
    }

    pub(crate) fn controls(&self) -> watch::Receiver<Control> {
        self.inner.control.subscribe()
    }

    /// Takes a sample of the numbers, and wakes whoever shows them. Called a few times a second.
    pub(crate) fn tick(&self) {
        self.progress().sample();
        self.inner.ticks.send_modify(|n| *n += 1);
    }

    /// Changes whenever there may be something new to show.
    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.inner.ticks.subscribe()
    }

    /// The run before this one has failed.
    pub(crate) fn failed_before(&self, fault: FaultStatus) {
        *locked(&self.inner.before) = Some(fault);
    }

    /// What is noted of this run when it has ended.
    pub(crate) fn last_run(&self, fault: Option<&Fault>) -> LastRun {
        LastRun { run_id: self.progress().run_id(), ended: Utc::now(), fault: fault.map(told) }
    }

    /// The run has ended.
    pub(crate) fn ended(&self, fault: Option<&Fault>) {
        let fault = fault.map(told);
        let state = if fault.is_some() { RunState::Failed } else { RunState::Ended };
        *locked(&self.inner.ended) = Some((state, fault));
        self.tick();
    }
}

fn told(fault: &Fault) -> FaultStatus {
    FaultStatus {
        stage: fault.stage.clone(),
        epoch: fault.epoch,
        message: secret::redact(&fault.to_string()),
        at: Utc::now(),
    }
}

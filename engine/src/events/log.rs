//! Gathers events and appends them to their table, many at a time.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use futures::TryStreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use super::{Event, rows, url};
use crate::Epoch;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::runtime::{RunHandle, RunOptions};
use crate::stage::StageError;
use crate::tables::{Table, Tables};

/// The beginning of a run is written so soon, and with it what a short run has done.
const FIRST: Duration = Duration::from_secs(1);
/// After that so often: a commit each.
const EVERY: Duration = Duration::from_secs(30);
/// So many bytes of text are written at once.
const MANY_BYTES: usize = 1 << 20;
/// So many wait at most for a table that cannot be written.
const MOST: usize = 10_000;

/// Takes events. What nobody writes is dropped.
#[derive(Clone)]
pub(crate) struct EventSender(mpsc::UnboundedSender<Said>);

impl EventSender {
    pub(crate) fn send(&self, event: Event) {
        // Without a log there is nobody to hear it.
        let _ = self.0.send(Said::More(event));
    }
}

enum Said {
    More(Event),
    Last(Event),
}

/// The event log of a run.
pub(crate) struct EventLog {
    events: EventSender,
    task: Option<JoinHandle<()>>,
}

impl EventLog {
    /// Begins with the start of the run. Without tables nothing is written.
    ///
    /// # Errors
    /// A place that cannot be opened.
    pub(crate) fn start(
        tables: Option<&Arc<dyn Tables>>,
        run: &RunHandle,
        plan: &Arc<Plan>,
        options: &RunOptions,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, StageError> {
        let (sender, said) = mpsc::unbounded_channel();
        let events = EventSender(sender);
        let Some(tables) = tables else { return Ok(Self { events, task: None }) };
        let progress = run.progress();
        let gathering = Gathering {
            table: tables.table(&plan.storage, &url(plan))?,
            run_id: progress.run_id(),
            told: 0,
            progress,
            held: Vec::new(),
            bytes: 0,
            sequence: 0,
            unsure: false,
        };
        events.send(Event::start(plan, options));
        let span = run.progress().activities.of_run();
        let task = runtime.spawn(gathering.run(said, run.ticks()).instrument(span));
        Ok(Self { events, task: Some(task) })
    }

    /// Where events go.
    pub(crate) fn sender(&self) -> EventSender {
        self.events.clone()
    }

    /// Writes what there is, with this as the last event, or gives up after `longest`.
    pub(crate) async fn end(self, last: Event, longest: Duration) {
        let Some(mut task) = self.task else { return };
        let _ = self.events.0.send(Said::Last(last));
        match timeout(longest, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the event log has stopped: its last entries are missing"),
            Err(_) => {
                task.abort();
                tracing::warn!("the event log could not be written within {longest:?}: its last entries are missing");
            }
        }
    }
}

/// Appends one event that belongs to no run, by whoever has the lease. What fails is a warning.
pub(crate) async fn note(tables: &dyn Tables, plan: &Plan, instance: &str, event: Event) {
    let append = async {
        let rows = rows(instance, &[(1, event)]).map_err(undone)?;
        tables.table(&plan.storage, &url(plan))?.append(rows).await
    };
    if let Err(error) = append.await {
        tracing::warn!(%error, "the event log cannot be written");
    }
}

fn undone(error: ArrowError) -> StageError {
    StageError::internal("events cannot be made into rows").because(error)
}

/// Has events that are not written yet.
struct Gathering {
    table: Box<dyn Table>,
    progress: Arc<Progress>,
    run_id: String,
    /// The newest epoch that is among the events.
    told: Epoch,
    /// With their number in the run.
    held: Vec<(u64, Event)>,
    /// Bytes of their texts.
    bytes: usize,
    sequence: u64,
    /// The last commit has failed, as far as is known.
    unsure: bool,
}

impl Gathering {
    async fn run(mut self, mut said: mpsc::UnboundedReceiver<Said>, mut ticks: watch::Receiver<u64>) {
        let mut due = Instant::now() + FIRST;
        loop {
            tokio::select! {
                heard = said.recv() => match heard {
                    Some(Said::More(event)) => self.hold(event),
                    Some(Said::Last(event)) => {
                        self.epochs(true);
                        self.hold(event);
                        break;
                    }
                    None => break,
                },
                ticked = ticks.changed() => if ticked.is_ok() { self.epochs(false) } else { break },
                () = sleep_until(due), if !self.held.is_empty() => {
                    self.write().await;
                    due = Instant::now() + EVERY;
                }
            }
            if self.bytes >= MANY_BYTES && !self.unsure {
                due = Instant::now();
            }
        }
        self.write().await;
    }

    /// Epochs that have become complete; other processes may not have said yet what they did for the newest.
    fn epochs(&mut self, all: bool) {
        let epochs = if all { self.progress.recent() } else { self.progress.told_after(self.told) };
        let told = self.told;
        for event in epochs.iter().filter(|e| e.batch_id > told).flat_map(Event::of_epoch) {
            self.hold(event);
        }
        self.told = epochs.last().map_or(self.told, |e| e.batch_id.max(self.told));
    }

    fn hold(&mut self, event: Event) {
        self.sequence += 1;
        self.bytes += event.message.len() + event.details.as_ref().map_or(0, String::len);
        self.held.push((self.sequence, event));
    }

    async fn write(&mut self) {
        match self.append().await {
            Ok(()) => {
                self.held.clear();
                self.bytes = 0;
                self.unsure = false;
            }
            Err(error) => {
                self.unsure = true;
                let lost = self.held.len().saturating_sub(MOST);
                self.held.drain(..lost);
                tracing::warn!(%error, waiting = self.held.len(), lost, "the event log cannot be written; trying again");
            }
        }
    }

    async fn append(&mut self) -> Result<(), StageError> {
        if self.unsure {
            let there = self.newest().await?;
            self.held.retain(|(sequence, _)| *sequence > there);
        }
        if self.held.is_empty() {
            return Ok(());
        }
        self.table.append(rows(&self.run_id, &self.held).map_err(undone)?).await
    }

    /// The newest event of this run that the table has: a commit that seems to have failed may have succeeded.
    async fn newest(&self) -> Result<u64, StageError> {
        let query = format!("SELECT max(sequence) AS newest FROM input WHERE run_id = '{}'", self.run_id);
        let Some(answer) = self.table.read(None, &query).await? else { return Ok(0) };
        let batches: Vec<_> = answer.batches.try_collect().await?;
        let numbers = batches.iter().filter_map(|b| b.column_by_name("newest"));
        let newest = numbers.filter_map(|c| c.as_primitive_opt::<Int64Type>()?.iter().flatten().max());
        Ok(newest.max().and_then(|n| u64::try_from(n).ok()).unwrap_or(0))
    }
}

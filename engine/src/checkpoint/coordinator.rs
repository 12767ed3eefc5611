//! Commits epochs in order: all tables, then the completion record. There is one in a cluster.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use futures::{FutureExt, future};
use tokio::sync::mpsc;

use super::binding::Dropped;
use super::ledger::Ledger;
use super::state::{StateLog, StateManifest};
use super::{CheckpointStore, Completion, History, SourceCount};
use crate::Epoch;
use crate::bridge::{FaultCell, Outbox};
use crate::events::{Event, EventSender};
use crate::failpoint;
use crate::graph::panic_text;
use crate::progress::Progress;
use crate::stage::{Commit, Committed, Committer, Fault, Fence, StageError, Staged};

/// So many bindings are archived together: a restart reads no more, and twice as many objects are deleted then.
const KEPT: u64 = 64;

/// A sink with a committer, and what goes into the metadata of its commits.
pub(crate) struct TableSink {
    pub(crate) stage: String,
    pub(crate) committer: Box<dyn Committer>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// An epoch whose rows are all staged, in every sink and on every worker.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    pub(crate) epoch: Epoch,
    pub(crate) ingest_time: DateTime<Utc>,
    /// By sink.
    pub(crate) tables: BTreeMap<String, Vec<Staged>>,
    /// By stateful operator.
    pub(crate) state: BTreeMap<String, Vec<Staged>>,
    /// What was read, by source.
    pub(crate) sources: BTreeMap<String, SourceCount>,
    /// Splits that do not belong to the epoch after all, by source.
    pub(crate) dropped: Dropped,
}

/// Owner of all tables of the pipeline.
pub(crate) struct Coordinator {
    tables: Vec<TableSink>,
    state: Vec<StateLog>,
    manifests: BTreeMap<String, StateManifest>,
    store: CheckpointStore,
    ledger: Arc<Mutex<Ledger>>,
    /// Bindings that are not archived.
    kept: u64,
    events: EventSender,
}

impl Coordinator {
    /// Opens every table and makes sure that tables and state tell the same story.
    pub(crate) async fn open(
        mut tables: Vec<TableSink>,
        state: Vec<StateLog>,
        store: CheckpointStore,
        history: &History,
        ledger: Arc<Mutex<Ledger>>,
        events: EventSender,
    ) -> Result<(Self, Epoch), Fault> {
        let held = future::try_join_all(tables.iter_mut().map(|table| async {
            let fault = |error| Fault { stage: table.stage.clone(), epoch: None, error };
            let held = table.committer.committed().await.map_err(fault)?;
            agree(&table.stage, held, history, &store).map_err(fault)?;
            Ok(held.unwrap_or(0))
        }))
        .await?;
        let mut manifests = history.completed.as_ref().map(|c| c.state.clone()).unwrap_or_default();
        // A stage that comes back must not go on from where it was when it went.
        manifests.retain(|stage, _| state.iter().any(|log| log.stage() == stage));
        let coordinator = Self { tables, state, manifests, store, ledger, kept: history.kept as u64, events };
        Ok((coordinator, held.into_iter().max().unwrap_or(0)))
    }

    /// Commits what becomes ready, in order, until the graph is done or something fails.
    pub(crate) async fn run(
        mut self,
        mut ready: mpsc::UnboundedReceiver<Ready>,
        done: Outbox<Completion>,
        progress: Arc<Progress>,
        faults: FaultCell,
    ) {
        while let Some(epoch) = ready.recv().await {
            let number = epoch.epoch;
            if faults.is_raised() {
                break;
            }
            progress.staged(number);
            let done_with = AssertUnwindSafe(self.epoch(epoch, &progress)).catch_unwind().await;
            // Without a word the pipeline would stand still for ever.
            let done_with = done_with.unwrap_or_else(|panic| {
                let text = panic_text(panic.as_ref());
                Err(("checkpoint".to_owned(), StageError::internal(format!("committing panicked: {text}"))))
            });
            match done_with {
                Ok(completion) => {
                    progress.complete(&completion);
                    if done.send(completion).await.is_err() {
                        break;
                    }
                    self.upkeep().await;
                }
                Err((stage, error)) => {
                    faults.raise(Fault { stage, epoch: Some(number), error });
                    break;
                }
            }
        }
    }

    async fn epoch(&mut self, mut ready: Ready, progress: &Progress) -> Result<Completion, (String, StageError)> {
        let epoch = ready.epoch;
        failpoint::hit("after-staging", epoch);
        let checkpoint = |error| ("checkpoint".to_owned(), error);
        if !ready.dropped.is_empty() {
            self.store.drop_splits(epoch, &ready.dropped).await.map_err(checkpoint)?;
        }
        self.store.lease().verify().await.map_err(checkpoint)?;
        failpoint::hit("before-commits", epoch);
        let lease = self.store.lease().clone();
        let fence = Fence::new(move || {
            let lease = lease.clone();
            async move { lease.verify().await }.boxed()
        });
        let commits = self.tables.iter_mut().map(|table| {
            let staged = ready.tables.remove(&table.stage).unwrap_or_default();
            let commit = Commit {
                epoch,
                staged,
                ingest_time: ready.ingest_time,
                metadata: table.metadata.clone(),
                instance: self.store.instance().to_owned(),
                generation: self.store.lease().generation(),
                fence: fence.clone(),
            };
            let stage = table.stage.clone();
            let commit = async {
                let started = Instant::now();
                let committed = table.committer.commit(commit).await.map_err(|e| (table.stage.clone(), e))?;
                progress.committed(epoch, &table.stage, started.elapsed());
                failpoint::hit(&format!("after-commit:{}", table.stage), epoch);
                Ok::<(String, Committed), (String, StageError)>((table.stage.clone(), committed))
            };
            async move { progress.activities.follow(&stage, Some(epoch), "committing", commit).await }
        });
        // All of them are carried to their end, also when one fails: a commit is never dropped half-way.
        let results = future::join_all(commits).await;
        let tables = results.into_iter().collect::<Result<BTreeMap<_, _>, _>>()?;
        if let Err(fault) = same_rows(&tables, &ready.dropped) {
            // The next run must find the objects as they were bound.
            self.store.keep_splits(epoch, &ready.dropped).await.map_err(checkpoint)?;
            return Err(fault);
        }
        for log in &self.state {
            let before = self.manifests.remove(log.stage()).unwrap_or_default();
            let staged = ready.state.remove(log.stage()).unwrap_or_default();
            let after = log.advance(before, epoch, staged).await.map_err(|e| (log.stage().to_owned(), e))?;
            self.manifests.insert(log.stage().to_owned(), after);
        }
        failpoint::hit("after-commits", epoch);
        let state = self.manifests.clone();
        let completion = Completion { epoch, finished: Utc::now(), tables, sources: ready.sources, state };
        let recorded = self.store.complete(completion);
        let activities = &progress.activities;
        let recorded = activities.follow("checkpoint", Some(epoch), "recording that it is complete", recorded).await;
        let completion = recorded.map_err(checkpoint)?;
        self.manifests.clone_from(&completion.state);
        failpoint::hit("after-complete", epoch);
        self.forget(&ready.dropped);
        self.archive(epoch).await;
        Ok(completion)
    }

    async fn upkeep(&mut self) {
        let events = &self.events;
        let upkeep = self.tables.iter_mut().map(|table| async {
            let done = table.committer.upkeep().await;
            done.into_iter().for_each(|done| events.send(Event::upkeep(&table.stage, done)));
        });
        future::join_all(upkeep).await;
    }

    /// What was dropped may be found again.
    fn forget(&self, dropped: &Dropped) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, ids) in dropped {
            ids.iter().for_each(|(id, content)| ledger.forget(source, id, *content));
        }
    }

    /// Bindings become part of the archive now and then. What fails is tried again with a later epoch.
    async fn archive(&mut self, completed: Epoch) {
        self.kept += 1;
        if self.kept >= KEPT {
            self.kept = 0;
            if let Err(error) = self.store.archive(completed).await {
                tracing::warn!(%error, "the records of complete epochs could not be archived");
            }
            for log in &self.state {
                let manifest = self.manifests.get(log.stage()).cloned().unwrap_or_default();
                if let Err(error) = log.clean(&manifest, completed.saturating_sub(KEPT)).await {
                    tracing::warn!(stage = log.stage(), %error, "old files of operator state could not be deleted");
                }
            }
        }
    }
}

/// An earlier owner has committed the epoch to a table from the same binding, but knew nothing of what was dropped here.
fn same_rows(tables: &BTreeMap<String, Committed>, dropped: &Dropped) -> Result<(), (String, StageError)> {
    let another = tables.iter().find(|(_, committed)| committed.by_another);
    match another.zip(dropped.values().find_map(|splits| splits.keys().next())) {
        None => Ok(()),
        Some(((stage, _), split)) => Err((
            stage.clone(),
            StageError::user(
                "an instance of this pipeline that was taken for dead has committed the epoch to this table, and an object \
                 of the epoch was left out here because it has changed: the tables may hold different rows of it",
            )
            .object(split.clone())
            .hint("put the object back as it was and run again, or compute the tables anew with `alluvium refresh SPEC`"),
        )),
    }
}

/// A table may hold what is complete and what was bound after it, nothing else.
fn agree(stage: &str, held: Option<Epoch>, history: &History, store: &CheckpointStore) -> Result<(), StageError> {
    let completed = history.completed_epoch();
    let known = history.completed.as_ref().is_none_or(|c| c.tables.contains_key(stage));
    match held {
        Some(held) if held > history.last_bound => Err(StageError::user(format!(
            "the table holds epoch {held}, but the pipeline's state knows only {}",
            history.last_bound
        ))
        .object(store.url())
        .hint("the state was lost or `state:` points elsewhere; writing on would double rows. Put the state back, or use new tables")),
        Some(held) if held < completed => Err(StageError::user(format!("the table holds epoch {held}, but epoch {completed} was completed"))
            .hint("the table was restored to an older version; writing on would leave a hole. Put the table back, or compute it anew with `alluvium refresh SPEC --stage`")),
        None if completed > 0 && known => Err(StageError::user(format!("the table is new, but epoch {completed} was completed"))
            .hint("the table was deleted or moved; writing on would leave a hole. Put it back, or compute it anew with `alluvium refresh SPEC --stage`")),
        None if completed > 0 => {
            tracing::warn!(stage, "the table is new in this pipeline: it begins with epoch {}", completed + 1);
            Ok(())
        }
        _ => Ok(()),
    }
}

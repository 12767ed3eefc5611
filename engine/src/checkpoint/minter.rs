//! Makes epochs of what sources list: first those that an earlier run has bound, then new ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Timelike, Utc};
use futures::StreamExt;
use tokio::sync::watch;

use super::{Binding, CheckpointStore, History};
use crate::Epoch;
use crate::bridge::{FaultCell, Outbox};
use crate::graph::Minted;
use crate::spec::EpochLimits;
use crate::stage::{Fault, Source, Split, StageError};

/// The task that decides what every epoch consists of. There is one in a cluster.
pub(crate) struct Minter {
    store: CheckpointStore,
    sources: Vec<(String, Arc<dyn Source>)>,
    history: History,
    limits: EpochLimits,
    plan_hash: String,
    next: Epoch,
    stop: watch::Receiver<bool>,
}

/// Why minting ends early.
enum End {
    /// The operator is gone, or the run is to stop.
    Quiet,
    Failed(String, StageError),
}

/// The epoch that is being put together.
#[derive(Default)]
struct Gathering {
    splits: BTreeMap<String, Vec<Split>>,
    count: usize,
    bytes: u64,
}

impl Minter {
    pub(crate) fn new(
        store: CheckpointStore,
        sources: Vec<(String, Arc<dyn Source>)>,
        history: History,
        limits: EpochLimits,
        plan_hash: String,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let next = history.last_bound.max(history.completed_epoch()) + 1;
        Self { store, sources, history, limits, plan_hash, next, stop }
    }

    /// Mints until everything that is there is bound, or the run is to stop.
    pub(crate) async fn run(mut self, outbox: Outbox<Minted>, faults: FaultCell) {
        match self.mint(&outbox).await {
            Ok(()) | Err(End::Quiet) => {
                // Nobody to tell when the worker is gone.
                let _ = outbox.send(Minted::Done).await;
            }
            // The operator keeps its capability: the frontier must not say that all epochs are over.
            Err(End::Failed(stage, error)) => faults.raise(Fault { stage, epoch: Some(self.next), error }),
        }
    }

    async fn mint(&mut self, outbox: &Outbox<Minted>) -> Result<(), End> {
        for binding in std::mem::take(&mut self.history.open) {
            tracing::info!(epoch = binding.epoch, "replaying an epoch that an earlier run did not complete");
            outbox.send(Minted::Epoch(binding)).await.map_err(|_| End::Quiet)?;
        }
        let mut gathering = Gathering::default();
        for (name, source) in self.sources.clone() {
            let mut splits = source.list();
            loop {
                let next = tokio::select! {
                    biased;
                    _ = self.stop.wait_for(|stop| *stop) => return Err(End::Quiet),
                    next = splits.next() => next,
                };
                let Some(split) = next else { break };
                let split = split.map_err(|e| End::Failed(name.clone(), e))?;
                if !self.history.ledger.entry(name.clone()).or_default().insert(split.id.clone()) {
                    continue;
                }
                let full = gathering.count >= self.limits.splits
                    || gathering.bytes.saturating_add(split.bytes) > self.limits.bytes.0;
                if gathering.count > 0 && full {
                    self.bind(std::mem::take(&mut gathering), outbox).await?;
                }
                gathering.count += 1;
                gathering.bytes = gathering.bytes.saturating_add(split.bytes);
                gathering.splits.entry(name.clone()).or_default().push(split);
            }
        }
        if gathering.count > 0 {
            self.bind(gathering, outbox).await?;
        }
        Ok(())
    }

    async fn bind(&mut self, gathering: Gathering, outbox: &Outbox<Minted>) -> Result<(), End> {
        if *self.stop.borrow() {
            return Err(End::Quiet);
        }
        let binding = Binding {
            epoch: self.next,
            ingest_time: now(),
            plan_hash: self.plan_hash.clone(),
            instance: self.store.instance().to_owned(),
            splits: gathering.splits,
        };
        self.store.bind(&binding).await.map_err(|e| End::Failed("checkpoint".into(), e))?;
        self.next += 1;
        outbox.send(Minted::Epoch(binding)).await.map_err(|_| End::Quiet)
    }
}

/// In whole microseconds, as tables keep them: a replay must give the same value.
fn now() -> DateTime<Utc> {
    let now = Utc::now();
    now.with_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}

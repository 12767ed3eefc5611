//! Makes epochs of what sources list: first those that an earlier run has bound, then new ones.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Timelike, Utc};
use futures::FutureExt;
use tokio::sync::watch;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::listing::Listing;
use super::store::Bound;
use super::{Binding, CheckpointStore};
use crate::Epoch;
use crate::bridge::{FaultCell, Outbox};
use crate::graph::{Minted, panic_text};
use crate::progress::Progress;
use crate::runtime::Control;
use crate::spec::EpochLimits;
use crate::stage::{Fault, Split, StageError};

/// The task that decides what every epoch consists of. There is one in a cluster.
pub(crate) struct Minter {
    pub(crate) store: CheckpointStore,
    pub(crate) listing: Listing,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) limits: EpochLimits,
    pub(crate) plan_hash: String,
    /// Bound by an earlier run and not complete, oldest first.
    pub(crate) open: Vec<Binding>,
    /// The newest epoch that some table holds.
    pub(crate) held: Epoch,
    pub(crate) next: Epoch,
    /// Between two looks for new splits; `None`: what is there now is all.
    pub(crate) watch: Option<Duration>,
    /// What is changed while the run goes on.
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why minting ends early.
enum End {
    /// The operator is gone, or the run is to stop.
    Quiet,
    Failed(String, StageError),
}

impl From<(String, StageError)> for End {
    fn from((stage, error): (String, StageError)) -> Self {
        Self::Failed(stage, error)
    }
}

fn checkpoint(error: StageError) -> End {
    End::Failed("checkpoint".into(), error)
}

impl Minter {
    /// Mints until everything that is there is bound, or for ever when it watches, or until the run is to stop.
    pub(crate) async fn run(mut self, outbox: Outbox<Minted>, faults: FaultCell) {
        let minted = AssertUnwindSafe(self.mint(&outbox)).catch_unwind().await;
        // Without a word the pipeline would stand still for ever.
        let minted = minted.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref());
            Err(checkpoint(StageError::internal(format!("looking for new objects panicked: {text}"))))
        });
        match minted {
            Ok(()) | Err(End::Quiet) => {
                // Nobody to tell when the worker is gone.
                let _ = outbox.send(Minted::Done).await;
            }
            // The operator keeps its capability: the frontier must not say that all epochs are over.
            Err(End::Failed(stage, error)) => faults.raise(Fault { stage, epoch: Some(self.next), error }),
        }
    }

    async fn mint(&mut self, outbox: &Outbox<Minted>) -> Result<(), End> {
        let mut stop = self.stop.clone();
        // How much is to be done is known from the first moment.
        self.open.iter().for_each(|binding| self.progress.outstanding(binding));
        for binding in std::mem::take(&mut self.open) {
            tracing::info!(epoch = binding.epoch, "replaying an epoch that an earlier run did not complete");
            self.send(binding, None, outbox).await?;
        }
        // What is dropped from them is found by the first listing.
        self.all_complete(&mut stop).await?;
        let mut looked_again = false;
        loop {
            // Whoever has asked to stop does not want to wait for a long listing.
            tokio::select! {
                biased;
                () = asked(&mut stop) => return Err(End::Quiet),
                looked = self.listing.look() => looked?,
            }
            self.bind_found(outbox, Instant::now(), &mut stop).await?;
            if self.watch.is_some() || self.listing.is_cut() || self.listing.is_forgotten() {
                continue;
            }
            // An object that changed before it could be read is read as it is now; one that goes on changing is left
            // to the next run.
            self.all_complete(&mut stop).await?;
            let forgotten = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).take_forgotten();
            if !forgotten || looked_again {
                return Ok(());
            }
            looked_again = true;
            self.listing.forget();
        }
    }

    /// Binds what was found, until nothing is left or it is time to look again.
    async fn bind_found(
        &mut self,
        outbox: &Outbox<Minted>,
        looked: Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), End> {
        while !self.listing.is_empty() || (self.watch.is_some() && !self.listing.is_cut()) {
            let control = self.control.borrow_and_update().clone();
            let again = looked + control.interval(self.watch).unwrap_or_default();
            let mut changed = self.control.clone();
            tokio::select! {
                biased;
                () = asked(stop) => return Err(End::Quiet),
                () = tokio::time::sleep_until(again), if self.watch.is_some() => return Ok(()),
                Ok(()) = changed.changed() => {}
                room = outbox.has_room(), if !self.listing.is_empty() && !control.paused => {
                    room.map_err(|_| End::Quiet)?;
                    let unmeasured = control.limits(&self.limits).rows.is_some() && self.progress.bytes_per_row().is_none();
                    if !self.bind(outbox).await? {
                        return Ok(());
                    }
                    if unmeasured {
                        self.all_complete(stop).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits until every epoch is complete.
    async fn all_complete(&self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        tokio::select! {
            biased;
            () = asked(stop) => Err(End::Quiet),
            () = self.progress.all_complete() => Ok(()),
        }
    }

    /// Binds the next epoch. False if it was bound before, so that everything has to be looked at anew.
    async fn bind(&mut self, outbox: &Outbox<Minted>) -> Result<bool, End> {
        let splits = self.gather();
        let binding = Binding {
            epoch: self.next,
            ingest_time: now(),
            plan_hash: self.plan_hash.clone(),
            instance: self.store.instance().to_owned(),
            generation: self.store.lease().generation(),
            splits,
        };
        let started = Instant::now();
        let bound = self.store.bind(&binding);
        let activities = &self.progress.activities;
        let bound = activities.follow("checkpoint", Some(self.next), "recording which objects it has", bound).await;
        let (binding, ours) = match bound.map_err(checkpoint)? {
            Bound::Ours => (binding, true),
            Bound::Before(other) => (other, false),
        };
        self.remember(&binding);
        self.next += 1;
        if ours {
            self.listing.tell();
        } else {
            self.listing.forget();
        }
        self.send(binding, Some(started.elapsed()), outbox).await?;
        Ok(ours)
    }

    fn remember(&self, binding: &Binding) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, splits) in &binding.splits {
            splits.iter().for_each(|split| ledger.insert(source, split));
        }
    }

    async fn send(&self, binding: Binding, took: Option<Duration>, outbox: &Outbox<Minted>) -> Result<(), End> {
        self.progress.opened(&binding, took);
        let fixed = binding.epoch <= self.held;
        outbox.send(Minted::Epoch { binding, fixed }).await.map_err(|_| End::Quiet)
    }

    /// The splits of the next epoch: the first ones, one at least, as many as the limits allow.
    fn gather(&mut self) -> BTreeMap<String, Vec<Split>> {
        let limits = self.control.borrow().limits(&self.limits);
        let bytes_limit = match (limits.rows, self.progress.bytes_per_row()) {
            (None, _) => limits.bytes.0,
            // Nothing is known yet of how large a row is: one split tells.
            (Some(_), None) => 0,
            (Some(rows), Some(bytes)) => limits.bytes.0.min((rows as f64 * bytes) as u64),
        };
        let mut splits: BTreeMap<String, Vec<Split>> = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0_u64);
        while let Some(first) = self.listing.first() {
            let full = count >= limits.splits || bytes.saturating_add(first.bytes) > bytes_limit;
            if count > 0 && full {
                break;
            }
            let Some((source, split)) = self.listing.take() else { break };
            count += 1;
            bytes = bytes.saturating_add(split.bytes);
            splits.entry(source).or_default().push(split);
        }
        splits
    }
}

/// Ends when the run is to stop.
async fn asked(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
}

/// In whole microseconds, as tables keep them: a replay must give the same value.
fn now() -> DateTime<Utc> {
    let now = Utc::now();
    now.with_nanosecond(now.nanosecond() / 1_000 * 1_000).unwrap_or(now)
}

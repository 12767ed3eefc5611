//! Who may write: of all instances of a pipeline one, the owner of the newest lease.
//!
//! ```text
//! STATE/lease/<generation>.json   who; created once, so only one instance can have a generation
//! STATE/lease/<generation>.beat   written again and again while the owner lives; says so when it has ended in order
//! ```
//!
//! Whoever starts looks at the newest lease. An owner that has ended, or whose process is gone from this machine, is
//! replaced at once; one whose beat goes on is left alone; one whose beat stands still for [`EXPIRY`] is taken for dead, for
//! [`REPLACED`] if whoever asks has its address.
//! An owner that was only asleep finds a newer generation before it binds or commits, and stops. Should it slip through,
//! bindings that can be created only once and the tables' `txn` stop it: the lease decides who goes on, they keep rows
//! exact. No clock is compared between machines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::holder::Holder;
use super::records::{Created, Records};
use crate::bridge::FaultCell;
use crate::stage::{Fault, StageError};

/// Between two beats.
const BEAT: Duration = Duration::from_secs(2);
/// A beat that stands still for so long is that of a dead owner.
const EXPIRY: Duration = Duration::from_secs(10);
/// The same where its next start asks, most probably: longer than [`BEAT`] and what a request takes.
const REPLACED: Duration = Duration::from_secs(4);
/// A look at the leases holds for so long: shorter than [`EXPIRY`] by more than a request takes.
const FRESH: Duration = Duration::from_secs(4);
/// Between looks at another's beat.
const LOOK: Duration = Duration::from_millis(250);

/// A lease as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    generation: u64,
    /// The run.
    instance: String,
    holder: Holder,
    since: DateTime<Utc>,
}

/// A beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Beat {
    count: u64,
    /// The owner has ended and will write nothing more.
    released: bool,
}

/// The right to write the state and the tables of a pipeline, for as long as nobody takes it over.
#[derive(Clone)]
pub(crate) struct Lease {
    records: Records,
    record: Record,
    looked: Arc<Mutex<Look>>,
}

/// When somebody looked. Of the two clocks one stands still while a machine is suspended, and the other can be set.
#[derive(Debug, Clone, Copy)]
struct Look(Instant, SystemTime);

impl Look {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn is_fresh(self) -> bool {
        self.0.elapsed() < FRESH && self.1.elapsed().is_ok_and(|elapsed| elapsed < FRESH)
    }
}

impl Lease {
    /// Takes the lease, or says who has it.
    ///
    /// # Errors
    /// Another instance is alive, or the state cannot be reached.
    pub(crate) async fn acquire(records: &Records, instance: &str, holder: Holder) -> Result<Self, StageError> {
        let folder = records.path("lease");
        loop {
            let newest = newest(records, &folder).await?;
            if let Some(other) = newest {
                let record: Record = records.read(&json(&folder, other)).await?;
                if !record.holder.is_gone(&holder) {
                    let longest = if record.holder.is_replaced_by(&holder) { REPLACED } else { EXPIRY };
                    wait_for_end(records, &folder, &record, longest).await?;
                }
            }
            let generation = newest.unwrap_or(0) + 1;
            let record = Record { generation, instance: instance.into(), holder: holder.clone(), since: Utc::now() };
            match records.create(&json(&folder, generation), &record).await? {
                // Somebody else was quicker: look at that one.
                Created::Theirs(_) => continue,
                Created::Ours => {
                    let lease = Self { records: records.clone(), record, looked: Arc::new(Mutex::new(Look::now())) };
                    lease.beat(1, false).await?;
                    lease.forget_older().await;
                    return Ok(lease);
                }
            }
        }
    }

    /// Its number: a later owner has a higher one.
    pub(crate) fn generation(&self) -> u64 {
        self.record.generation
    }

    /// That it is still ours. To be called before anything is written that others could write; costs nothing when the
    /// last look is fresh.
    ///
    /// # Errors
    /// A newer owner, by name.
    pub(crate) async fn verify(&self) -> Result<(), StageError> {
        if self.looked.lock().unwrap_or_else(PoisonError::into_inner).is_fresh() {
            return Ok(());
        }
        self.look().await
    }

    /// The same, with a fresh look.
    pub(crate) async fn look(&self) -> Result<(), StageError> {
        // The moment before the answer: a lease may be lost while the answer is on its way.
        let now = Look::now();
        let folder = self.records.path("lease");
        match newest(&self.records, &folder).await? {
            Some(newest) if newest > self.generation() => {
                let record: Record = self.records.read(&json(&folder, newest)).await?;
                Err(StageError::user(format!("another instance of this pipeline has taken over: {}", name(&record)))
                    .object(self.records.url())
                    .hint(
                        "this one was silent for too long and was taken for dead; it has stopped and has lost nothing",
                    ))
            }
            _ => {
                *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = now;
                Ok(())
            }
        }
    }

    /// Beats until the lease is lost, which is a fault. Ends when the returned guard is dropped.
    pub(crate) fn keep(&self, runtime: &tokio::runtime::Handle, faults: FaultCell) -> Kept {
        let lease = self.clone();
        let task = runtime.spawn(async move {
            for count in 2.. {
                tokio::time::sleep(BEAT).await;
                if let Err(error) = lease.look().await {
                    // An unreachable state stops whoever wants to write; the lease need not.
                    if error.domain() == crate::stage::Domain::User {
                        return faults.raise(Fault { stage: "checkpoint".into(), epoch: None, error });
                    }
                    continue;
                }
                if let Err(error) = lease.beat(count, false).await {
                    tracing::warn!(%error, "the lease could not be renewed");
                }
            }
        });
        Kept { task, lease: self.clone() }
    }

    async fn beat(&self, count: u64, released: bool) -> Result<(), StageError> {
        let path = beat(&self.records.path("lease"), self.generation());
        self.records.put(&path, &Beat { count, released }).await
    }

    /// Older leases say nothing any more; what cannot be deleted now goes next time.
    async fn forget_older(&self) {
        let folder = self.records.path("lease");
        let Ok(all) = self.records.location().store.list(Some(&folder)).try_collect::<Vec<_>>().await else { return };
        for meta in all {
            if generation(&meta.location).is_some_and(|g| g < self.generation()) {
                let _ = self.records.location().store.delete(&meta.location).await;
            }
        }
    }
}

/// A lease that is being kept.
pub(crate) struct Kept {
    task: tokio::task::JoinHandle<()>,
    lease: Lease,
}

impl Kept {
    /// Ends in order, so that the next instance need not wait. To be called when nothing will be written any more.
    pub(crate) async fn release(self) {
        self.task.abort();
        // If it is lost the next instance waits a little.
        if let Err(error) = self.lease.beat(0, true).await {
            tracing::debug!(%error, "the lease could not be released");
        }
    }
}

/// Waits until another's lease has ended or expired.
async fn wait_for_end(records: &Records, folder: &Path, record: &Record, longest: Duration) -> Result<(), StageError> {
    let path = beat(folder, record.generation);
    let first: Option<Beat> = records.read_if_there(&path).await?;
    if first.as_ref().is_some_and(|b| b.released) {
        return Ok(());
    }
    tracing::warn!("another instance of this pipeline was running: {}; looking whether it still does", name(record));
    let since = Instant::now();
    while since.elapsed() < longest {
        tokio::time::sleep(LOOK).await;
        match records.read_if_there::<Beat>(&path).await? {
            Some(beat) if beat.released => return Ok(()),
            now if now != first => {
                return Err(StageError::user(format!(
                    "another instance of this pipeline is running: {}",
                    name(record)
                ))
                .object(records.url())
                .hint("one instance of a pipeline runs at a time; this one has stopped and has written nothing"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Who has the lease, unless it was given back.
pub(crate) async fn holder(records: &Records) -> Result<Option<String>, StageError> {
    let folder = records.path("lease");
    let Some(newest) = newest(records, &folder).await? else { return Ok(None) };
    let record: Record = records.read(&json(&folder, newest)).await?;
    let last: Option<Beat> = records.read_if_there(&beat(&folder, newest)).await?;
    Ok(if last.is_some_and(|b| b.released) { None } else { Some(name(&record)) })
}

async fn newest(records: &Records, folder: &Path) -> Result<Option<u64>, StageError> {
    let all: Vec<_> = records
        .location()
        .store
        .list(Some(folder))
        .try_collect()
        .await
        .map_err(|e| records.unreachable("list", folder, e))?;
    Ok(all.iter().filter(|m| m.location.extension() == Some("json")).filter_map(|m| generation(&m.location)).max())
}

fn generation(path: &Path) -> Option<u64> {
    path.filename()?.split('.').next()?.parse().ok()
}

fn json(folder: &Path, generation: u64) -> Path {
    folder.clone().join(format!("{generation:020}.json"))
}

fn beat(folder: &Path, generation: u64) -> Path {
    folder.clone().join(format!("{generation:020}.beat"))
}

fn name(record: &Record) -> String {
    let since = record.since.format("%Y-%m-%d %H:%M:%S UTC");
    format!("{}, since {since} (instance {})", record.holder, record.instance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;

    #[tokio::test]
    async fn an_address_alone_does_not_say_that_an_instance_is_gone() {
        let records = Records::new(Storage::default().open("memory:///lease/state").unwrap());
        let acquire = |machine| Lease::acquire(&records, machine, Holder::on(machine, "tweets-0:2101"));
        let first = acquire("a").await.unwrap();
        let kept = first.keep(&tokio::runtime::Handle::current(), FaultCell::default());
        let refused = acquire("b").await.err().unwrap();
        assert!(refused.to_string().starts_with("another instance of this pipeline is running: process "), "{refused}");
        first.look().await.unwrap();
        // It dies, and its next start need not wait as long as anybody else.
        kept.task.abort();
        let since = Instant::now();
        let next = acquire("b").await.unwrap();
        assert!((BEAT..EXPIRY).contains(&since.elapsed()), "{:?}", since.elapsed());
        assert_eq!(next.generation(), first.generation() + 1);
    }
}

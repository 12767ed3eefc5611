//! The records of epochs: bindings, what was dropped from them, completions.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::binding::Dropped;
use super::lease::Lease;
use super::ledger::Ledger;
use super::records::{Created, Records};
use super::{Binding, Completion, History};
use crate::Epoch;
use crate::failpoint;
use crate::stage::StageError;

/// Records read at once when a run starts.
const PARALLEL_READS: usize = 32;
const FORMAT: u32 = 2;
pub(super) const BINDINGS: &str = "bindings";
pub(super) const DROPPED: &str = "dropped";
pub(super) const COMPLETE: &str = "complete";

/// The records of one pipeline, for the owner of its lease.
#[derive(Clone)]
pub(crate) struct CheckpointStore {
    records: Records,
    instance: String,
    lease: Lease,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pipeline {
    pipeline: String,
    format: u32,
}

/// What became of a binding.
pub(crate) enum Bound {
    Ours,
    /// The epoch was bound before, by an owner that is gone: that is what it consists of.
    Before(Binding),
}

/// Claims a folder for the pipeline, or makes sure that it is the pipeline's.
pub(crate) async fn claim(records: &Records, pipeline: &str) -> Result<(), StageError> {
    let ours = Pipeline { pipeline: pipeline.into(), format: FORMAT };
    let path = records.path("pipeline.json");
    let Created::Theirs(bytes) = records.create(&path, &ours).await? else { return Ok(()) };
    let theirs: Pipeline = records.decode(&path, &bytes)?;
    if theirs == ours {
        return Ok(());
    }
    Err(StageError::user(format!(
        "the state belongs to pipeline `{}` in format {}, this is `{pipeline}` in format {FORMAT}",
        theirs.pipeline, theirs.format
    ))
    .object(records.url())
    .hint("give each pipeline a `state:` of its own"))
}

/// The newest completion.
pub(crate) async fn newest_completion(records: &Records) -> Result<Option<Completion>, StageError> {
    loop {
        let Some(&epoch) = records.epochs(COMPLETE).await?.last() else { return Ok(None) };
        // A running pipeline may have deleted it, for a newer one.
        if let Some(completion) = records.read_if_there(&records.of_epoch(COMPLETE, epoch)).await? {
            return Ok(Some(completion));
        }
    }
}

/// Bindings that are not archived, oldest first and without what was dropped, and the newest completion.
pub(crate) async fn recent(
    records: &Records,
    archived: Epoch,
) -> Result<(Vec<Binding>, Option<Completion>), StageError> {
    let completed = newest_completion(records).await?;
    Ok((bindings(records, archived + 1..=Epoch::MAX).await?, completed))
}

/// The bindings of some epochs that are not archived, oldest first and without what was dropped.
pub(crate) async fn bindings(records: &Records, of: RangeInclusive<Epoch>) -> Result<Vec<Binding>, StageError> {
    let dropped: BTreeSet<Epoch> = records.epochs(DROPPED).await?.into_iter().collect();
    let epochs = records.epochs(BINDINGS).await?.into_iter().filter(|e| of.contains(e));
    let read = epochs.map(|epoch| {
        let dropped = dropped.contains(&epoch);
        async move {
            let mut binding: Binding = records.read(&records.of_epoch(BINDINGS, epoch)).await?;
            if dropped {
                binding.drop_splits(&records.read(&records.of_epoch(DROPPED, epoch)).await?);
            }
            Ok::<_, StageError>(binding)
        }
    });
    stream::iter(read).buffered(PARALLEL_READS).try_collect().await
}

/// The completions of some epochs, as far as they are there.
pub(crate) async fn completions(records: &Records, of: RangeInclusive<Epoch>) -> Result<Vec<Completion>, StageError> {
    let epochs = records.epochs(COMPLETE).await?.into_iter().filter(|e| of.contains(e));
    let read = epochs.map(|epoch| async move { records.read_if_there(&records.of_epoch(COMPLETE, epoch)).await });
    let found: Vec<Option<Completion>> = stream::iter(read).buffered(PARALLEL_READS).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

impl CheckpointStore {
    pub(crate) fn new(records: Records, instance: String, lease: Lease) -> Self {
        Self { records, instance, lease }
    }

    /// Identifies this run in its records.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// The state's place, for messages.
    pub(crate) fn url(&self) -> String {
        self.records.url()
    }

    /// The right to write.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// What earlier runs have left.
    pub(crate) async fn history(&self) -> Result<History, StageError> {
        // An owner that was replaced may be archiving still.
        let read = async |archive: Arc<Archive>| {
            let (bindings, completed) = recent(&self.records, archive.upto()).await?;
            let mut ledger = Ledger::default();
            archive.each(|source, id, content| ledger.note(source, id, content)).await?;
            Ok((archive.upto(), bindings, completed, ledger))
        };
        let (archived, bindings, completed, ledger) = Archive::at_rest(&self.records, read).await?;
        History::new(completed, archived, ledger, bindings).map_err(|missing| {
            StageError::user(format!("the record of what epoch {missing} consists of is missing"))
                .object(format!("{}/{BINDINGS}", self.url()))
                .hint("it was deleted by hand, or the state was restored in part; put it back: without it its objects would be read again")
        })
    }

    /// Makes a binding durable.
    pub(crate) async fn bind(&self, binding: &Binding) -> Result<Bound, StageError> {
        self.lease.verify().await?;
        let path = self.records.of_epoch(BINDINGS, binding.epoch);
        match self.records.create(&path, binding).await? {
            Created::Ours => {
                failpoint::hit("after-binding", binding.epoch);
                Ok(Bound::Ours)
            }
            Created::Theirs(bytes) => {
                let theirs: Binding = self.records.decode(&path, &bytes)?;
                if theirs.generation < self.lease.generation() {
                    return Ok(Bound::Before(theirs));
                }
                self.lease.look().await?;
                Err(self.other("has bound", binding.epoch))
            }
        }
    }

    /// Writes down that some splits of an epoch were not read and do not belong to it. To be called before any table
    /// holds the epoch.
    pub(crate) async fn drop_splits(&self, epoch: Epoch, splits: &Dropped) -> Result<(), StageError> {
        self.lease.verify().await?;
        let path = self.records.of_epoch(DROPPED, epoch);
        // An earlier try of the epoch may have dropped others.
        let mut all: BTreeMap<String, BTreeSet<String>> = self.records.read_if_there(&path).await?.unwrap_or_default();
        for (source, ids) in splits {
            all.entry(source.clone()).or_default().extend(ids.keys().cloned());
        }
        self.records.put(&path, &all).await
    }

    /// Takes back what [`CheckpointStore::drop_splits`] has written down: a table has their rows after all.
    pub(crate) async fn keep_splits(&self, epoch: Epoch, splits: &Dropped) -> Result<(), StageError> {
        let path = self.records.of_epoch(DROPPED, epoch);
        let mut all: BTreeMap<String, BTreeSet<String>> = self.records.read_if_there(&path).await?.unwrap_or_default();
        for (source, ids) in &mut all {
            ids.retain(|id| !splits.get(source).is_some_and(|kept| kept.contains_key(id)));
        }
        self.records.put(&path, &all).await
    }

    /// Records that every table holds the epoch; gives the record that stands.
    pub(crate) async fn complete(&self, completion: Completion) -> Result<Completion, StageError> {
        let path = self.records.of_epoch(COMPLETE, completion.epoch);
        match self.records.create(&path, &completion).await? {
            Created::Ours => Ok(completion),
            // Written by an owner that was taken for dead; it says the same of the tables.
            Created::Theirs(bytes) => {
                self.lease.look().await?;
                self.records.decode(&path, &bytes)
            }
        }
    }

    /// Moves the bindings of complete epochs into the archive and deletes their records; the completion of `completed`
    /// stays.
    pub(crate) async fn archive(&self, completed: Epoch) -> Result<(), StageError> {
        let archive = Archive::open(&self.records).await?;
        let done = bindings(&self.records, archive.upto() + 1..=completed).await?;
        self.lease.verify().await?;
        archive.add(&done, completed).await?;
        failpoint::hit("after-archive", completed);
        self.lease.verify().await?;
        for folder in [BINDINGS, DROPPED, COMPLETE] {
            let last = if folder == COMPLETE { completed.saturating_sub(1) } else { completed };
            let gone = self.records.epochs(folder).await?.into_iter().filter(|e| *e <= last);
            let paths = gone.map(|epoch| self.records.of_epoch(folder, epoch));
            self.records.delete(paths.collect()).await?;
        }
        Ok(())
    }

    fn other(&self, what: &str, epoch: Epoch) -> StageError {
        StageError::user(format!("another instance of this pipeline is running: it {what} epoch {epoch}"))
            .object(self.url())
            .hint("let one instance of a pipeline run at a time; this one has stopped and has lost nothing")
    }
}

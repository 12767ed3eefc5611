//! Forgetting what was computed, so that a run computes it again.
//!
//! ```text
//! STATE/refresh.json     what is being cleared; written before anything is deleted, deleted when everything is
//! ```
//!
//! What is cleared goes in this order: archived bindings come back, the archive, completions, operator state, tables.
//! Each part may be cleared again, and while the record is there nothing else writes: a run refuses, because what is
//! deleted is for the command to say that asked for it, and for a person to confirm. When the record is gone, tables that
//! were kept hold epochs that are bound and not complete, and the others hold nothing: what a run finds after a crash.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::archive::Archive;
use super::store::{BINDINGS, COMPLETE, DROPPED};
use super::{Binding, Lease, Records};
use crate::Epoch;
use crate::events::Event;
use crate::failpoint;
use crate::plan::Plan;
use crate::secret::public_url;
use crate::stage::StageError;
use crate::tables::Tables;

/// Records written at once.
const PARALLEL_WRITES: usize = 32;
const RECORD: &str = "refresh.json";
const OPERATORS: &str = "operators";

/// What is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refresh {
    /// Bindings, ledger and what stages have resolved are forgotten, too.
    pub(crate) full: bool,
    /// Stages that are computed again; their tables are deleted.
    pub(crate) stages: BTreeSet<String>,
    /// The URLs of these tables, without secrets.
    pub(crate) tables: BTreeMap<String, String>,
}

impl Refresh {
    /// These stages of a plan and all that depend on them, or all stages.
    ///
    /// # Errors
    /// A stage that the plan does not have.
    pub(crate) fn of(plan: &Plan, asked: &[String], full: bool) -> Result<Self, String> {
        if let Some(unknown) = asked.iter().find(|name| plan.stage(name).is_none()) {
            let names: Vec<&str> = plan.stages.iter().map(|s| s.name.as_str()).collect();
            return Err(format!("there is no stage `{unknown}`; there are: {}", names.join(", ")));
        }
        let mut chosen = vec![false; plan.stages.len()];
        // Inputs come before those that read them.
        for (index, stage) in plan.stages.iter().enumerate() {
            let depends = stage.edges.iter().any(|edge| chosen.get(edge.from).copied().unwrap_or(false));
            chosen[index] = asked.is_empty() || asked.contains(&stage.name) || depends;
        }
        let stages = plan.stages.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(stage, _)| stage);
        let tables = stages.clone().filter_map(|s| Some((s.name.clone(), public_url(&s.outputs.table.as_ref()?.url))));
        Ok(Self { full, tables: tables.collect(), stages: stages.map(|s| s.name.clone()).collect() })
    }

    /// What an interrupted one has begun is part of it.
    ///
    /// # Errors
    /// The plan is another than then, and does not say where the tables lie.
    pub(crate) fn with(mut self, plan: &Plan, begun: Self) -> Result<Self, StageError> {
        for (stage, url) in begun.tables {
            let now = plan.stage(&stage).and_then(|s| s.outputs.table.as_ref());
            if now.is_none_or(|table| public_url(&table.url) != url) {
                return Err(StageError::user(format!(
                    "a refresh that was interrupted has begun to delete the table of stage `{stage}`, and the spec does \
                     not have it any more"
                ))
                .object(url)
                .hint("finish it with the spec that it was begun with"));
            }
            self.tables.insert(stage, url);
        }
        self.stages.extend(begun.stages);
        self.full |= begun.full;
        Ok(self)
    }

    /// For the event log.
    pub(crate) fn event(&self) -> Event {
        Event::refresh(&self.stages, self.full)
    }

    /// Whether a stage is computed again.
    pub(crate) fn has(&self, stage: &str) -> bool {
        self.stages.contains(stage)
    }
}

/// What an interrupted refresh has begun.
pub(crate) async fn interrupted(records: &Records) -> Result<Option<Refresh>, StageError> {
    records.read_if_there(&records.path(RECORD)).await
}

/// Refuses while a refresh is interrupted.
pub(crate) async fn require_none(records: &Records) -> Result<(), StageError> {
    let Some(begun) = interrupted(records).await? else { return Ok(()) };
    let stages: Vec<String> = begun.stages.iter().map(|s| format!("`{s}`")).collect();
    Err(StageError::user(format!("a refresh of this pipeline was interrupted: it was to clear {}", stages.join(", ")))
        .object(records.url())
        .hint("run `alluvium refresh` again: it finishes what was begun; nothing was written since"))
}

/// That every archived epoch says when it was bound.
///
/// # Errors
/// One that does not, because it was archived by an older version.
pub(crate) async fn require_replayable(records: &Records) -> Result<(), StageError> {
    let archive = Archive::open(records).await?;
    for segment in 0..archive.segments() {
        if let Some(row) = archive.rows_of(segment).await?.iter().find(|row| row.bound.is_none()) {
            return Err(not_replayable(records, row.epoch));
        }
    }
    Ok(())
}

fn not_replayable(records: &Records, epoch: Epoch) -> StageError {
    StageError::user(format!(
        "epoch {epoch} cannot be computed again: it was archived by an older version of alluvium, without its \
         processing time"
    ))
    .object(records.url())
    .hint("`alluvium refresh SPEC --full` lists and reads everything anew")
}

/// Clears what was computed.
///
/// # Errors
/// What cannot be read, written or deleted, or that the lease was lost. To be done again then.
pub(crate) async fn clear(
    plan: &Plan,
    tables: &dyn Tables,
    records: &Records,
    lease: &Lease,
    refresh: &Refresh,
) -> Result<(), StageError> {
    lease.look().await?;
    records.put(&records.path(RECORD), refresh).await?;
    failpoint::hit("refresh-recorded", 0);
    if refresh.full {
        for folder in [BINDINGS, DROPPED, "resolved"] {
            records.clear(folder).await?;
        }
    } else {
        restore(records, plan, lease.generation()).await?;
    }
    failpoint::hit("refresh-bindings", 0);
    lease.verify().await?;
    Archive::forget(records).await?;
    failpoint::hit("refresh-archive", 0);
    records.clear(COMPLETE).await?;
    failpoint::hit("refresh-completions", 0);
    records.clear(OPERATORS).await?;
    failpoint::hit("refresh-state", 0);
    for stage in &plan.stages {
        let Some(table) = stage.outputs.table.as_ref().filter(|_| refresh.has(&stage.name)) else { continue };
        lease.verify().await?;
        tables.table(&plan.storage, &table.url)?.delete().await?;
        failpoint::hit(&format!("refresh-table:{}", stage.name), 0);
    }
    lease.verify().await?;
    records.delete(vec![records.path(RECORD)]).await?;
    failpoint::hit("refresh-cleared", 0);
    Ok(())
}

/// Writes the bindings of archived epochs again. An epoch without splits is not in the archive; it gets the time of one
/// beside it, which no row has.
async fn restore(records: &Records, plan: &Plan, generation: u64) -> Result<(), StageError> {
    let empty = |epoch, ingest_time| Binding {
        epoch,
        ingest_time,
        plan_hash: plan.hash.clone(),
        instance: "refresh".into(),
        generation,
        splits: BTreeMap::new(),
    };
    let archive = Archive::open(records).await?;
    let (mut last, mut time) = (0, None);
    for segment in 0..archive.segments() {
        let mut bindings: Vec<Binding> = Vec::new();
        for row in archive.rows_of(segment).await? {
            let bound = row.bound.ok_or_else(|| not_replayable(records, row.epoch))?;
            if row.epoch > last {
                bindings.extend((last + 1..row.epoch).map(|epoch| empty(epoch, time.unwrap_or(bound))));
                bindings.push(empty(row.epoch, bound));
                (last, time) = (row.epoch, Some(bound));
            }
            if let Some(binding) = bindings.last_mut() {
                binding.splits.entry(row.source).or_default().push(row.split);
            }
        }
        write(records, bindings).await?;
    }
    let rest = (last + 1..=archive.upto()).map(|epoch| empty(epoch, time.unwrap_or_default()));
    write(records, rest.collect()).await
}

/// What is there already is the same: it was written before an interruption, or not deleted after it was archived.
async fn write(records: &Records, bindings: Vec<Binding>) -> Result<(), StageError> {
    let created = stream::iter(bindings)
        .map(|binding| async move { records.create(&records.of_epoch(BINDINGS, binding.epoch), &binding).await });
    created.buffer_unordered(PARALLEL_WRITES).try_for_each(|_| std::future::ready(Ok(()))).await
}

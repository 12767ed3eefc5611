//! What is known of complete epochs: from their records, from the archive, and from the logs of the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{TryStreamExt, future};

use super::archive::Archive;
use super::{Records, store};
use crate::Epoch;
use crate::plan::Plan;
use crate::stage::StageError;
use crate::tables::{Held, Tables};

/// A complete epoch. What is not known is left out: records of older epochs are archived, and logs are cleaned up.
#[derive(Debug, Clone, Default)]
pub struct PastEpoch {
    /// Its number.
    pub epoch: Epoch,
    /// Its processing time.
    pub bound: Option<DateTime<Utc>>,
    /// When the last table got it.
    pub committed: Option<DateTime<Utc>>,
    /// What it has read, by source.
    pub sources: BTreeMap<String, PastSource>,
    /// The versions that hold it, by stage.
    pub tables: BTreeMap<String, u64>,
    /// Hash of the plan that made it.
    pub plan: Option<String>,
    /// Facts about its data, such as a model's identity.
    pub lineage: BTreeMap<String, String>,
}

/// What an epoch has read of a source.
#[derive(Debug, Clone, Default)]
pub struct PastSource {
    /// Number of objects.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
    /// Their rows, as long as the epoch's completion record is kept.
    pub rows: Option<u64>,
}

/// The newest complete epochs, newest first and `most` of them at most. Needs no lease.
///
/// # Errors
/// When the state or the log of a table cannot be read.
pub async fn epochs(plan: &Plan, tables: &dyn Tables, most: u64) -> Result<Vec<PastEpoch>, StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    let Some(newest) = store::newest_completion(&records).await?.map(|c| c.epoch) else { return Ok(Vec::new()) };
    let first = (newest + 1).saturating_sub(most).max(1);
    let read = async |archive: Arc<Archive>| recorded(&records, &archive, first, newest).await;
    let mut all = Archive::at_rest(&records, read).await?;
    let with_table = plan.stages.iter().filter_map(|s| Some((&s.name, &s.outputs.table.as_ref()?.url)));
    let logs = with_table.map(|(stage, url)| async move {
        let held = tables.table(&plan.storage, url)?.held(&plan.pipeline, stage);
        let wanted = held.try_take_while(|h| future::ready(Ok(h.epoch >= first)));
        Ok::<_, StageError>((stage, wanted.try_collect::<Vec<Held>>().await?))
    });
    for (stage, log) in future::try_join_all(logs).await? {
        for held in log {
            if let Some(epoch) = all.get_mut(&held.epoch) {
                epoch.held(stage, held);
            }
        }
    }
    Ok(all.into_values().rev().collect())
}

/// What records and archive say of the epochs from `first` to `newest`.
async fn recorded(
    records: &Records,
    archive: &Archive,
    first: Epoch,
    newest: Epoch,
) -> Result<BTreeMap<Epoch, PastEpoch>, StageError> {
    let empty = |epoch| (epoch, PastEpoch { epoch, ..PastEpoch::default() });
    let mut all: BTreeMap<Epoch, PastEpoch> = (first..=newest).map(empty).collect();
    for segment in (0..archive.segments()).rev() {
        let rows = archive.rows_of(segment).await?;
        let oldest = rows.first().map(|row| row.epoch);
        for row in rows {
            let Some(epoch) = all.get_mut(&row.epoch) else { continue };
            epoch.bound = row.bound;
            epoch.sources.entry(row.source).or_default().add(row.split.bytes);
        }
        if oldest.is_some_and(|oldest| oldest < first) {
            break;
        }
    }
    for binding in store::bindings(records, first.max(archive.upto() + 1)..=newest).await? {
        let Some(epoch) = all.get_mut(&binding.epoch) else { continue };
        epoch.bound = Some(binding.ingest_time);
        epoch.plan = Some(binding.plan_hash);
        for (source, splits) in binding.splits {
            let read = epoch.sources.entry(source).or_default();
            splits.iter().for_each(|split| read.add(split.bytes));
        }
    }
    for completion in store::completions(records, first..=newest).await? {
        let Some(epoch) = all.get_mut(&completion.epoch) else { continue };
        epoch.committed = Some(completion.finished);
        for (source, count) in completion.sources {
            epoch.sources.entry(source).or_default().rows = Some(count.rows);
        }
    }
    Ok(all)
}

impl PastEpoch {
    /// What a table's log says.
    fn held(&mut self, stage: &str, held: Held) {
        self.tables.insert(stage.into(), held.version);
        self.committed = self.committed.max(held.committed);
        for (name, value) in held.metadata {
            match name.as_str() {
                "pipeline" => {}
                "planHash" => self.plan = Some(value),
                _ => drop(self.lineage.insert(name, value)),
            }
        }
    }
}

impl PastSource {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

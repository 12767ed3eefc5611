//! Which splits were bound and in which epoch, for commands that hold sources against the ledger: 32 bytes for each, and a
//! hash table's room beside them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::archive::Archive;
use super::ledger::{Identity, content_of, identity};
use super::{Records, store};
use crate::Epoch;
use crate::plan::Plan;
use crate::stage::{Split, StageError};

/// All splits that were ever bound.
#[derive(Debug, Default)]
pub struct Known {
    sources: BTreeMap<String, OfSource>,
}

/// The splits of a source.
#[derive(Debug, Default)]
pub(crate) struct OfSource {
    /// Content and epoch, by identity; of a split that was bound again, the newer ones.
    splits: HashMap<Identity, (u64, Epoch)>,
    /// The greatest identity.
    last: Option<String>,
    /// Splits that were bound again with another content.
    pub(crate) replaced: u64,
}

/// What the ledger has of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    New,
    /// It was bound with another content.
    Changed,
    /// It was bound in this epoch.
    Bound(Epoch),
}

/// What was bound so far. Needs no lease.
///
/// # Errors
/// When the state cannot be read.
pub async fn known(plan: &Plan) -> Result<Known, StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    let read = async |archive: Arc<Archive>| {
        let mut known = Known::default();
        for segment in 0..archive.segments() {
            for row in archive.rows_of(segment).await? {
                known.note(&row.source, &row.split, row.epoch);
            }
        }
        for binding in store::bindings(&records, archive.upto() + 1..=Epoch::MAX).await? {
            for (source, splits) in &binding.splits {
                splits.iter().for_each(|split| known.note(source, split, binding.epoch));
            }
        }
        Ok(known)
    };
    Archive::at_rest(&records, read).await
}

impl Known {
    /// What the ledger has of a split.
    pub fn look(&self, source: &str, split: &Split) -> Mark {
        match self.sources.get(source).and_then(|known| known.splits.get(&identity(&split.id))) {
            None => Mark::New,
            Some((content, epoch)) if *content == content_of(split) => Mark::Bound(*epoch),
            Some(_) => Mark::Changed,
        }
    }

    /// The greatest identity that was bound of a source.
    pub fn last(&self, source: &str) -> Option<&str> {
        self.sources.get(source)?.last.as_deref()
    }

    /// By source.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &OfSource)> {
        self.sources.iter().map(|(name, known)| (name.as_str(), known))
    }

    fn note(&mut self, source: &str, split: &Split, epoch: Epoch) {
        let known = self.sources.entry(source.into()).or_default();
        let content = content_of(split);
        if known.splits.insert(identity(&split.id), (content, epoch)).is_some_and(|(before, _)| before != content) {
            known.replaced += 1;
        }
        if known.last.as_deref().is_none_or(|last| last < split.id.as_str()) {
            known.last = Some(split.id.clone());
        }
    }
}

impl OfSource {
    /// Number of splits.
    pub(crate) fn len(&self) -> u64 {
        self.splits.len() as u64
    }
}

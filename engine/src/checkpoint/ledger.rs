//! Which splits were bound: exact, in 24 bytes for each.
//!
//! A split is remembered by the first 128 bits of the SHA-256 of its identity, so two of a billion splits are taken for
//! one with a probability of 1 in 10^20; and by 64 bits of what identifies its content.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::stage::Split;

/// All splits that were ever bound, by source.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    sources: BTreeMap<String, Seen>,
    forgotten: bool,
}

#[derive(Debug, Default)]
struct Seen {
    splits: HashMap<u128, u64>,
    /// The greatest identity.
    last: Option<String>,
}

/// What the ledger says of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    New,
    Same,
    /// It was bound with another content.
    Changed,
}

impl Ledger {
    /// Whether a split was bound.
    pub(crate) fn look(&self, source: &str, split: &Split) -> Known {
        match self.sources.get(source).and_then(|seen| seen.splits.get(&identity(&split.id))) {
            None => Known::New,
            Some(content) if *content == fingerprint(split.version.as_deref(), split.bytes, split.modified) => {
                Known::Same
            }
            Some(_) => Known::Changed,
        }
    }

    /// Remembers a split.
    pub(crate) fn insert(&mut self, source: &str, split: &Split) {
        self.note(source, &split.id, fingerprint(split.version.as_deref(), split.bytes, split.modified));
    }

    /// The same from a row of the ledger on storage.
    pub(crate) fn note(&mut self, source: &str, id: &str, content: u64) {
        if !self.sources.contains_key(source) {
            self.sources.insert(source.into(), Seen::default());
        }
        let Some(seen) = self.sources.get_mut(source) else { return };
        seen.splits.insert(identity(id), content);
        if seen.last.as_deref().is_none_or(|last| last < id) {
            seen.last = Some(id.into());
        }
    }

    /// Forgets a split that was not read after all: it will be found again.
    pub(crate) fn forget(&mut self, source: &str, id: &str) {
        if let Some(seen) = self.sources.get_mut(source) {
            self.forgotten |= seen.splits.remove(&identity(id)).is_some();
        }
    }

    /// Whether anything was forgotten since this was asked.
    pub(crate) fn take_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.forgotten)
    }

    /// The greatest identity that was bound.
    pub(crate) fn last(&self, source: &str) -> Option<&str> {
        self.sources.get(source)?.last.as_deref()
    }

    /// Number of splits.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.sources.values().map(|seen| seen.splits.len()).sum()
    }
}

pub(crate) fn identity(id: &str) -> u128 {
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().take(16).fold(0, |all, byte| (all << 8) | u128::from(*byte))
}

/// What identifies a split's content: its version, or what comes nearest.
pub(crate) fn fingerprint(version: Option<&str>, bytes: u64, modified: Option<DateTime<Utc>>) -> u64 {
    let text = match version {
        Some(version) => version.to_owned(),
        None => format!("{bytes} {}", modified.map_or(0, |m| m.timestamp_micros())),
    };
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(id: &str, version: &str) -> Split {
        Split { id: id.into(), bytes: 1, version: Some(version.into()), modified: None, rank: 0 }
    }

    #[test]
    fn a_split_is_new_the_same_or_changed() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.look("s", &split("b", "1")), Known::New);
        ledger.insert("s", &split("b", "1"));
        ledger.insert("s", &split("a", "1"));
        assert_eq!(ledger.look("s", &split("b", "1")), Known::Same);
        assert_eq!(ledger.look("s", &split("b", "2")), Known::Changed);
        assert_eq!(ledger.look("other", &split("b", "1")), Known::New);
        assert_eq!(ledger.last("s"), Some("b"));
        ledger.forget("s", "b");
        assert_eq!(ledger.look("s", &split("b", "1")), Known::New);
        assert_eq!(ledger.len(), 1);
    }

    #[test]
    fn without_a_version_size_and_time_tell() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0);
        let plain = |bytes, modified| Split { id: "a".into(), bytes, version: None, modified, rank: 0 };
        let mut ledger = Ledger::default();
        ledger.insert("s", &plain(5, at(7)));
        assert_eq!(ledger.look("s", &plain(5, at(7))), Known::Same);
        assert_eq!(ledger.look("s", &plain(6, at(7))), Known::Changed);
        assert_eq!(ledger.look("s", &plain(5, at(8))), Known::Changed);
    }
}

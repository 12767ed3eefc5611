//! Which splits were bound: exact, in 24 bytes for each, and a hash table's room beside them (30 to 60 altogether).
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
    splits: HashMap<Identity, u64>,
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
            Some(content) if *content == content_of(split) => Known::Same,
            Some(_) => Known::Changed,
        }
    }

    /// Remembers a split.
    pub(crate) fn insert(&mut self, source: &str, split: &Split) {
        self.note(source, &split.id, content_of(split));
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

    /// Forgets a split that was not read after all: it will be found again. If it was bound with another content since,
    /// that is what is remembered.
    pub(crate) fn forget(&mut self, source: &str, id: &str, content: u64) {
        let (id, seen) = (identity(id), self.sources.get_mut(source));
        if let Some(seen) = seen.filter(|seen| seen.splits.get(&id) == Some(&content)) {
            seen.splits.remove(&id);
            self.forgotten = true;
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

/// What a split's identity comes to. Two halves: a number of 128 bits would take 32 bytes, with what it stands beside.
pub(crate) type Identity = [u64; 2];

pub(crate) fn identity(id: &str) -> Identity {
    let digest = Sha256::digest(id.as_bytes());
    [number(&digest[..8]), number(&digest[8..16])]
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte))
}

/// What identifies the content that a split was listed with.
pub(crate) fn content_of(split: &Split) -> u64 {
    fingerprint(split.version.as_deref(), split.bytes, split.modified)
}

/// What identifies a split's content: its version, or what comes nearest.
pub(crate) fn fingerprint(version: Option<&str>, bytes: u64, modified: Option<DateTime<Utc>>) -> u64 {
    let text = match version {
        Some(version) => version.to_owned(),
        None => format!("{bytes} {}", modified.map_or(0, |m| m.timestamp_micros())),
    };
    number(&Sha256::digest(text.as_bytes())[..8])
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
        ledger.forget("s", "b", content_of(&split("b", "1")));
        assert_eq!(ledger.look("s", &split("b", "1")), Known::New);
        assert_eq!(ledger.len(), 1);
        assert!(ledger.take_forgotten());
    }

    #[test]
    fn what_was_bound_again_is_not_forgotten_with_what_it_was_before() {
        let mut ledger = Ledger::default();
        ledger.insert("s", &split("a", "1"));
        ledger.insert("s", &split("a", "2"));
        ledger.forget("s", "a", content_of(&split("a", "1")));
        assert_eq!(ledger.look("s", &split("a", "2")), Known::Same);
        assert!(!ledger.take_forgotten());
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

//! The rows that are kept, and what an epoch changes of them.

use std::collections::BTreeMap;

use crate::form::Bytes;

/// Which rows are kept, and which one of a key comes out: always the one with the least bytes of those that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Rows that only come: the first one is given, and only its key is kept.
    Once,
    /// Rows that only come: that of the newest epoch.
    Newest,
    /// Rows that only come: the least one.
    Best,
    /// Rows that come and go: all are kept with their number.
    Counted,
}

/// Rows of keys, each with a number.
pub(super) type Rows = BTreeMap<(Bytes, Bytes), i64>;

/// A row of a key and its number: how often it comes or goes, or how often it is there.
pub(super) type Counted = (Bytes, Bytes, i64);

/// What an epoch changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Rows that come and go, by key; of one key the one that goes first.
    pub(super) rows: Vec<Counted>,
    /// New numbers for the state; zero for what is not there any more.
    pub(super) state: Vec<Counted>,
}

pub(super) struct Kept {
    policy: Policy,
    rows: Rows,
}

impl Kept {
    pub(super) fn new(policy: Policy, rows: Rows) -> Self {
        Self { policy, rows }
    }

    /// Adds a row to those of an open epoch, of which only what may matter is held.
    pub(super) fn add(&self, open: &mut Rows, key: Bytes, row: Bytes, number: i64) {
        match self.policy {
            Policy::Counted => *open.entry((key, row)).or_default() += number,
            Policy::Once if self.rows.contains_key(&(key.clone(), Bytes::default())) => {}
            _ => {
                if let Some(other) = least(open, &key) {
                    if other <= row {
                        return;
                    }
                    open.remove(&(key.clone(), other));
                }
                open.insert((key, row), 1);
            }
        }
    }

    /// Takes the rows of an epoch in; epochs come in order.
    pub(super) fn close(&mut self, open: Rows) -> Changed {
        let mut changed = Changed::default();
        let mut updates = open.into_iter().peekable();
        while let Some(((key, row), number)) = updates.next() {
            if self.policy == Policy::Once {
                // The first epoch of the key, unless another one was open at the same time.
                let new = self.rows.insert((key.clone(), Bytes::default()), 1).is_none();
                if new {
                    changed.state.push((key.clone(), Bytes::default(), 1));
                    changed.rows.push((key, row, 1));
                }
                continue;
            }
            let before = least(&self.rows, &key);
            if self.policy == Policy::Counted {
                self.count(&key, row, number, &mut changed);
                while let Some(((_, row), number)) = updates.next_if(|((next, _), _)| *next == key) {
                    self.count(&key, row, number, &mut changed);
                }
            } else if before.as_ref().is_none_or(|b| row < *b || (self.policy == Policy::Newest && row != *b)) {
                if let Some(before) = &before {
                    self.rows.remove(&(key.clone(), before.clone()));
                }
                changed.state.push((key.clone(), row.clone(), 1));
                self.rows.insert((key.clone(), row), 1);
            }
            let after = least(&self.rows, &key);
            if before != after {
                changed.rows.extend(before.map(|row| (key.clone(), row, -1)));
                changed.rows.extend(after.map(|row| (key, row, 1)));
            }
        }
        changed
    }

    fn count(&mut self, key: &Bytes, row: Bytes, number: i64, changed: &mut Changed) {
        if number == 0 {
            return;
        }
        let place = (key.clone(), row);
        let count = self.rows.remove(&place).unwrap_or(0) + number;
        changed.state.push((place.0.clone(), place.1.clone(), count));
        if count != 0 {
            self.rows.insert(place, count);
        }
    }
}

/// The first row of a key that is there.
fn least(rows: &Rows, key: &Bytes) -> Option<Bytes> {
    let of_key = rows.range((key.clone(), Bytes::default())..).take_while(|((k, _), _)| k == key);
    of_key.filter(|(_, number)| **number > 0).map(|((_, row), _)| row.clone()).next()
}

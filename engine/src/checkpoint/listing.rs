//! What is there and not yet bound: sources are listed, what the ledger knows is left out.
//!
//! A listing of everything finds late objects whatever their names and times. When it takes long, those in between ask
//! only for identities after the greatest one known, so that new objects with ascending names are found at once. A source
//! whose splits come in order is never asked for anything else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::ledger::{Known, Ledger};
use crate::progress::{Backlog, Progress};
use crate::stage::{OnChange, Source, Split, StageError};

/// Splits of a source that are held; what is there beyond them is found by a later listing.
const MOST_HELD: usize = 100_000;
/// The same of a source whose splits come in order.
const MOST_AHEAD: usize = 10_000;
/// Listing everything may take this part of the time.
const SHARE: u32 = 10;

/// All sources of a pipeline, and what was found.
pub(crate) struct Listing {
    sources: Vec<Listed>,
    ledger: Arc<Mutex<Ledger>>,
    progress: Arc<Progress>,
}

struct Listed {
    name: String,
    source: Arc<dyn Source>,
    /// By rank and identity: the order in which splits are bound.
    found: BTreeMap<(i64, String), Split>,
    /// When the last listing of everything has ended, and how long it took.
    whole: Option<(Instant, Duration)>,
    /// What there was beyond what is held.
    beyond: Backlog,
    /// Changed splits of the last listing that were left alone.
    ignored: usize,
}

impl Listing {
    pub(crate) fn new(
        sources: Vec<(String, Arc<dyn Source>)>,
        ledger: Arc<Mutex<Ledger>>,
        progress: Arc<Progress>,
    ) -> Self {
        let listed = |(name, source)| Listed {
            name,
            source,
            found: BTreeMap::new(),
            whole: None,
            beyond: Backlog::default(),
            ignored: 0,
        };
        Self { sources: sources.into_iter().map(listed).collect(), ledger, progress }
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.iter().all(|s| s.found.is_empty())
    }

    /// Whether there was more than could be held.
    pub(crate) fn is_cut(&self) -> bool {
        self.sources.iter().any(|s| s.beyond.splits > 0)
    }

    /// Whether there is a source of which nothing is known.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.sources.iter().any(|s| s.whole.is_none())
    }

    /// What is held no longer counts: the next look is at everything.
    pub(crate) fn forget(&mut self) {
        self.sources.iter_mut().for_each(|s| s.whole = None);
    }

    /// Looks what is there.
    ///
    /// # Errors
    /// The source that cannot be listed, or that has a split which must not change and has.
    pub(crate) async fn look(&mut self) -> Result<(), (String, StageError)> {
        for listed in &mut self.sources {
            let name = listed.name.clone();
            let looked = listed.look(&self.ledger);
            let looked = self.progress.activities.follow(&name, None, "listing objects", looked).await;
            looked.map_err(|error| (name, error))?;
        }
        self.tell();
        Ok(())
    }

    /// The first split.
    pub(crate) fn first(&self) -> Option<&Split> {
        self.sources.iter().find_map(|s| s.found.first_key_value()).map(|(_, split)| split)
    }

    /// Takes the first split, with its source.
    pub(crate) fn take(&mut self) -> Option<(String, Split)> {
        self.sources.iter_mut().find_map(|s| s.found.pop_first().map(|(_, split)| (s.name.clone(), split)))
    }

    /// Says how much waits.
    pub(crate) fn tell(&self) {
        for listed in &self.sources {
            let mut backlog = listed.beyond;
            listed.found.values().for_each(|split| backlog.add(split));
            self.progress.set_waiting(&listed.name, backlog);
        }
    }
}

impl Listed {
    async fn look(&mut self, ledger: &Mutex<Ledger>) -> Result<(), StageError> {
        let last = ledger.lock().unwrap_or_else(PoisonError::into_inner).last(&self.name).map(str::to_owned);
        let recent = self.whole.is_some_and(|(ended, took)| ended.elapsed() < took * SHARE);
        let ordered = self.source.is_ordered();
        if ordered && self.whole.is_some() && !self.found.is_empty() {
            // Whatever has come since comes after it.
            return Ok(());
        }
        let after = last.filter(|_| ordered || (recent && self.beyond.splits == 0));
        let whole = ordered || after.is_none();
        let started = Instant::now();
        if whole {
            // Found anew: what has vanished meanwhile is not bound.
            self.found.clear();
            self.beyond = Backlog::default();
        }
        let (mut ignored, mut example) = (0, None);
        let mut splits = self.source.list(after.as_deref());
        while let Some(split) = splits.next().await {
            let split = split?;
            let known = ledger.lock().unwrap_or_else(PoisonError::into_inner).look(&self.name, &split);
            match (known, self.source.on_change()) {
                (Known::Same, _) => continue,
                (Known::Changed, OnChange::Ignore) => {
                    ignored += 1;
                    example.get_or_insert(split.id);
                    continue;
                }
                (Known::Changed, OnChange::Error) => return Err(changed(&split)),
                (Known::New, _) | (Known::Changed, OnChange::Reprocess) => {}
            }
            if ordered && self.found.len() >= MOST_AHEAD {
                self.beyond.add(&split);
                break;
            }
            self.found.insert((split.rank, split.id.clone()), split);
            if self.found.len() > MOST_HELD
                && let Some((_, cut)) = self.found.pop_last()
            {
                self.beyond.add(&cut);
            }
        }
        if whole {
            self.whole = Some((Instant::now(), started.elapsed()));
            if ignored > self.ignored
                && let Some(example) = example
            {
                tracing::warn!(
                    stage = self.name,
                    "objects written again after they had been read: {ignored}, for example {example}; they are not read again"
                );
            }
            self.ignored = ignored;
        }
        Ok(())
    }
}

fn changed(split: &Split) -> StageError {
    StageError::user("an object was written again after it had been read").object(&split.id).hint(
        "write new content under a new name; or set `on_change:` to `ignore` it, or to `reprocess` it as further rows",
    )
}

#[cfg(test)]
mod tests {
    use futures::stream::{self, BoxStream};

    use super::*;
    use crate::stage::{Read, ReadContext};

    /// Splits that are named by numbers; says what it was asked.
    struct Numbers(Mutex<Vec<Option<String>>>);

    fn split(n: usize) -> Split {
        Split { id: format!("{n:06}"), bytes: 1, version: None, modified: None, rank: 0 }
    }

    impl Source for Numbers {
        fn list(&self, after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(after.map(str::to_owned));
            let after = after.unwrap_or_default().to_owned();
            stream::iter((0..2 * MOST_AHEAD + 5).map(split).filter(move |s| s.id > after).map(Ok)).boxed()
        }

        fn read(&self, _split: Split, _context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
            stream::empty().boxed()
        }

        fn is_ordered(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn of_splits_in_order_only_the_next_ones_are_held_and_asked_for() {
        let source = Arc::new(Numbers(Mutex::default()));
        let (found, beyond) = (BTreeMap::new(), Backlog::default());
        let name = "numbers".to_owned();
        let mut listed = Listed { name, source: source.clone(), found, whole: None, beyond, ignored: 0 };
        let ledger = Mutex::new(Ledger::default());
        let mut bound = Vec::new();
        for held in [MOST_AHEAD, MOST_AHEAD, 5, 0] {
            listed.look(&ledger).await.ok();
            // What is held is bound first.
            listed.look(&ledger).await.ok();
            assert_eq!(listed.found.len(), held);
            while let Some((_, split)) = listed.found.pop_first() {
                ledger.lock().unwrap_or_else(PoisonError::into_inner).insert("numbers", &split);
                bound.push(split);
            }
        }
        assert_eq!(bound, (0..2 * MOST_AHEAD + 5).map(split).collect::<Vec<_>>());
        let asked = source.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let last = |n: usize| Some(split(n).id);
        let end = last(2 * MOST_AHEAD + 4);
        assert_eq!(asked, [None, last(MOST_AHEAD - 1), last(2 * MOST_AHEAD - 1), end.clone(), end]);
    }
}

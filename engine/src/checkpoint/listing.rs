//! What is there and not yet bound: sources are listed, what the ledger knows is left out.
//!
//! A listing of everything finds late objects whatever their names and times. When it takes long, those in between ask
//! only for identities after the greatest one known, so that new objects with ascending names are found at once. A source
//! whose splits come in order is never asked for anything else.
//!
//! When there is more than may be held, and a listing was seen to come in the order of binding, what is beyond is asked for
//! piece by piece, each after the one before; then everything is listed once more. So a million objects cost three
//! listings, and not one for each hundred thousand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::ledger::{Known, Ledger};
use crate::progress::{Backlog, Progress};
use crate::stage::{OnChange, Source, Split, StageError};

/// Splits of a source that are held; what is there beyond them is found by a later listing.
const MOST_HELD: usize = if cfg!(test) { 1_000 } else { 100_000 };
/// The same of a source whose splits come in order.
const MOST_AHEAD: usize = if cfg!(test) { 100 } else { 10_000 };
/// Listing everything may take this part of the time.
const SHARE: u32 = 10;

/// All sources of a pipeline, and what was found.
pub(crate) struct Listing {
    sources: Vec<Listed>,
    /// The source whose turn it is: one that has much must not keep others waiting.
    turn: usize,
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
    /// The greatest identity that was held, if everything beyond comes after it.
    resume: Option<String>,
    /// Changed splits of the last listing that were left alone.
    ignored: usize,
}

impl Listing {
    pub(crate) fn new(
        sources: Vec<(String, Arc<dyn Source>)>,
        ledger: Arc<Mutex<Ledger>>,
        progress: Arc<Progress>,
    ) -> Self {
        let listed = |(name, source)| Listed::new(name, source);
        Self { sources: sources.into_iter().map(listed).collect(), turn: 0, ledger, progress }
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.iter().all(|s| s.found.is_empty())
    }

    /// Whether there was more than could be held.
    pub(crate) fn is_cut(&self) -> bool {
        self.sources.iter().any(|s| s.beyond.splits > 0 || s.resume.is_some())
    }

    /// Whether there is a source of which nothing is known.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.sources.iter().any(|s| s.whole.is_none())
    }

    /// What is held no longer counts: the next look is at everything.
    pub(crate) fn forget(&mut self) {
        self.sources.iter_mut().for_each(|s| (s.whole, s.resume) = (None, None));
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

    /// The split that is next: of the sources in turn, the first of each.
    pub(crate) fn first(&self) -> Option<&Split> {
        self.sources[next(&self.sources, self.turn)?].found.first_key_value().map(|(_, split)| split)
    }

    /// Takes that split, with its source.
    pub(crate) fn take(&mut self) -> Option<(String, Split)> {
        let next = next(&self.sources, self.turn)?;
        self.turn = next + 1;
        let source = &mut self.sources[next];
        source.found.pop_first().map(|(_, split)| (source.name.clone(), split))
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

/// The source that has something, beginning with the one whose turn it is.
fn next(sources: &[Listed], turn: usize) -> Option<usize> {
    let all = sources.len();
    (turn..turn + all).map(|n| n % all).find(|n| !sources[*n].found.is_empty())
}

impl Listed {
    fn new(name: String, source: Arc<dyn Source>) -> Self {
        let (found, beyond) = (BTreeMap::new(), Backlog::default());
        Self { name, source, found, whole: None, beyond, resume: None, ignored: 0 }
    }

    async fn look(&mut self, ledger: &Mutex<Ledger>) -> Result<(), StageError> {
        let last = ledger.lock().unwrap_or_else(PoisonError::into_inner).last(&self.name).map(str::to_owned);
        let recent = self.whole.is_some_and(|(ended, took)| ended.elapsed() < took * SHARE);
        if self.source.is_ordered() {
            // Whatever has come since comes after what is held.
            return if self.whole.is_some() && !self.found.is_empty() {
                Ok(())
            } else {
                self.ahead(ledger, last.as_deref()).await
            };
        }
        match self.resume.clone() {
            // What is held is bound first.
            Some(_) if !self.found.is_empty() => Ok(()),
            Some(after) => self.go_on(ledger, &after).await,
            None if self.beyond.splits > 0 && recent && !self.found.is_empty() => Ok(()),
            None if self.beyond.splits == 0 && recent && last.is_some() => self.newer(ledger, last.as_deref()).await,
            None => self.everything(ledger).await,
        }
    }

    /// Asks for everything.
    async fn everything(&mut self, ledger: &Mutex<Ledger>) -> Result<(), StageError> {
        let started = Instant::now();
        // Found anew: what has vanished meanwhile is not bound.
        self.found.clear();
        self.beyond = Backlog::default();
        let (mut ignored, mut example) = (0, None);
        let mut order = Order::default();
        let mut splits = self.source.list(None);
        while let Some(split) = splits.next().await {
            let split = split?;
            order.see(&split);
            match self.judge(ledger, &split)? {
                Verdict::Take => self.hold(split),
                Verdict::Known => {}
                Verdict::Ignore => {
                    ignored += 1;
                    example.get_or_insert(split.id);
                }
            }
        }
        self.whole = Some((Instant::now(), started.elapsed()));
        let cut = self.beyond.splits > 0 && order.is_kept();
        self.resume = self.found.last_key_value().filter(|_| cut).map(|((_, id), _)| id.clone());
        if ignored > self.ignored
            && let Some(example) = example
        {
            tracing::warn!(
                stage = self.name,
                "objects written again after they had been bound to an epoch: {ignored}, for example {example}; they are not read again"
            );
        }
        self.ignored = ignored;
        Ok(())
    }

    /// Asks for what comes after the greatest identity that was bound.
    async fn newer(&mut self, ledger: &Mutex<Ledger>, after: Option<&str>) -> Result<(), StageError> {
        let mut come = BTreeMap::new();
        let mut splits = self.source.list(after);
        while let Some(split) = splits.next().await {
            let split = split?;
            if let Verdict::Take = self.judge(ledger, &split)? {
                come.insert(split.id.clone(), split.rank);
                self.hold(split);
            }
        }
        // One that was written again while it waited has another rank now, and is there once.
        self.found.retain(|(rank, id), _| come.get(id).is_none_or(|newest| newest == rank));
        Ok(())
    }

    /// Asks for the next piece of what could not be held.
    async fn go_on(&mut self, ledger: &Mutex<Ledger>, after: &str) -> Result<(), StageError> {
        let mut splits = self.source.list(Some(after));
        while self.found.len() < MOST_HELD {
            let Some(split) = splits.next().await else {
                // Some may have come before these meanwhile.
                (self.beyond, self.resume, self.whole) = (Backlog::default(), None, None);
                return Ok(());
            };
            let split = split?;
            self.resume = Some(split.id.clone());
            if let Verdict::Take = self.judge(ledger, &split)? {
                self.beyond.take(&split);
                self.hold(split);
            }
        }
        Ok(())
    }

    /// Asks a source whose splits come in order for the next ones.
    async fn ahead(&mut self, ledger: &Mutex<Ledger>, after: Option<&str>) -> Result<(), StageError> {
        let started = Instant::now();
        self.found.clear();
        self.beyond = Backlog::default();
        let mut splits = self.source.list(after);
        while let Some(split) = splits.next().await {
            let split = split?;
            if let Verdict::Take = self.judge(ledger, &split)? {
                if self.found.len() >= MOST_AHEAD {
                    self.beyond.add(&split);
                    break;
                }
                self.hold(split);
            }
        }
        self.whole = Some((Instant::now(), started.elapsed()));
        Ok(())
    }

    fn hold(&mut self, split: Split) {
        self.found.insert((split.rank, split.id.clone()), split);
        if self.found.len() > MOST_HELD
            && let Some((_, cut)) = self.found.pop_last()
        {
            self.beyond.add(&cut);
        }
    }

    fn judge(&self, ledger: &Mutex<Ledger>, split: &Split) -> Result<Verdict, StageError> {
        let known = ledger.lock().unwrap_or_else(PoisonError::into_inner).look(&self.name, split);
        match (known, self.source.on_change()) {
            (Known::Same, _) => Ok(Verdict::Known),
            (Known::Changed, OnChange::Ignore) => Ok(Verdict::Ignore),
            (Known::Changed, OnChange::Error) => Err(changed(split)),
            (Known::New, _) | (Known::Changed, OnChange::Reprocess) => Ok(Verdict::Take),
        }
    }
}

/// What becomes of a split that is listed.
enum Verdict {
    Take,
    Known,
    /// It was written again, and nobody wants that.
    Ignore,
}

/// Whether splits came in the order in which they are bound.
#[derive(Default)]
struct Order {
    last: Option<(i64, String)>,
    broken: bool,
}

impl Order {
    fn see(&mut self, split: &Split) {
        if self.broken {
            return;
        }
        // Ranks of their own, such as times, come in no order that could be asked for.
        self.broken = self.last.as_ref().is_some_and(|(rank, id)| *rank != split.rank || *id >= split.id);
        match &mut self.last {
            Some((_, id)) => id.clone_from(&split.id),
            None => self.last = Some((split.rank, split.id.clone())),
        }
    }

    fn is_kept(&self) -> bool {
        !self.broken
    }
}

fn changed(split: &Split) -> StageError {
    StageError::user("an object was written again after it had been bound to an epoch").object(&split.id).hint(
        "write new content under a new name; or set `on_change:` to `ignore` it, or to `reprocess` it as further rows",
    )
}

#[cfg(test)]
mod tests;

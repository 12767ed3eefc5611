//! What is asked for, in which order, and how often.

use std::sync::PoisonError;

use futures::stream::{self, BoxStream};

use super::*;
use crate::stage::{Read, ReadContext};

/// Splits that are named by numbers; says what it was asked.
struct Numbers {
    count: usize,
    ordered: bool,
    /// The last ones come first.
    backwards: bool,
    asked: Mutex<Vec<Option<String>>>,
}

impl Numbers {
    fn new(count: usize, ordered: bool) -> Self {
        Self { count, ordered, backwards: false, asked: Mutex::default() }
    }

    fn asked(&self) -> Vec<Option<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn split(n: usize) -> Split {
    Split { id: format!("{n:06}"), bytes: 1, version: None, modified: None, rank: 0 }
}

impl Source for Numbers {
    fn list(&self, after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(after.map(str::to_owned));
        let after = after.unwrap_or_default().to_owned();
        let (count, backwards) = (self.count, self.backwards);
        let all = (0..count).map(move |n| split(if backwards { count - 1 - n } else { n }));
        stream::iter(all.filter(move |s| s.id > after).map(Ok)).boxed()
    }

    fn read(&self, _split: Split, _context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
        stream::empty().boxed()
    }

    fn is_ordered(&self) -> bool {
        self.ordered
    }
}

/// Takes all that is held, as if it were bound.
fn bind(listed: &mut Listed, ledger: &Mutex<Ledger>, bound: &mut Vec<Split>) {
    while let Some((_, split)) = listed.found.pop_first() {
        ledger.lock().unwrap_or_else(PoisonError::into_inner).insert(&listed.name, &split);
        bound.push(split);
    }
}

#[tokio::test]
async fn of_splits_in_order_only_the_next_ones_are_held_and_asked_for() {
    let source = Arc::new(Numbers::new(2 * MOST_AHEAD + 5, true));
    let mut listed = Listed::new("numbers".into(), source.clone());
    let ledger = Mutex::new(Ledger::default());
    let mut bound = Vec::new();
    for held in [MOST_AHEAD, MOST_AHEAD, 5, 0] {
        listed.look(&ledger).await.ok();
        // What is held is bound first.
        listed.look(&ledger).await.ok();
        assert_eq!(listed.found.len(), held);
        bind(&mut listed, &ledger, &mut bound);
    }
    assert_eq!(bound, (0..2 * MOST_AHEAD + 5).map(split).collect::<Vec<_>>());
    let last = |n: usize| Some(split(n).id);
    let end = last(2 * MOST_AHEAD + 4);
    assert_eq!(source.asked(), [None, last(MOST_AHEAD - 1), last(2 * MOST_AHEAD - 1), end.clone(), end]);
}

#[tokio::test]
async fn what_cannot_be_held_is_asked_for_piece_by_piece() {
    let count = 2 * MOST_HELD + 5;
    let source = Arc::new(Numbers::new(count, false));
    let mut listed = Listed::new("numbers".into(), source.clone());
    let ledger = Mutex::new(Ledger::default());
    let mut bound = Vec::new();
    for (held, beyond) in [(MOST_HELD, MOST_HELD + 5), (MOST_HELD, 5), (5, 0), (0, 0)] {
        listed.look(&ledger).await.ok();
        listed.look(&ledger).await.ok();
        assert_eq!((listed.found.len(), listed.beyond.splits), (held, beyond as u64), "after {} bound", bound.len());
        bind(&mut listed, &ledger, &mut bound);
    }
    assert_eq!(bound, (0..count).map(split).collect::<Vec<_>>());
    let asked = source.asked();
    let last = |n: usize| Some(split(n).id);
    assert_eq!(asked[..3], [None, last(MOST_HELD - 1), last(2 * MOST_HELD - 1)]);
    // All pieces were there: everything is listed once more, and nothing is new.
    assert_eq!(asked[3], None);
    assert!(listed.resume.is_none() && listed.whole.is_some());
}

#[tokio::test]
async fn a_listing_in_another_order_is_not_left_off() {
    let count = MOST_HELD + 5;
    let source = Arc::new(Numbers { backwards: true, ..Numbers::new(count, false) });
    let mut listed = Listed::new("numbers".into(), source.clone());
    let ledger = Mutex::new(Ledger::default());
    let mut bound = Vec::new();
    for held in [MOST_HELD, 5, 0] {
        listed.look(&ledger).await.ok();
        assert_eq!(listed.found.len(), held);
        bind(&mut listed, &ledger, &mut bound);
    }
    assert_eq!(bound, (0..count).map(split).collect::<Vec<_>>());
    assert_eq!(source.asked()[..2], [None, None]);
}

#[tokio::test]
async fn a_split_that_is_written_again_while_it_waits_is_held_once() {
    /// One split, whose time is the number of times that it was listed.
    struct Again(Mutex<i64>);

    impl Source for Again {
        fn list(&self, _after: Option<&str>) -> BoxStream<'static, Result<Split, StageError>> {
            let mut rank = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *rank += 1;
            stream::iter([Ok(Split { rank: *rank, ..split(1) })]).boxed()
        }

        fn read(&self, _split: Split, _context: ReadContext) -> BoxStream<'static, Result<Read, StageError>> {
            stream::empty().boxed()
        }
    }

    let mut listed = Listed::new("again".into(), Arc::new(Again(Mutex::default())));
    let ledger = Mutex::new(Ledger::default());
    ledger.lock().unwrap_or_else(PoisonError::into_inner).insert("again", &split(0));
    listed.look(&ledger).await.ok();
    // Only what comes after the known ones is asked for now.
    listed.whole = Some((Instant::now(), Duration::from_secs(1_000)));
    listed.look(&ledger).await.ok();
    let held: Vec<_> = listed.found.keys().collect();
    assert_eq!(held, [&(2, split(1).id)]);
}

#[tokio::test]
async fn sources_take_turns() {
    let names = ["many", "few"];
    let sources = [5, 2].map(|n| Arc::new(Numbers::new(n, false)) as Arc<dyn Source>);
    let mut listed: Vec<Listed> =
        names.iter().zip(sources).map(|(name, source)| Listed::new((*name).into(), source)).collect();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    for of in &mut listed {
        of.look(&ledger).await.ok();
    }
    let mut turn = 0;
    let mut taken = Vec::new();
    while let Some(next) = next(&listed, turn) {
        turn = next + 1;
        listed[next].found.pop_first();
        taken.push(listed[next].name.clone());
    }
    assert_eq!(taken, ["many", "few", "many", "few", "many", "many", "many"]);
}

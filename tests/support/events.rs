//! Random rows that are added, changed and removed, epoch by epoch, and tables of them as of each epoch.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Call, Folder, alluvium, read_epochs};

/// Head of a spec: `events` are all rows; `left_now` and `right_now` are the changes of rows by `id` that are alive.
const HEAD: &str = r#"
pipeline: events
state: ${LAKE}/_state
epoch: { splits: 1, open: 4 }
stages:
  events: { kind: files, url: "${IN}", format: json,
            schema: { side: string, seq: bigint, id: bigint, k: bigint, w: bigint, alive: boolean } }
  left_all:   { kind: sql, input: events, query: "SELECT seq, id, k, w, alive FROM input WHERE side = 'left'" }
  right_all:  { kind: sql, input: events, query: "SELECT seq, id, k, w, alive FROM input WHERE side = 'right'" }
  left_last:  { kind: dedup, input: left_all, by: [id], keep: last, order: seq }
  right_last: { kind: dedup, input: right_all, by: [id], keep: last, order: seq }
  left_now:   { kind: sql, input: left_last, query: "SELECT id, k, w FROM input WHERE alive" }
  right_now:  { kind: sql, input: right_last, query: "SELECT id, k, w FROM input WHERE alive" }
"#;

/// A row as it is from now on.
#[derive(Debug, Clone)]
pub struct Event {
    pub left: bool,
    pub seq: i64,
    pub id: i64,
    pub k: Option<i64>,
    pub w: Option<i64>,
    pub alive: bool,
}

/// Rows and how often each is there.
pub type Bag = BTreeMap<String, i64>;

pub fn bag(rows: impl IntoIterator<Item = Vec<Value>>) -> Bag {
    let mut bag = Bag::new();
    for row in rows {
        *bag.entry(json!(row).to_string()).or_default() += 1;
    }
    bag
}

/// A pipeline over random events.
pub struct Events {
    pub folder: Folder,
    spec: String,
    random: ChaCha8Rng,
    /// One file each.
    pub epochs: Vec<Vec<Event>>,
}

impl Events {
    /// `stages` go on after the head.
    pub fn new(name: &str, stages: &str, seed: u64) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", &format!("{HEAD}{stages}")).display().to_string();
        Self { folder, spec, random: ChaCha8Rng::seed_from_u64(seed), epochs: Vec::new() }
    }

    /// So many epochs more, some of them with nothing for one side.
    pub fn add(&mut self, epochs: usize) {
        for _ in 0..epochs {
            let first = self.epochs.iter().map(Vec::len).sum::<usize>() as i64;
            let rows = self.random.random_range(1..30);
            let one_side = self.random.random_bool(0.3).then(|| self.random.random_bool(0.5));
            let random = &mut self.random;
            let row = |seq| Event {
                left: one_side.unwrap_or_else(|| random.random_bool(0.5)),
                seq,
                id: random.random_range(0..15),
                k: random.random_bool(0.9).then(|| random.random_range(0..6)),
                w: random.random_bool(0.9).then(|| random.random_range(0..3)),
                alive: random.random_bool(0.7),
            };
            let events: Vec<Event> = (first..first + rows).map(row).collect();
            let line = |e: &Event| {
                let side = if e.left { "left" } else { "right" };
                json!({ "side": side, "seq": e.seq, "id": e.id, "k": e.k, "w": e.w, "alive": e.alive }).to_string()
            };
            let lines: Vec<String> = events.iter().map(line).collect();
            self.folder.write(&format!("in/{:03}.json", self.epochs.len()), &(lines.join("\n") + "\n"));
            self.epochs.push(events);
        }
    }

    pub fn call(&self, workers: usize) -> Call {
        self.call_with(&["--workers", &workers.to_string()])
    }

    pub fn call_with(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> = ["run", self.spec.as_str()].iter().chain(arguments).copied().collect();
        let call = alluvium(&all);
        call.env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    /// Runs with a point at which the process kills itself, and makes sure that it did.
    #[track_caller]
    pub fn kill_at(&self, point: &str, workers: usize) {
        self.call(workers).killed_at(point);
    }

    /// All events up to an epoch, those of the newest epoch last.
    pub fn until(&self, epoch: usize, left: bool) -> Vec<&Event> {
        self.epochs[..epoch].iter().flatten().filter(|e| e.left == left).collect()
    }

    /// The rows that are alive after an epoch.
    pub fn now(&self, epoch: usize, left: bool) -> Vec<&Event> {
        let last: BTreeMap<i64, &Event> = self.until(epoch, left).into_iter().map(|e| (e.id, e)).collect();
        last.into_values().filter(|e| e.alive).collect()
    }

    /// A table after every epoch is what is expected, and a log of changes has no more of them than needed.
    #[track_caller]
    pub fn assert_every_epoch(&self, table: &str, columns: &[&str], expected: impl Fn(usize) -> Bag) {
        let found = read_epochs(&self.folder.text(&format!("lake/{table}")));
        let numbers: Vec<i64> = found.iter().map(|(epoch, _)| *epoch).collect();
        assert_eq!(numbers, (1..=self.epochs.len() as i64).collect::<Vec<_>>(), "epochs of {table}");
        let (mut before, mut logged) = (Bag::new(), 0);
        for (epoch, content) in found {
            let log = content.names.iter().any(|n| n == "_diff");
            let all: Vec<&str> = columns.iter().copied().chain(log.then_some("_diff")).collect();
            let mut held = Bag::new();
            for mut row in content.select(&all) {
                let number = if log { row.pop().unwrap().as_i64().unwrap() } else { 1 };
                *held.entry(json!(row).to_string()).or_default() += number;
            }
            held.retain(|_, n| *n != 0);
            let wanted = expected(epoch as usize);
            assert_eq!(held, wanted, "{table} after epoch {epoch}");
            if log {
                let both = before.keys().chain(wanted.keys()).collect::<std::collections::BTreeSet<_>>();
                let changed = both.into_iter().filter(|row| before.get(*row) != wanted.get(*row)).count();
                assert_eq!(content.rows.len() - logged, changed, "changes of {table} in epoch {epoch}");
                (before, logged) = (wanted, content.rows.len());
            }
        }
    }
}

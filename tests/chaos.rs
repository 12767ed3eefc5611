//! Killed at random moments, again and again: `tests/chaos` does it as often as is asked for.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::{Bucket, Call, Folder, alluvium, history, read};

/// Tables one after the other, one with upserts, and operator state.
const SPEC: &str = r#"
pipeline: chaos
state: ${LAKE}/_state
epoch: { splits: 2 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint, word: string } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
  upper:   { kind: sql, input: first, query: "SELECT id, upper(word) AS word FROM input" }
  second:  { kind: delta, input: upper, table: "${LAKE}/second" }
  words:   { kind: aggregate, input: second, by: [word], columns: { n: { count: "*" }, most: { max: id } } }
  third:   { kind: delta, input: words, table: "${LAKE}/third", mode: upsert }
"#;

const ROWS: usize = 10;
const WORDS: usize = 7;

/// Where objects and tables lie.
enum Place {
    Local(Folder),
    Bucket(Bucket),
}

impl Place {
    fn url(&self, path: &str) -> String {
        match self {
            Self::Local(folder) => folder.text(path),
            Self::Bucket(bucket) => bucket.url(path),
        }
    }

    fn put(&self, path: &str, content: &str) {
        match self {
            Self::Local(folder) => {
                let made = folder.write("made", content);
                std::fs::create_dir_all(folder.path("in")).unwrap();
                std::fs::rename(made, folder.path(path)).unwrap();
            }
            Self::Bucket(bucket) => drop(bucket.put(path, content)),
        }
    }

    fn reach(&self, call: Call) -> Call {
        match self {
            Self::Local(_) => call,
            Self::Bucket(bucket) => call.s3(&bucket.endpoint),
        }
    }
}

struct Chaos {
    place: Place,
    spec: (Folder, String),
    random: ChaCha8Rng,
    files: usize,
}

impl Chaos {
    fn new(place: Place, seed: u64) -> Self {
        let folder = Folder::new("chaos-spec");
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        Self { place, spec: (folder, spec), random: ChaCha8Rng::seed_from_u64(seed), files: 0 }
    }

    fn feed(&mut self) {
        for _ in 0..self.random.random_range(0..4) {
            let row = |r: usize| {
                let id = self.files * ROWS + r;
                format!("{{\"id\":{id},\"word\":\"w{}\"}}\n", id % WORDS)
            };
            // Names in no order: what comes late has a smaller one half of the time.
            let name = format!("in/{:04}.json", self.files * 7_919 % 10_000);
            self.place.put(&name, &(0..ROWS).map(row).collect::<String>());
            self.files += 1;
        }
    }

    fn call(&mut self, watch: bool) -> Call {
        let workers = self.random.random_range(1..=4).to_string();
        let mut arguments = vec!["run", self.spec.1.as_str(), "--workers", &workers];
        if watch {
            arguments.extend(["--watch", "--interval", "20ms"]);
        }
        let call = alluvium(&arguments).env("IN", &self.place.url("in")).env("LAKE", &self.place.url("lake"));
        self.place.reach(call)
    }

    /// Starts it, kills it at a random moment.
    fn kill_once(&mut self) {
        self.feed();
        let mut run = self.call(true).start();
        let moment = Duration::from_millis(self.random.random_range(0..1_500));
        std::thread::sleep(moment);
        let running = run.is_running();
        run.signal("KILL");
        let done = run.end();
        assert!(running, "it had ended before it was killed: {:?}\n{}", done.code, done.err);
    }

    /// Every table holds what the input says, each epoch once.
    fn assert_exact(&mut self) {
        let done = self.call(false).run();
        assert_eq!(done.code, Some(0), "{}", done.err);
        let rows = self.files * ROWS;
        for (table, word) in [("first", "w"), ("second", "W")] {
            let mut found = read(&self.place.url(&format!("lake/{table}"))).select(&["id", "word"]);
            found.sort_by_key(|row| row[0].as_i64());
            let expected: Vec<Vec<Value>> =
                (0..rows).map(|id| vec![json!(id), json!(format!("{word}{}", id % WORDS))]).collect();
            assert_eq!(found, expected, "{table}");
        }
        let groups = (0..WORDS).map(|w| (w, (0..rows).filter(|id| id % WORDS == w).collect::<Vec<_>>()));
        let expected: Vec<Vec<Value>> = groups
            .filter(|(_, ids)| !ids.is_empty())
            .map(|(w, ids)| vec![json!(format!("W{w}")), json!(ids.len()), json!(ids.last())])
            .collect();
        assert_eq!(read(&self.place.url("lake/third")).select(&["word", "n", "most"]), expected, "third");
        for table in ["first", "second", "third"] {
            let mut epochs: Vec<i64> = history(&self.place.url(&format!("lake/{table}")))
                .iter()
                .filter_map(|commit| commit.get("epoch").and_then(Value::as_i64))
                .collect();
            epochs.sort_unstable();
            assert_eq!(epochs, (1..=epochs.len() as i64).collect::<Vec<_>>(), "epochs of {table}");
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Half of the kills asked for; the other place gets the other half.
fn chaos(place: Place) {
    let (kills, seed) = (number("ALLUVIUM_CHAOS_KILLS", 20) / 2, number("ALLUVIUM_CHAOS_SEED", 1));
    let name = if matches!(place, Place::Local(_)) { "local folder" } else { "S3" };
    let mut chaos = Chaos::new(place, seed);
    let started = Instant::now();
    for kill in 1..=kills {
        chaos.kill_once();
        if kill % 10 == 0 || kill == kills {
            chaos.assert_exact();
            let seconds = started.elapsed().as_secs();
            println!("{name}: seed {seed}, {kill} kills, {} objects, all tables exact, {seconds} s", chaos.files);
        }
    }
}

#[test]
fn killed_at_random_moments_over_a_local_folder() {
    chaos(Place::Local(Folder::new("chaos")));
}

#[test]
fn killed_at_random_moments_over_s3() {
    chaos(Place::Bucket(Bucket::new("chaos")));
}

//! A pipeline of several tables with operator state, whose input the test makes up as it goes.

use serde_json::{Value, json};

use super::{Bucket, Call, Folder, alluvium, history, read, until};

/// Tables one after the other, one with upserts, and every kind that has state of its own form. Upkeep comes often; what it
/// may delete is a day old at least.
const SPEC: &str = r#"
pipeline: numbers
state: ${LAKE}/_state
epoch: { splits: 2 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint, word: string } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first", upkeep: { checkpoint: 5, optimize: 4, vacuum: 1d, log: 1d } }
  upper:   { kind: sql, input: first, query: "SELECT id, upper(word) AS word FROM input" }
  second:  { kind: delta, input: upper, table: "${LAKE}/second", upkeep: { checkpoint: 5, optimize: 4, vacuum: 1d, log: 1d } }
  words:   { kind: aggregate, input: second, by: [word], columns: { n: { count: "*" }, most: { max: id } } }
  third:   { kind: delta, input: words, table: "${LAKE}/third", mode: upsert, upkeep: { checkpoint: 3, optimize: 4, vacuum: 1d, log: 1d } }

  # Rows that come and go, from here on.
  latest:      { kind: dedup, input: second, by: [word], keep: last, order: id }
  summary:     { kind: profile, input: latest }
  summary_table: { kind: delta, input: summary, table: "${LAKE}/summary", mode: upsert }
  pairs:       { kind: join, input: [latest, words], by: [word], right: { n: n } }
  pairs_table: { kind: delta, input: pairs, table: "${LAKE}/pairs", mode: upsert, upkeep: { checkpoint: 3, optimize: 4, vacuum: 1d, log: 1d } }
  counts:
    kind: aggregate
    input: words
    by: [{ parity: n % 2 }]
    columns: { words: { count: "*" }, best: { top_k: n, k: 2 }, median: { quantile: most }, different: { count_distinct: n } }
  counts_table: { kind: delta, input: counts, table: "${LAKE}/counts", mode: upsert }
  times:    { kind: sql, input: second, query: "SELECT id, to_timestamp_micros(id * 1000000) AS at FROM input" }
  minutes:
    kind: aggregate
    input: times
    window: { time: at, tumbling: 1m }
    columns: { n: { count: "*" }, median: { quantile: id }, last: { mode: id % 7 } }
  minutes_table: { kind: delta, input: minutes, table: "${LAKE}/minutes", mode: upsert }
  stretches:
    kind: aggregate
    input: times
    where: id % 30 < 20
    window: { time: at, session: 5s }
    columns: { n: { count: "*" }, last: { max: id } }
  stretches_table: { kind: delta, input: stretches, table: "${LAKE}/stretches", mode: upsert }
  labels:  { kind: sql, input: second, query: "SELECT word AS truth, concat('W', CAST(id % 5 AS VARCHAR)) AS predicted FROM input" }
  quality: { kind: evaluate, input: labels, truth: truth, predicted: predicted }
  quality_table: { kind: delta, input: quality, table: "${LAKE}/quality", mode: upsert }
"#;

/// Tables that are made of `second`, epoch by epoch, and what they must hold.
const MADE: [(&str, &str); 7] = [
    (
        "SELECT \"column\", rows, \"distinct\", max, p50, array_length(top) FROM summary_table",
        "SELECT 'id', count(*) AS a, count(*) AS b, CAST(max(id) AS VARCHAR), median(CAST(id AS DOUBLE)), count(*) AS c \
         FROM (SELECT max(id) AS id FROM second GROUP BY word) \
         UNION ALL SELECT 'word', count(DISTINCT word) AS a, count(DISTINCT word) AS b, max(word), NULL, count(DISTINCT word) AS c FROM second",
    ),
    ("SELECT word, id, n FROM pairs_table", "SELECT word, max(id), count(*) FROM second GROUP BY word"),
    (
        "SELECT parity, words, best[1], different FROM counts_table",
        "SELECT n % 2, count(*), max(n), count(DISTINCT n) FROM (SELECT count(*) AS n FROM second GROUP BY word) GROUP BY 1",
    ),
    (
        "SELECT median FROM counts_table",
        "SELECT median(CAST(most AS DOUBLE)) FROM (SELECT count(*) AS n, max(id) AS most FROM second GROUP BY word) GROUP BY n % 2",
    ),
    (
        "SELECT to_unixtime(window_start), n, median, last FROM minutes_table",
        "SELECT min(id) / 60 * 60, count(*), median(CAST(id AS DOUBLE)), first_value(rest ORDER BY times DESC, rest) \
         FROM (SELECT id, id % 7 AS rest, count(*) OVER (PARTITION BY id / 60, id % 7) AS times FROM second) GROUP BY id / 60",
    ),
    (
        "SELECT to_unixtime(window_start), n, last FROM stretches_table",
        "SELECT min(id), count(*), max(id) FROM second WHERE id % 30 < 20 GROUP BY id / 30",
    ),
    (
        "SELECT label, predicted, CAST(value AS BIGINT) FROM quality_table WHERE measure = 'count' AND value > 0",
        "SELECT word, concat('W', CAST(id % 5 AS VARCHAR)), count(*) FROM second GROUP BY 1, 2",
    ),
];

const ROWS: usize = 10;
const WORDS: usize = 7;

/// Where objects and tables lie.
pub enum Place {
    Local(Folder),
    Bucket(Bucket),
}

impl Place {
    pub fn url(&self, path: &str) -> String {
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

/// The pipeline, and how many objects it was given.
pub struct Numbers {
    pub place: Place,
    _folder: Folder,
    pub spec: String,
    pub files: usize,
}

impl Numbers {
    pub fn new(place: Place) -> Self {
        let folder = Folder::new("numbers");
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        Self { place, _folder: folder, spec, files: 0 }
    }

    /// Over a local folder.
    pub fn local(name: &str) -> Self {
        Self::new(Place::Local(Folder::new(name)))
    }

    /// Puts some more objects, at once.
    pub fn feed(&mut self, objects: usize) {
        for _ in 0..objects {
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

    /// `run` with more arguments.
    pub fn call(&self, arguments: &[&str]) -> Call {
        let all: Vec<&str> = ["run", self.spec.as_str()].iter().chain(arguments).copied().collect();
        let call = alluvium(&all).env("IN", &self.place.url("in")).env("LAKE", &self.place.url("lake"));
        self.place.reach(call)
    }

    /// What a query over the tables gives, without its heading.
    fn sorted(&self, query: &str) -> Vec<String> {
        let call = alluvium(&["query", &self.spec, query, "--format", "csv"]);
        let call = call.env("IN", &self.place.url("in")).env("LAKE", &self.place.url("lake"));
        let mut lines: Vec<String> = self.place.reach(call).ok().lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// How many epochs the last table holds.
    pub fn epochs(&self) -> usize {
        if !std::fs::exists(self.place.url("lake/quality/_delta_log/00000000000000000000.json")).unwrap() {
            return 0;
        }
        history(&self.place.url("lake/quality")).iter().filter(|commit| commit.get("epoch").is_some()).count()
    }

    /// Waits until the last table, in a local folder, holds more than so many epochs.
    #[track_caller]
    pub fn wait_for_epoch(&self, epochs: usize) {
        until("an epoch is complete", || self.epochs() > epochs);
    }

    /// Every table holds what the input says, each epoch once.
    #[track_caller]
    pub fn assert_exact(&self) {
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
        for (made, expected) in MADE {
            assert_eq!(self.sorted(made), self.sorted(expected), "{made}");
        }
        for table in ["first", "second", "third", "summary", "pairs", "counts", "minutes", "stretches", "quality"] {
            let mut epochs: Vec<i64> = history(&self.place.url(&format!("lake/{table}")))
                .iter()
                .filter_map(|commit| commit.get("epoch").and_then(Value::as_i64))
                .collect();
            epochs.sort_unstable();
            assert_eq!(epochs, (1..=epochs.len() as i64).collect::<Vec<_>>(), "epochs of {table}");
        }
    }
}

//! Objects, state and tables on a real S3 server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::monitor::client::Served;
use crate::support::{Act, Bucket, Call, Done, Folder, Numbers, Place, Proxy, alluvium, history, read, until};

/// Two tables in a row, and one with upserts and operator state.
pub const SPEC: &str = r#"
pipeline: cloud
state: ${LAKE}/_state
epoch: { splits: 2 }
storage: { timeout: "${TIMEOUT:-30s}", max_retries: "${RETRIES:-1000}", retry_timeout: "${PATIENCE:-180s}" }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint, word: string } }
  first:   { kind: delta, input: numbers, table: "${LAKE}/first" }
  words:   { kind: aggregate, input: first, by: [word], columns: { n: { count: "*" }, most: { max: id } } }
  second:  { kind: delta, input: words, table: "${LAKE}/second", mode: upsert }
"#;

pub const ROWS: usize = 20;

pub struct Case {
    /// Kept until the end of the test.
    _folder: Folder,
    pub bucket: Bucket,
    spec: String,
}

impl Case {
    pub fn new(name: &str, files: usize) -> Self {
        Self::with(name, files, SPEC)
    }

    /// With another spec, which has the same tables and more.
    pub fn with(name: &str, files: usize, spec: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", spec).display().to_string();
        let case = Self { _folder: folder, bucket: Bucket::new(name), spec };
        case.input(0..files);
        case
    }

    pub fn input(&self, files: std::ops::Range<usize>) {
        for file in files {
            let row = |r: usize| format!("{{\"id\":{},\"word\":\"w{}\"}}\n", file * ROWS + r, r % 7);
            self.bucket.put(&format!("in/f{file:02}.json"), (0..ROWS).map(row).collect::<String>());
        }
    }

    pub fn call(&self, arguments: &[&str], endpoint: &str) -> Call {
        let all: Vec<&str> =
            arguments[..1].iter().chain([&self.spec.as_str()]).chain(&arguments[1..]).copied().collect();
        alluvium(&all).s3(endpoint).env("IN", &self.bucket.url("in")).env("LAKE", &self.bucket.url("lake"))
    }

    pub fn run(&self) -> Done {
        self.call(&["run"], &self.bucket.endpoint).run()
    }

    /// Every table holds what the first `files` files say, each epoch once.
    #[track_caller]
    pub fn assert_exact(&self, files: usize) {
        let mut ids: Vec<i64> =
            read(&self.bucket.url("lake/first")).select(&["id"]).iter().map(|r| r[0].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..(files * ROWS) as i64).collect::<Vec<_>>(), "first");
        let words = read(&self.bucket.url("lake/second")).select(&["word", "n", "most"]);
        let expected: Vec<Vec<Value>> = (0..7)
            .map(|w| {
                let of: Vec<usize> = (0..files * ROWS).filter(|id| id % ROWS % 7 == w).collect();
                vec![json!(format!("w{w}")), json!(of.len()), json!(of.last())]
            })
            .collect();
        assert_eq!(words, expected, "second");
        for table in ["first", "second"] {
            let mut epochs: Vec<i64> = history(&self.bucket.url(&format!("lake/{table}")))
                .iter()
                .filter_map(|commit| commit.get("epoch").and_then(Value::as_i64))
                .collect();
            epochs.sort_unstable();
            assert_eq!(epochs, (1..=epochs.len() as i64).collect::<Vec<_>>(), "epochs of {table}");
        }
    }
}

#[test]
fn source_state_and_tables_in_a_bucket() {
    let case = Case::new("bucket", 5);
    let done = case.run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    case.assert_exact(5);
    assert!(case.run().out.contains("nothing new to process"));
    case.input(5..7);
    assert_eq!(case.run().code, Some(0));
    case.assert_exact(7);
}

/// A commit reads what is new in the log of its table, however long that is.
#[test]
fn what_a_commit_reads_does_not_grow() {
    let case = Case::new("commit", 80);
    let proxy = Proxy::start(&case.bucket.endpoint);
    proxy.rule("GET", "/_delta_log/0", Act::Delay(Duration::ZERO), usize::MAX);
    let done = case.call(&["run"], &proxy.url()).run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    case.assert_exact(80);
    let commits = 2 * 40;
    assert!(proxy.hits() <= 3 * commits, "{} reads of the log for {commits} commits", proxy.hits());
}

/// The listing after the last object that is known may find nothing, again and again.
#[test]
fn what_comes_later_is_found_at_any_interval() {
    let mut numbers = Numbers::new(Place::Bucket(Bucket::new("later")));
    numbers.feed(2);
    let served = Served::start(&numbers, &["--watch", "--interval", "1ms"], None);
    let done = |rows: usize| {
        until("all that is there is in the tables", || {
            let status = served.status();
            status["tables"][0]["rows"] == rows && status["epochs"]["open"] == 0
        });
    };
    for rows in [20, 40, 60] {
        done(rows);
        numbers.feed(2);
    }
    done(80);
    served.command(&numbers, &["stop", "--all"]).ok();
    assert_eq!(served.running.end().code, Some(130));
    numbers.assert_exact();
}

/// Rows of an object that becomes a large file.
pub const LARGE: usize = 120_000;

/// Puts an object that cannot be packed: about 12 MB in the table.
pub fn put_large(case: &Case) {
    let row = |id: usize| {
        let text = (0..12).map(|k| format!("{:016x}", (id * 12 + k + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        format!("{{\"id\":{id},\"word\":\"{}\"}}\n", text.collect::<String>())
    };
    case.bucket.put("in/large.json", (0..LARGE).map(row).collect::<String>());
}

#[test]
fn large_files_go_up_in_parts() {
    let case = Case::new("parts", 1);
    let proxy = Proxy::start(&case.bucket.endpoint);
    put_large(&case);
    for part in ["?uploads", "partNumber=1", "uploadId="] {
        for method in ["PUT", "POST"] {
            proxy.rule(method, part, Act::CarryOutAndAnswer(503), 1);
        }
    }
    let done = case.call(&["run"], &proxy.url()).run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(proxy.hits() >= 3, "there were no parts: {}", proxy.hits());
    assert_eq!(read(&case.bucket.url("lake/first")).rows.len(), LARGE + ROWS);
}

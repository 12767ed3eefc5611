//! What tests share: a folder of their own, the binary, the independent reader.

mod bucket;
mod events;
mod numbers;
mod proxy;

pub use bucket::Bucket;
pub use events::{Bag, Event, Events, bag};
pub use numbers::{Numbers, Place};
pub use proxy::{Act, Proxy};

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where the S3 server is and who we are there.
const AWS: [&str; 5] =
    ["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"];

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A name that no other test has.
fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A folder that is removed when the test has passed; after a failure it stays to be looked at.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("alluvium-test-{}", unique(name)));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file and gives its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A call of the binary.
pub struct Call {
    command: Command,
}

pub fn alluvium(arguments: &[&str]) -> Call {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    for name in [
        "LAKE",
        "TWEETS",
        "LOGS",
        "MODEL",
        "ALLUVIUM_LOG",
        "ALLUVIUM_FAILPOINT",
        "ALLUVIUM_CPU",
        "ALLUVIUM_CACHE",
        "ALLUVIUM_HOSTS",
        "ALLUVIUM_PROCESS",
        "ALLUVIUM_WORKERS",
        "ALLUVIUM_WAIT",
        "ALLUVIUM_CLUSTER_SECRET",
        "ALLUVIUM_CLUSTER_SECRET_FILE",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ] {
        command.env_remove(name);
    }
    for name in AWS {
        command.env_remove(name);
    }
    Call { command }
}

/// A call that has not ended; killed when the test ends first.
pub struct Running {
    child: Option<Child>,
}

impl Running {
    pub fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Done {
        Done::of(self.child.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until something is so, which it must be within a minute.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a call has ended.
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Done {
    fn of(Output { status, stdout, stderr }: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: status.code(), out: text(stdout), err: text(stderr) }
    }
}

impl Call {
    /// With what is needed to reach S3, at another place than the server's if one is given.
    pub fn s3(mut self, endpoint: &str) -> Self {
        self.command.envs(AWS.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        self.command.env("AWS_ENDPOINT_URL", endpoint);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// As the last arguments of another program.
    pub fn within(self, program: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(self.command.get_program()).args(self.command.get_args());
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command }
    }

    /// Starts it and leaves it running.
    pub fn start(mut self) -> Running {
        let child = self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Running { child: Some(child) }
    }

    pub fn command(self) -> Command {
        self.command
    }

    /// Runs until the process kills itself at a named point, such as `after-binding@3`.
    #[track_caller]
    pub fn killed_at(self, point: &str) {
        let done = self.env("ALLUVIUM_FAILPOINT", point).command().output().unwrap();
        let told = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.signal(), Some(9), "{point} was not reached:\n{told}");
    }

    pub fn run(mut self) -> Done {
        Done::of(self.command.output().unwrap())
    }

    /// Runs and expects exit code 0; gives standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        let done = self.run();
        assert_eq!(done.code, Some(0), "standard error:\n{}\nstandard output:\n{}", done.err, done.out);
        done.out
    }
}

/// A table as another program reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Column types in Arrow's words.
    pub columns: BTreeMap<String, String>,
    /// Column names in the order of each row's values.
    pub names: Vec<String>,
    /// Sorted.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// The values of some columns, sorted.
    pub fn select(&self, names: &[&str]) -> Vec<Vec<Value>> {
        let places: Vec<usize> = names
            .iter()
            .map(|n| self.names.iter().position(|m| m == n).unwrap_or_else(|| panic!("no column {n}")))
            .collect();
        let mut rows: Vec<Vec<Value>> =
            self.rows.iter().map(|r| places.iter().map(|&p| r[p].clone()).collect()).collect();
        rows.sort_by_key(|r| serde_json::to_string(r).unwrap());
        rows
    }
}

pub fn python(arguments: &[&str]) -> Vec<u8> {
    let python = std::env::var("ALLUVIUM_TEST_PYTHON")
        .expect("no independent reader: run the tests with `tests/run`, which installs it");
    let done = Command::new(python).args(arguments).current_dir(root()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Reads a Delta table with the Python package deltalake.
pub fn read(url: &str) -> Table {
    read_table(&[url])
}

/// A Delta table as it was at a version.
pub fn read_version(url: &str, version: u64) -> Table {
    read_table(&[url, "--version", &version.to_string()])
}

/// The change feed of a Delta table since a version, with the columns `_change_type` and `_commit_version`.
pub fn read_feed(url: &str, version: u64) -> Table {
    read_table(&[url, "--feed", &version.to_string()])
}

/// Lets that package write a Delta table; see the script for the steps.
pub fn write_table(url: &str, steps: &Value) {
    python(&["tests/support/write_table.py", url, &steps.to_string()]);
}

fn read_table(arguments: &[&str]) -> Table {
    let all: Vec<&str> = std::iter::once(&"tests/support/read_table.py").chain(arguments).copied().collect();
    table(&serde_json::from_slice(&python(&all)).unwrap())
}

fn table(json: &Value) -> Table {
    Table {
        columns: serde_json::from_value(json["columns"].clone()).unwrap(),
        names: serde_json::from_value(json["names"].clone()).unwrap(),
        rows: serde_json::from_value(json["rows"].clone()).unwrap(),
    }
}

/// A Delta table as of each of its epochs, oldest first.
pub fn read_epochs(url: &str) -> Vec<(i64, Table)> {
    let json = python(&["tests/support/read_table.py", url, "--epochs"]);
    let epochs: Vec<(i64, Value)> = serde_json::from_slice(&json).unwrap();
    epochs.iter().map(|(epoch, content)| (*epoch, table(content))).collect()
}

/// The commits of a Delta table, newest first, as that package gives them.
pub fn history(url: &str) -> Vec<Value> {
    serde_json::from_slice(&python(&["tests/support/read_table.py", url, "--history"])).unwrap()
}

/// The rows of a Delta table as they were after each epoch, each row as an object.
pub fn epochs(url: &str) -> BTreeMap<u64, Vec<Value>> {
    let json: Vec<(u64, Value)> =
        serde_json::from_slice(&python(&["tests/support/read_table.py", url, "--epochs"])).unwrap();
    let objects = |table: &Value| -> Vec<Value> {
        let names: Vec<String> = serde_json::from_value(table["names"].clone()).unwrap();
        let rows: Vec<Vec<Value>> = serde_json::from_value(table["rows"].clone()).unwrap();
        rows.into_iter().map(|row| names.iter().cloned().zip(row).collect()).collect()
    };
    json.iter().map(|(epoch, table)| (*epoch, objects(table))).collect()
}

/// What the tweet pipeline must give for an input folder; see the script.
pub struct ExpectedTweets {
    pub bronze: Vec<Vec<Value>>,
    pub silver: Vec<Vec<Value>>,
    pub mentions: Vec<Vec<Value>>,
}

pub fn expected_tweets(input: &str, gold: &str) -> ExpectedTweets {
    let json: Value = serde_json::from_slice(&python(&["tests/support/expected_tweets.py", input, gold])).unwrap();
    let rows = |name: &str| {
        let mut rows: Vec<Vec<Value>> = serde_json::from_value(json[name].clone()).unwrap();
        rows.sort_by_key(|r| serde_json::to_string(r).unwrap());
        rows
    };
    ExpectedTweets { bronze: rows("bronze"), silver: rows("silver"), mentions: rows("mentions") }
}

//! What sources would read, and what is at a URL.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::s3;
use crate::support::{Call, Folder, alluvium};

const SPEC: &str = r#"
pipeline: listed
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint }, include: ["*.json"], exclude: [old-*],
             on_change: CHANGE }
  rows:    { kind: generate, rows: 10, columns: { id: { sequence: 1 } } }
  all:     { kind: delta, input: numbers, table: "${LAKE}/all" }
  made:    { kind: delta, input: rows, table: "${LAKE}/made" }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str, change: &str) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", &SPEC.replace("CHANGE", change)).display().to_string();
        for file in ["a.json", "b/c.json", "old-a.json", "d.txt", "_hidden/e.json"] {
            folder.write(&format!("in/{file}"), "{\"id\":1}\n");
        }
        Self { folder, spec }
    }

    fn call(&self, arguments: &[&str]) -> Call {
        alluvium(arguments).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn ls(&self, arguments: &[&str]) -> String {
        let all: Vec<&str> = ["ls", self.spec.as_str()].iter().chain(arguments).copied().collect();
        self.call(&all).ok()
    }

    /// Object and what the ledger has of it.
    fn marks(&self) -> BTreeSet<(String, String)> {
        let base = format!("file://{}/", self.folder.text("in"));
        let rows = self.ls(&["numbers", "--format", "json"]);
        let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let pair = |row: Value| {
            assert_eq!(row["source"], json!("numbers"));
            let object = row["object"].as_str().unwrap().strip_prefix(&base).unwrap().to_owned();
            (object, row["ledger"].as_str().unwrap().to_owned())
        };
        rows.map(pair).collect()
    }
}

fn marks(all: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    all.iter().map(|(object, mark)| ((*object).to_owned(), (*mark).to_owned())).collect()
}

#[test]
fn what_a_run_would_read() {
    let case = Case::new("ls", "reprocess");
    assert_eq!(case.marks(), marks(&[("a.json", ""), ("b/c.json", "")]));
    let sums = |out: &str| out.lines().last().unwrap().to_owned();
    let told = case.ls(&["numbers"]);
    assert!(told.starts_with("   ledger            bytes  modified              object\n"), "{told}");
    assert_eq!(sums(&told), "2 objects, 18 bytes; 0 in the ledger, 0 changed; a run would read 2, 18 bytes");
    case.call(&["run", &case.spec]).ok();
    // The other source has its turn in between.
    assert_eq!(case.marks(), marks(&[("a.json", "1"), ("b/c.json", "3")]));
    case.folder.write("in/a.json", "{\"id\":22}\n");
    case.folder.write("in/f.json", "{\"id\":3}\n");
    assert_eq!(case.marks(), marks(&[("a.json", "changed"), ("b/c.json", "3"), ("f.json", "")]));
    let told = case.ls(&["numbers"]);
    assert_eq!(sums(&told), "3 objects, 28 bytes; 1 in the ledger, 1 changed; a run would read 2, 19 bytes");
    // Both sources.
    let told = case.ls(&[]);
    assert!(told.lines().count() > 5 && told.contains("; a run would read 2, 19 bytes\n"), "{told}");
    case.call(&["run", &case.spec]).ok();
    assert_eq!(case.marks().iter().filter(|(_, mark)| mark.parse::<u64>().is_ok()).count(), 3);
    let csv = case.ls(&["--format", "csv"]);
    assert!(csv.starts_with("source,object,bytes,modified,ledger\nnumbers,file://"), "{csv}");
    let done = case.call(&["ls", &case.spec, "all"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("no source is called `all`; there are: numbers, rows"), "{}", done.err);
}

#[test]
fn what_has_changed_is_left_alone_or_stops_a_run() {
    for (change, told) in [("ignore", "a run would read nothing"), ("error", "a run would stop at what has changed")] {
        let case = Case::new("ls-changed", change);
        case.call(&["run", &case.spec]).ok();
        case.folder.write("in/a.json", "{\"id\":22}\n");
        let out = case.ls(&["numbers"]);
        assert!(out.ends_with(&format!("; 1 in the ledger, 1 changed; {told}\n")), "{out}");
    }
}

#[test]
fn what_is_at_a_place() {
    let case = Case::new("ls-place", "ignore");
    let place = case.folder.text("in");
    let out = case.call(&["ls", &place, "--format", "csv"]).ok();
    assert!(out.starts_with("object,bytes,modified\n"), "{out}");
    let mut found: Vec<&str> = out.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    found.sort_unstable();
    let expected = ["_hidden/e.json", "a.json", "b/c.json", "d.txt", "old-a.json"];
    assert_eq!(found, expected.map(|name| format!("file://{place}/{name}")));
    let one = case.call(&["ls", &format!("{place}/d.txt")]).ok();
    assert!(one.ends_with("d.txt\n1 object, 9 bytes\n"), "{one}");
    assert!(!one.contains("ledger"), "{one}");
    let done = case.call(&["ls", &format!("{place}/nothing")]).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("objects cannot be listed") && done.err.contains("nothing"), "{}", done.err);
    let done = case.call(&["ls", &place, "numbers"]).run();
    assert_eq!(done.code, Some(2));
    assert!(done.err.contains("only a spec has stages"), "{}", done.err);
}

#[test]
fn what_is_in_a_bucket() {
    let case = s3::Case::new("ls", 3);
    let list = |arguments: &[&str]| case.call(arguments, &case.bucket.endpoint).ok();
    let told = list(&["ls", "numbers"]);
    assert!(
        told.contains("\n3 objects, ") && told.contains("; 0 in the ledger, 0 changed; a run would read 3, "),
        "{told}"
    );
    case.run();
    assert!(list(&["ls", "numbers"]).contains("; 3 in the ledger, 0 changed; a run would read nothing\n"));
    let url = case.bucket.url("in");
    let out = alluvium(&["ls", &url, "--format", "csv"]).s3(&case.bucket.endpoint).ok();
    let found: Vec<&str> = out.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(found, [0, 1, 2].map(|n| format!("{url}/f{n:02}.json")));
}

/// Objects are shown while they are listed: many of them take hardly more memory than a few.
#[test]
fn memory_is_bounded_with_many_objects() {
    let folder = Folder::new("ls-many");
    let peak = |files: usize| {
        let name = format!("in-{files}");
        std::fs::create_dir(folder.path(&name)).unwrap();
        for n in 0..files {
            std::fs::write(folder.path(&name).join(format!("{n:06}-of-an-object-with-a-rather-long-name.json")), "")
                .unwrap();
        }
        let script = "import resource, subprocess, sys\n\
                      done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE)\n\
                      print(done.stdout.count(b'\\n'), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
        let program = env!("CARGO_BIN_EXE_alluvium");
        let place = folder.text(&name);
        let told = crate::support::python(&["-c", script, program, "ls", &place, "--format", "csv"]);
        let told: Vec<u64> =
            String::from_utf8(told).unwrap().split_whitespace().map(|word| word.parse().unwrap()).collect();
        assert_eq!(told[0], files as u64 + 1);
        told[1]
    };
    let (few, many) = (peak(100), peak(100_000));
    // A hundred thousand rows of 200 bytes and more would be 20 MB.
    assert!(many < few + 8_192, "{few} KiB with 100 objects, {many} KiB with 100,000");
}

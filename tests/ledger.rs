//! The ledger: exact, readable, and compact however many epochs there were.

use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::support::{Call, Folder, alluvium, read};

/// An epoch for every object.
const SPEC: &str = r#"
pipeline: ledger
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  numbers: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  table:   { kind: delta, input: numbers, table: "${LAKE}/table" }
"#;

struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str, files: std::ops::Range<usize>) -> Self {
        let folder = Folder::new(name);
        let spec = folder.write("spec.yaml", SPEC).display().to_string();
        let case = Self { folder, spec };
        case.put(files);
        case
    }

    fn put(&self, files: std::ops::Range<usize>) {
        for id in files {
            self.folder.write(&format!("in/{id:04}.json"), &format!("{{\"id\":{id}}}\n"));
        }
    }

    fn call(&self, command: &str, arguments: &[&str]) -> Call {
        let all: Vec<&str> = [command, self.spec.as_str()].iter().chain(arguments).copied().collect();
        alluvium(&all).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    fn files(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path("lake/_state").join(folder)).map_or(0, Iterator::count)
    }

    #[track_caller]
    fn assert_exact(&self, files: usize) {
        let mut ids: Vec<i64> =
            read(&self.folder.text("lake/table")).rows.iter().map(|row| row[0].as_i64().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..files as i64).collect::<Vec<_>>());
        // The objects come in the order of their names, so that the n-th is in epoch n.
        let rows = self.call("ledger", &["--format", "json"]).ok();
        let mut found: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        found.sort_by_key(|row| row["epoch"].as_i64());
        let expected = |id: usize| {
            let path = self.folder.path("in").join(format!("{id:04}.json"));
            (json!(format!("file://{}", path.display())), json!(std::fs::metadata(&path).unwrap().len()), json!(id + 1))
        };
        let found: Vec<_> =
            found.into_iter().map(|row| (row["object"].clone(), row["bytes"].clone(), row["epoch"].clone())).collect();
        assert_eq!(found, (0..files).map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn records_of_many_epochs_become_a_few_segments() {
    let case = Case::new("segments", 0..200);
    case.call("run", &[]).ok();
    case.assert_exact(200);
    assert!(case.files("bindings") < 80, "{} bindings", case.files("bindings"));
    assert!(case.files("complete") < 80, "{} completions", case.files("complete"));
    assert_eq!(case.files("ledger"), 2, "a manifest and the folder of segments");
    assert!(case.files("ledger/segments") <= 2, "{} segments", case.files("ledger/segments"));
    assert!(case.call("run", &[]).ok().contains("nothing new to process"));
    case.put(200..203);
    case.call("run", &[]).ok();
    case.assert_exact(203);
}

#[test]
fn killed_while_records_are_archived() {
    for point in ["after-segment@64", "after-manifest@64", "after-archive@64"] {
        let case = Case::new("archive", 0..70);
        let done = case.call("run", &[]).env("ALLUVIUM_FAILPOINT", point).command().output().unwrap();
        assert_eq!(done.status.signal(), Some(9), "{point}: {}", String::from_utf8_lossy(&done.stderr));
        case.call("run", &[]).ok();
        case.assert_exact(70);
        let manifest = std::fs::read_dir(case.folder.path("lake/_state/ledger")).unwrap().map(|f| f.unwrap().path());
        let manifest = manifest.filter(|p| p.is_file()).max().unwrap();
        let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
        let named = manifest["segments"].as_array().unwrap().len();
        assert_eq!(case.files("ledger/segments"), named, "{point}: the killed run's segment is there for ever");
    }
}

/// Epochs are archived at 64: what was bound again since counts as it was bound last.
#[test]
fn an_object_that_was_read_again_is_known_as_it_was_read_last() {
    let spec = SPEC.replace("schema:", "on_change: reprocess, schema:");
    let case = Case::new("again", 0..70);
    case.folder.write("spec.yaml", &spec);
    case.call("run", &[]).ok();
    case.folder.write("in/0000.json", "{\"id\":700}\n");
    case.call("run", &[]).ok();
    assert!(case.files("bindings") > 0 && case.files("ledger/segments") > 0);
    for _ in 0..2 {
        let said = case.call("run", &[]).ok();
        assert!(said.contains("nothing new to process"), "{said}");
    }
    let read = read(&case.folder.text("lake/table")).rows;
    assert_eq!(read.iter().filter(|row| row[0] == json!(700)).count(), 1);
    assert_eq!(read.len(), 71);
}

#[test]
fn an_epoch_that_nobody_remembers_is_a_fault() {
    let case = Case::new("hole", 0..70);
    case.call("run", &[]).ok();
    std::fs::remove_file(case.folder.path("lake/_state/bindings/00000000000000000067.json")).unwrap();
    case.put(70..71);
    let done = case.call("run", &[]).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("the record of what epoch 67 consists of is missing"), "{}", done.err);
    assert_eq!(read(&case.folder.text("lake/table")).rows.len(), 70);
}

#[test]
fn the_ledger_is_shown_and_can_be_queried() {
    let case = Case::new("shown", 0..3);
    let none = case.call("ledger", &[]).ok();
    assert!(none.contains("| source | object | version | bytes | modified | epoch | complete |"), "{none}");
    assert!(none.ends_with("0 rows\n"), "{none}");
    let done = case.call("run", &[]).env("ALLUVIUM_FAILPOINT", "after-commits@2").command().output().unwrap();
    assert_eq!(done.status.signal(), Some(9));
    let csv = case.call("ledger", &["--format", "csv"]).ok();
    assert!(csv.starts_with("source,object,version,bytes,modified,epoch,complete\nnumbers,file://"), "{csv}");
    let query =
        "select epoch, complete, sum(bytes) as bytes from alluvium.ledger where epoch <= 2 group by 1, 2 order by 1";
    let rows = case.call("query", &[query, "--format", "json"]).ok();
    assert_eq!(rows, "{\"epoch\":1,\"complete\":true,\"bytes\":9}\n{\"epoch\":2,\"complete\":false,\"bytes\":9}\n");
    // However the names are written.
    case.call("run", &[]).ok();
    for name in ["\"alluvium\".\"ledger\"", "ALLUVIUM . Ledger", "datafusion.alluvium.ledger"] {
        let rows = case.call("query", &[&format!("select count(*) as n from {name}"), "--format", "json"]).ok();
        assert_eq!(rows, "{\"n\":3}\n", "{name}");
    }
    let query = "with e as (select * from \"alluvium\".events) select count(*) > 0 as some from e";
    assert_eq!(case.call("query", &[query, "--format", "json"]).ok(), "{\"some\":true}\n");
    // A text is no table.
    let query = "select 'alluvium.ledger' as text";
    assert_eq!(case.call("query", &[query, "--format", "json"]).ok(), "{\"text\":\"alluvium.ledger\"}\n");
}

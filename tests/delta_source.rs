//! Delta tables as sources: what another program writes while we read.

mod changes;
mod refused;
mod restart;

use std::os::unix::process::ExitStatusExt;

use serde_json::{Value, json};

use crate::cluster;
use crate::support::{Bucket, Call, Done, Folder, Table, alluvium, read, write_table};

/// A table that is written by another program, and a pipeline that copies it.
struct Case {
    folder: Folder,
    spec: String,
    source: String,
    copy: String,
}

impl Case {
    /// `source` and `sink` are what the stages say besides kind and table.
    fn new(name: &str, source: &str, sink: &str) -> Self {
        let folder = Folder::new(name);
        let (from, to) = (folder.text("source"), folder.text("lake/copy"));
        Self::at(folder, from, to, source, sink)
    }

    fn at(folder: Folder, from: String, to: String, source: &str, sink: &str) -> Self {
        let state = to.replace("copy", "_state");
        let spec = format!(
            r#"
pipeline: copy
state: {state}
epoch: {{ splits: 1 }}
stages:
  source: {{ kind: delta, table: "{from}", {source} }}
  copy:   {{ kind: delta, input: source, table: "{to}", {sink} }}
"#
        );
        let spec = folder.write("spec.yaml", &spec).display().to_string();
        Self { folder, spec, source: from, copy: to }
    }

    fn write(&self, steps: Value) -> &Self {
        write_table(&self.source, &steps);
        self
    }

    fn call(&self, workers: usize) -> Call {
        alluvium(&["run", &self.spec, "--workers", &workers.to_string()])
    }

    fn run(&self) -> String {
        self.call(2).ok()
    }

    /// Runs and expects a fault or a problem; gives what is said.
    #[track_caller]
    fn refused(&self, code: i32) -> String {
        let Done { code: found, err, out } = self.call(1).run();
        assert_eq!(found, Some(code), "{err}{out}");
        err
    }

    /// Runs until the process kills itself at a point.
    #[track_caller]
    fn kill_at(&self, point: &str, workers: usize) {
        let done = self.call(workers).env("ALLUVIUM_FAILPOINT", point).command().output().unwrap();
        assert_eq!(
            done.status.signal(),
            Some(9),
            "{point} was not reached:\n{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// The copy holds what the source holds.
    #[track_caller]
    fn assert_same(&self, when: &str) {
        let (source, copy) = (read(&self.source), read(&self.copy));
        assert_eq!(copy, source, "{when}");
    }
}

/// Rows of the schema below, from a number on.
fn rows(from: i64, count: i64) -> Value {
    let row = |id: i64| {
        let day = (id % 3 > 0).then(|| format!("2024-02-{:02}", id % 3));
        json!({ "id": id, "word": format!("w{}", id % 7), "day": day, "place": format!("a b/c={}%?é", id % 2), "size": id as f64 / 4.0 })
    };
    (from..from + count).map(row).collect()
}

fn schema() -> Value {
    json!({ "id": "int64", "word": "string", "day": "date32", "place": "string", "size": "double" })
}

/// Appends rows.
fn append(from: i64, count: i64) -> Value {
    json!({ "append": rows(from, count), "schema": schema() })
}

/// Creates the table, split by a date that may be NULL and by a text that no folder can be named after.
fn create(from: i64, count: i64) -> Value {
    json!({ "append": rows(from, count), "schema": schema(), "partition_by": ["day", "place"] })
}

#[test]
fn a_snapshot_then_version_after_version() {
    for workers in [1, 2, 3] {
        let case = Case::new("history", "", "");
        case.write(json!([create(0, 20), append(20, 10), { "optimize": true }, append(30, 5)]));
        case.call(workers).ok();
        case.assert_same("the snapshot");
        case.write(json!([append(40, 5), { "optimize": true }, append(50, 3), { "checkpoint": true }]));
        case.call(workers).ok();
        case.assert_same("versions after it");
        // Files that were read may go.
        case.write(json!([{ "vacuum": true }, { "set": { "delta.logRetentionDuration": "interval 1 days" } }, { "optimize": true }]));
        case.call(workers).ok();
        case.assert_same("versions without rows");
        let again = case.call(workers).ok();
        assert!(again.contains("nothing new to process"), "{again}");
    }
}

#[test]
fn the_first_run_begins_where_it_is_told() {
    let latest = Case::new("latest", "from: latest", "");
    latest.write(json!([create(0, 20), append(20, 10)]));
    latest.run();
    assert_eq!(read(&latest.copy).rows.len(), 0);
    latest.write(json!([append(30, 5)]));
    latest.run();
    assert_eq!(ids(&read(&latest.copy)), (30..35).collect::<Vec<_>>());

    let third = Case::new("third", "from: 2", "");
    third.write(json!([create(0, 20), append(20, 10), append(30, 5), append(35, 5)]));
    third.run();
    assert_eq!(ids(&read(&third.copy)), (30..40).collect::<Vec<_>>());
}

fn ids(table: &Table) -> Vec<i64> {
    let mut ids: Vec<i64> = table.select(&["id"]).iter().map(|row| row[0].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_empty_table_is_a_table() {
    let case = Case::new("empty", "", "");
    case.write(json!([create(0, 1), { "delete": null }]));
    case.run();
    assert_eq!(read(&case.copy).rows.len(), 0);
    case.write(json!([append(1, 2)]));
    case.run();
    assert_eq!(ids(&read(&case.copy)), [1, 2]);
}

#[test]
fn columns_that_come_are_taken_up_left_out_or_refused() {
    let mut later = append(10, 2);
    later["new_schema"] = json!(true);
    let new = json!({ "append": [{ "id": 7, "more": true }], "schema": { "id": "int64", "more": "bool" }, "new_schema": true });
    for (evolution, columns) in [("", 6), ("evolution: ignore", 5), ("evolution: fail", 5)] {
        let case = Case::new("columns", evolution, "");
        case.write(json!([create(0, 5)]));
        case.run();
        case.write(json!([append(5, 2), new, later]));
        if evolution.contains("fail") {
            let error = case.refused(1);
            assert!(error.contains("version 2 of the table has new columns: `more`"), "{error}");
            assert_eq!(read(&case.copy).rows.len(), 5);
            continue;
        }
        case.run();
        let copy = read(&case.copy);
        assert_eq!((copy.names.len(), copy.rows.len()), (columns, 10), "{evolution}");
        if columns == 6 {
            case.assert_same("with a new column");
        }
    }
}

#[test]
fn table_and_copy_in_a_bucket() {
    let bucket = Bucket::new("delta-source");
    let (from, to) = (bucket.url("source"), bucket.url("lake/copy"));
    let case = Case::at(Folder::new("bucket"), from, to, "changes: true, key: [id]", "mode: upsert");
    let run = || case.call(2).s3(&bucket.endpoint).ok();
    case.write(json!([{ "append": rows(0, 12) }, { "append": rows(12, 12) }]));
    run();
    case.assert_same("the snapshot");
    case.write(
        json!([{ "update": { "word": "'new'" }, "where": "id < 3" }, { "delete": "id = 5" }, { "optimize": true }]),
    );
    run();
    case.assert_same("versions after it");
}

#[test]
fn all_processes_of_a_cluster_read() {
    let case = Case::new("processes", "changes: true, key: [id]", "mode: upsert");
    case.write(json!([create(0, 30), append(30, 10), append(40, 10)]));
    let run = || {
        let hosts = cluster::hosts(2).join(",");
        let process = |number: &str| {
            let call = alluvium(&["run", &case.spec, "--workers", "2", "--hosts", &hosts, "--process", number]);
            call.env("ALLUVIUM_CLUSTER_SECRET", cluster::SECRET).start()
        };
        cluster::all_end(vec![process("0"), process("1")], 0);
    };
    run();
    case.assert_same("the snapshot");
    case.write(json!([{ "update": { "word": "'new'" }, "where": "id < 9" }, append(50, 10), { "add_column": { "more": "long" } }]));
    run();
    case.assert_same("versions after it");
}

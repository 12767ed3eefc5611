//! State and tables that have the same name for all processes and are not the same.

use serde_json::json;

use super::{SECRET, all_end, hosts};
use crate::support::{Call, Folder, alluvium, read};

/// A pipeline whose state and table are where each process is told.
struct Case {
    folder: Folder,
    spec: String,
    hosts: String,
}

impl Case {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let spec = "pipeline: elsewhere\nstate: ${STATE}\nstages:\n  \
                    rows: { kind: files, url: \"${IN}\", format: json, schema: { id: bigint } }\n  \
                    table: { kind: delta, input: rows, table: lake/table }\n";
        let spec = folder.write("spec.yaml", spec).display().to_string();
        folder.write("in/a.json", "{\"id\":1}\n");
        Self { folder, spec, hosts: hosts(2).join(",") }
    }

    /// A process with its state and its working directory here.
    fn process(&self, number: &str, state: &str, directory: &str) -> Call {
        let directory = self.folder.path(directory);
        std::fs::create_dir_all(&directory).unwrap();
        alluvium(&["run", &self.spec, "--hosts", &self.hosts, "--process", number])
            .env("IN", &self.folder.text("in"))
            .env("STATE", &self.folder.text(state))
            .env("ALLUVIUM_CLUSTER_SECRET", SECRET)
            .within(&["env", "-C", &directory.display().to_string()])
    }

    /// Two processes of which the second has another place are refused; then they have the same, and go on.
    fn refused(&self, state: &str, directory: &str, said: &str, place: &str) {
        for _ in 0..2 {
            let running = vec![self.process("0", "state", "here").start(), self.process("1", state, directory).start()];
            for done in all_end(running, 1) {
                assert!(done.err.contains(said), "{}", done.err);
                assert!(done.err.contains(&format!("object: file://{}", self.folder.text(place))), "{}", done.err);
            }
            let complete = self.folder.path("state/complete");
            assert!(!std::fs::exists(complete).unwrap(), "an epoch was committed");
        }
        let running = vec![self.process("0", "state", "here").start(), self.process("1", "state", "here").start()];
        all_end(running, 0);
        assert_eq!(read(&self.folder.text("here/lake/table")).select(&["id"]), [[json!(1)]]);
    }
}

#[test]
fn a_state_of_each_machine_is_refused() {
    let case = Case::new("own-state");
    case.refused("own/state", "here", "sees another state than process 0", "own/state");
}

#[test]
fn a_table_of_each_machine_is_refused() {
    let case = Case::new("own-table");
    case.refused("state", "there", "sees another table than process 0", "there/lake/table");
}

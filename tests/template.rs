//! The stage contract, held against its budget, and the crate that shows it.

use serde_json::json;

use crate::support::{Folder, read, root};

/// Lines of code: neither blank nor comment, without the unit tests.
fn lines_of_code(file: &str) -> usize {
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let lines = text.lines().map(str::trim).take_while(|line| *line != "#[cfg(test)]");
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[test]
fn a_stage_is_short() {
    let (transform, sink) =
        (lines_of_code("stages/template/src/lib.rs"), lines_of_code("stages/basic/src/blackhole.rs"));
    assert!((10..=40).contains(&transform), "a row transform has {transform} lines");
    assert!((10..=25).contains(&sink), "a sink that does nothing has {sink} lines");
    assert_eq!(lines_of_code("stages/template/src/main.rs"), 3);
}

#[test]
fn the_template_shows_the_sink_as_it_is() {
    let readme = std::fs::read_to_string(root().join("stages/template/README.md")).unwrap();
    let sink = std::fs::read_to_string(root().join("stages/basic/src/blackhole.rs")).unwrap();
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(shown.len() > 200 && sink.ends_with(shown), "{shown}");
}

/// The crate's own tests (`stages/template/tests`) run its binary too; here another program reads the table.
#[test]
fn the_binary_of_the_template_runs_its_stage_among_built_in_ones() {
    let folder = Folder::new("template");
    let row = |id: usize| format!("{{\"id\":{id},\"card\":\"4111-{id:08}\"}}\n");
    for file in 0..4 {
        folder.write(&format!("in/{file}.json"), &(file * 500..(file + 1) * 500).map(row).collect::<String>());
    }
    let spec = r#"
pipeline: payments
state: ${LAKE}/_state
epoch: { splits: 2 }
stages:
  payments: { kind: files, url: "${IN}", format: json, schema: { id: bigint, card: string } }
  even:     { kind: sql, input: payments, query: "SELECT id, card FROM input WHERE id % 2 = 0" }
  safe:     { kind: mask, input: even, column: card, keep: 4 }
  table:    { kind: delta, input: safe, table: "${LAKE}/payments" }
"#;
    let spec = folder.write("spec.yaml", spec);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_alluvium")).with_file_name("alluvium-template");
    assert!(binary.exists(), "`cargo test --workspace` builds {}; a single `--test` does not", binary.display());
    let mut command = std::process::Command::new(binary);
    command.arg("run").arg(spec).args(["--workers", "2"]).env("IN", folder.text("in")).env("LAKE", folder.text("lake"));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut expected: Vec<_> =
        (0..2_000).step_by(2).map(|id| vec![json!(id), json!(format!("*********{:04}", id))]).collect();
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    assert_eq!(read(&folder.text("lake/payments")).select(&["id", "card"]), expected);
}

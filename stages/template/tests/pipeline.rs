//! The crate's own binary runs a pipeline in which its stage stands among built-in ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends with a panic")]

use std::path::PathBuf;
use std::process::Command;

const SPEC: &str = r#"
pipeline: payments
state: ${LAKE}/_state
stages:
  payments: { kind: files, url: "${IN}", format: csv, schema: { id: bigint, card: string } }
  safe:     { kind: mask, input: payments, column: card, keep: 4 }
  masked:   { kind: delta, input: safe, table: "${LAKE}/payments" }
"#;

/// A folder for one test, with the spec and an input file in it.
fn folder(test: &str, spec: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("alluvium-template-{test}-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("in")).unwrap();
    std::fs::write(folder.join("spec.yaml"), spec).unwrap();
    std::fs::write(folder.join("in/payments.csv"), "id,card\n1,4111222233334444\n2,\n3,777\n").unwrap();
    folder
}

/// Exit code, standard output and standard error of a call of this crate's binary.
fn call(folder: &PathBuf, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium-template"));
    command.args(arguments).current_dir(folder).env("IN", folder.join("in")).env("LAKE", folder.join("lake"));
    let done = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

#[test]
fn rows_go_through_the_stage_into_the_table() {
    let folder = folder("run", SPEC);
    let (code, _, err) = call(&folder, &["run", "spec.yaml"]);
    assert_eq!(code, Some(0), "{err}");
    let (code, out, err) =
        call(&folder, &["query", "spec.yaml", "select * from masked order by id", "--format", "csv"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(out, "id,card\n1,************4444\n2,\n3,777\n");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrong_column_is_found_before_anything_runs() {
    let folder = folder("check", &SPEC.replace("column: card", "column: crad"));
    let (code, _, err) = call(&folder, &["check", "spec.yaml"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("there is no text column `crad`") && err.contains("did you mean `card`?"), "{err}");
    assert!(err.contains("spec.yaml:6:52"), "{err}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_commands_know_the_kind() {
    let folder = folder("commands", SPEC);
    let (code, out, err) = call(&folder, &["check", "spec.yaml"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (_, out, _) = call(&folder, &["stages", "mask"]);
    assert!(out.contains("Hides the text of a column") && out.contains("How many characters at the end"), "{out}");
    let (_, out, _) = call(&folder, &["stages"]);
    assert!(
        out.lines().any(|line| line.starts_with("mask ")) && out.lines().any(|line| line.starts_with("delta ")),
        "{out}"
    );
    let (_, out, _) = call(&folder, &["schema"]);
    assert!(out.contains("\"mask\""), "{out}");
    std::fs::remove_dir_all(folder).unwrap();
}

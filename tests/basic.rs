//! generate, print, blackhole.

use crate::support::{Folder, alluvium, read};

const SPEC: &str = r#"
pipeline: basic
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  rows:
    kind: generate
    rows: 150000
    seed: ${SEED:-1}
    columns:
      id: { sequence: 10 }
      level: { choice: [info, warning, error] }
      size: { int: { min: -5, max: 5 } }
      ms: { float: { min: 0, max: 250 } }
      at: { timestamp: { start: "2026-01-01T00:00:00Z", step_ms: 500 } }
  table: { kind: delta, input: rows, table: "${LAKE}/t" }
  few:   { kind: sql, input: table, query: "SELECT id, level FROM input WHERE id < 13" }
  look:  { kind: print, input: few, rows: 2 }
  gone:  { kind: blackhole, input: rows }
"#;

fn run(folder: &Folder, lake: &str, workers: &str, seed: &str) -> String {
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    alluvium(&["run", &spec, "--workers", workers]).env("LAKE", &folder.text(lake)).env("SEED", seed).ok()
}

#[test]
fn generated_rows_follow_from_the_seed_alone() {
    let folder = Folder::new("generate");
    run(&folder, "one", "1", "1");
    run(&folder, "three", "3", "1");
    run(&folder, "other", "1", "2");
    let one = read(&folder.text("one/t"));
    assert_eq!(one.rows.len(), 150_000);
    assert_eq!(one, read(&folder.text("three/t")));
    let other = read(&folder.text("other/t"));
    assert_eq!(one.select(&["id", "at"]), other.select(&["id", "at"]));
    assert_ne!(one.select(&["id", "size"]), other.select(&["id", "size"]));
    let place = |name: &str| one.names.iter().position(|n| n == name).unwrap();
    let (id, at, size, ms) = (place("id"), place("at"), place("size"), place("ms"));
    let mut sizes = [0_usize; 11];
    for row in &one.rows {
        let half_seconds = row[id].as_i64().unwrap() - 10;
        if half_seconds == 120 {
            assert_eq!(row[at], "2026-01-01T00:01:00+00:00");
        }
        sizes[usize::try_from(row[size].as_i64().unwrap() + 5).unwrap()] += 1;
        assert!((0.0..=250.0).contains(&row[ms].as_f64().unwrap()));
    }
    assert!(sizes.iter().all(|n| (12_000..15_500).contains(n)), "{sizes:?}");
}

#[test]
fn print_shows_the_first_rows_of_an_epoch_and_how_many_there_were() {
    let folder = Folder::new("print");
    let out = run(&folder, "lake", "1", "1");
    assert!(out.contains("look epoch 1, 3 row(s)\n+----+"), "{out}");
    assert!(out.contains("| 10 |") && out.contains("| 11 |") && !out.contains("| 12 |"), "{out}");
}

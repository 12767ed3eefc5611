//! What is kept follows the keys, not the history.

use std::fmt::Write;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::support::{Folder, Running, alluvium, until};

const KEYS: u64 = 400;
/// Values of a key that are told apart.
const VALUES: u64 = 10;
const ROWS: u64 = 1_500;
/// By then every key and value has been seen many times.
const EARLY: usize = 100;
const LATE: usize = 300;

const SPEC: &str = r#"
pipeline: history
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  events: { kind: files, url: "${IN}", format: json, schema: { k: bigint, v: bigint, at: timestamp } }
  groups:
    kind: aggregate
    input: events
    by: [k]
    columns:
      n: { count: "*" }
      mean: { avg: v }
      middle: { quantile: v }
      different: { count_distinct: v }
      best: { top_k: v, k: 3 }
  hours:
    kind: aggregate
    input: events
    by: [k]
    window: { time: at, tumbling: 1h, lateness: 1h }
    columns: { n: { count: "*" }, low: { min: v } }
  groups_out: { kind: blackhole, input: groups }
  hours_out: { kind: blackhole, input: hours }
"#;

/// The most memory that a process has held so far, in KiB.
fn peak(run: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_and_state_do_not_grow_with_the_history() {
    let folder = Folder::new("history");
    let mut random = ChaCha8Rng::seed_from_u64(11);
    for epoch in 0..LATE {
        let mut lines = String::new();
        for _ in 0..ROWS {
            let (k, v) = (random.random_range(0..KEYS), random.random_range(0..VALUES));
            let at = format!("2026-01-{:02}T{:02}:00:00Z", 1 + epoch / 24, epoch % 24);
            writeln!(lines, "{{\"k\":{k},\"v\":{v},\"at\":\"{at}\"}}").unwrap();
        }
        folder.write(&format!("in/{epoch:04}.json"), &lines);
    }
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let call = alluvium(&["run", &spec, "--watch", "--interval", "50ms"]);
    let run = call.env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).start();
    let complete = |epoch: usize| folder.path(&format!("lake/_state/complete/{epoch:020}.json"));
    // Older records are deleted, so that a look may come too late for any one of them.
    let reached = |epoch: usize| {
        let records = std::fs::read_dir(folder.path("lake/_state/complete")).into_iter().flatten();
        records.map(|record| record.unwrap().path()).any(|record| record >= complete(epoch))
    };

    until("the keys are all there", || reached(EARLY));
    let early = peak(&run);
    until("the history is read", || reached(LATE));
    let late = peak(&run);
    run.signal("TERM");
    let done = run.end();
    assert_eq!(done.code, Some(130), "{}", done.err);

    let record: Value = serde_json::from_slice(&std::fs::read(complete(LATE)).unwrap()).unwrap();
    let rows = |stage: &str| -> u64 {
        let files = record["state"][stage]["files"].as_array().unwrap();
        files.iter().map(|f| f["rows"].as_u64().unwrap()).sum()
    };
    // A group and its values, for the median and for the number of different ones; changes up to twice of that, and an epoch.
    let kept = KEYS * (1 + 2 * VALUES);
    assert!(rows("groups") <= 3 * kept + 10_000 + 4 * ROWS, "{} rows of state for {kept}", rows("groups"));
    // Of windows two or three are open.
    assert!(rows("hours") <= 3 * 3 * KEYS + 10_000 + 4 * ROWS, "{} rows of state", rows("hours"));
    assert!(late <= early + early / 10, "{early} KiB after {EARLY} epochs, {late} KiB after {LATE}");
}

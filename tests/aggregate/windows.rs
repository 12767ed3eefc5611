//! Windows over event time: rows in random order, late ones among them.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::naive::{Row, aggregates, assert_same, go};
use crate::support::{Folder, alluvium, epochs, read};

const MINUTE: i64 = 60_000_000;

fn spec(window: &str) -> String {
    format!(
        r#"
pipeline: windows
state: ${{LAKE}}/_state
epoch: {{ splits: 1 }}
stages:
  lines:
    kind: files
    url: ${{IN}}
    format: json
    schema: {{ id: bigint, group: bigint, value: double, word: string, time: bigint }}
  rows:
    kind: sql
    input: lines
    query: SELECT id, "group", value, word, to_timestamp_micros(time) AS happened FROM input
  groups:
    kind: aggregate
    input: rows
    by: [group]
    window: {{ time: happened, {window} }}
    columns:
      rows: {{ count: "*" }}
      words: {{ count_distinct: word }}
      sum: {{ sum: value }}
      most: {{ max: word }}
      median: {{ quantile: value }}
      mode: {{ mode: word }}
      top: {{ top_k: value, k: 3, with: [id, word] }}
  table: {{ kind: delta, input: groups, table: "${{LAKE}}/table", mode: upsert }}
  late:  {{ kind: delta, input: groups.rejects, table: "${{LAKE}}/late" }}
"#
    )
}

/// Epochs of rows around a time that moves on; some are much too late, some have no time.
fn rows(random: &mut ChaCha8Rng) -> Vec<Vec<Row>> {
    (0..9)
        .map(|epoch| {
            let row = |random: &mut ChaCha8Rng| {
                let behind =
                    if random.random_bool(0.15) { random.random_range(0..200) } else { random.random_range(0..25) };
                Row {
                    id: random.random_range(0..1_000),
                    group: random.random_bool(0.9).then(|| random.random_range(0..3)),
                    value: random.random_bool(0.9).then(|| f64::from(random.random_range(-80..80)) / 4.0),
                    word: format!("w{}", random.random_range(0..5)),
                    time: (1_000 + epoch * 20 - behind) * MINUTE + random.random_range(0..MINUTE),
                }
            };
            (0..random.random_range(1..40)).map(|_| row(random)).collect()
        })
        .collect()
}

/// Runs the epochs with random pauses and numbers of workers; gives what the table was after each.
fn run(
    name: &str,
    spec: &str,
    epochs_of_rows: &[Vec<Row>],
    random: &mut ChaCha8Rng,
) -> (Folder, BTreeMap<u64, Vec<Value>>) {
    let folder = Folder::new(name);
    let mut done = 0;
    for (epoch, rows) in epochs_of_rows.iter().enumerate() {
        let mut lines = String::new();
        for row in rows {
            let time = (row.time >= 0).then_some(row.time);
            let json = json!({ "id": row.id, "group": row.group, "value": row.value, "word": row.word, "time": time });
            lines.push_str(&format!("{json}\n"));
        }
        folder.write(&format!("in/{epoch}.json"), &lines);
        if epoch + 1 == epochs_of_rows.len() || random.random_bool(0.4) {
            go(&folder, spec, random, done + 1..=epoch + 1);
            done = epoch + 1;
        }
    }
    let found = epochs(&folder.text("lake/table"));
    (folder, found)
}

fn moment(micros: i64) -> String {
    let days = micros.div_euclid(86_400 * 1_000_000);
    assert_eq!(days, 0, "the test's times are on the first day");
    let seconds = micros / 1_000_000;
    let rest = micros % 1_000_000;
    let fraction = if rest == 0 { String::new() } else { format!(".{rest:06}") };
    format!("1970-01-01T{:02}:{:02}:{:02}{fraction}+00:00", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

type Kept = BTreeMap<(i64, i64, Option<i64>), Vec<Row>>;

fn expected(windows: &Kept) -> Vec<Value> {
    let wanted = ["rows", "words", "sum", "most", "median", "mode", "top"];
    let object = |((start, end, group), rows): (&(i64, i64, Option<i64>), &Vec<Row>)| {
        let all = aggregates(&rows.iter().collect::<Vec<_>>());
        let mut object: Map<String, Value> =
            all.into_iter().filter(|(name, _)| wanted.contains(&name.as_str())).collect();
        object.insert("group".into(), json!(group));
        object.insert("window_start".into(), json!(moment(*start)));
        object.insert("window_end".into(), json!(moment(*end)));
        Value::Object(object)
    };
    windows.iter().map(object).collect()
}

const KEYS: [&str; 2] = ["group", "window_start"];

#[test]
fn windows_of_a_length_close_when_the_time_has_passed() {
    for (seed, (window, length, every, lateness)) in [
        ("tumbling: 10m, lateness: 15m, on_late: quarantine", 10, 10, Some(15)),
        ("hopping: 30m, every: 10m, lateness: 0s, on_late: quarantine", 30, 10, Some(0)),
        ("hopping: 7m, every: 3m, lateness: 40m, on_late: quarantine", 7, 3, Some(40)),
    ]
    .into_iter()
    .enumerate()
    {
        let mut random = ChaCha8Rng::seed_from_u64(200 + seed as u64);
        let given = rows(&mut random);
        let (folder, found) = run(&format!("windows-{seed}"), &spec(window), &given, &mut random);
        let (length, every) = (length * MINUTE, every * MINUTE);
        let (mut kept, mut late, mut watermark) = (Kept::new(), 0, i64::MIN);
        for (rows, (epoch, found)) in given.iter().zip(&found) {
            for row in rows {
                let ends = (0..400).map(|n| n * every + length);
                let all: Vec<i64> = ends.filter(|end| end - length <= row.time && row.time < *end).collect();
                let open: Vec<i64> = all.into_iter().filter(|end| *end > watermark).collect();
                late += usize::from(open.is_empty());
                for end in open {
                    kept.entry((end - length, end, row.group)).or_default().push(row.clone());
                }
            }
            assert_same(found, &expected(&kept), &KEYS, &format!("{window}, epoch {epoch}"));
            let latest = rows.iter().map(|r| r.time).max().unwrap();
            watermark = watermark.max(latest - lateness.unwrap_or(0) * MINUTE);
        }
        assert_eq!(found.len(), given.len());
        let rejected = read(&folder.text("lake/late"));
        assert_eq!(rejected.rows.len(), late, "{window}");
        assert!(late > 3, "{window}: the test has no late rows");
        for row in rejected.select(&["reason", "stage"]) {
            assert_eq!(row, ["the row is late: its window is closed", "groups"]);
        }
        let raw = rejected.select(&["raw"]);
        assert!(raw[0][0].as_str().unwrap().contains("\"happened\":\"1970-01-01T"), "{}", raw[0][0]);
    }
}

#[test]
fn sessions_grow_together_and_close() {
    for (seed, (gap, lateness)) in [(5, 20), (12, 0)].into_iter().enumerate() {
        let window = format!("session: {gap}m, lateness: {lateness}m, on_late: quarantine");
        let mut random = ChaCha8Rng::seed_from_u64(300 + seed as u64);
        let given = rows(&mut random);
        let (folder, found) = run(&format!("sessions-{seed}"), &spec(&window), &given, &mut random);
        let gap = gap * MINUTE;
        let (mut closed, mut open, mut late, mut watermark) = (Kept::new(), Vec::<Row>::new(), 0, i64::MIN);
        for (rows, (epoch, found)) in given.iter().zip(&found) {
            for row in rows {
                if row.time + gap > watermark { open.push(row.clone()) } else { late += 1 }
            }
            let mut all = closed.clone();
            let current = sessions(&open, gap);
            all.extend(current.clone());
            assert_same(found, &expected(&all), &KEYS, &format!("{window}, epoch {epoch}"));
            watermark = watermark.max(rows.iter().map(|r| r.time).max().unwrap() - lateness * MINUTE);
            for ((start, end, group), rows) in current {
                if end <= watermark {
                    open.retain(|r| r.group != group || r.time < start || r.time >= end);
                    closed.insert((start, end, group), rows);
                }
            }
        }
        assert_eq!(read(&folder.text("lake/late")).rows.len(), late, "{window}");
        assert!(late > 3 && !closed.is_empty(), "{window}: the test has no late rows");
    }
}

fn sessions(rows: &[Row], gap: i64) -> Kept {
    let groups: BTreeSet<Option<i64>> = rows.iter().map(|r| r.group).collect();
    let mut found = Kept::new();
    for group in groups {
        let mut mine: Vec<&Row> = rows.iter().filter(|r| r.group == group).collect();
        mine.sort_by_key(|r| r.time);
        let mut session: Vec<Row> = Vec::new();
        for row in mine {
            if session.last().is_some_and(|last| row.time >= last.time + gap) {
                let done = std::mem::take(&mut session);
                found.insert((done[0].time, done.last().unwrap().time + gap, group), done);
            }
            session.push(row.clone());
        }
        found.insert((session[0].time, session.last().unwrap().time + gap, group), session);
    }
    found
}

#[test]
fn the_state_of_closed_windows_is_let_go() {
    let folder = Folder::new("let-go");
    let text = spec("tumbling: 10m, lateness: 0s, on_late: drop").replace("  late:  ", "  #");
    let spec = folder.write("spec.yaml", &text).display().to_string();
    let run = || {
        alluvium(&["run", &spec, "--workers", "3"])
            .env("IN", &folder.text("in"))
            .env("LAKE", &folder.text("lake"))
            .run()
    };
    for epoch in 0..120 {
        let lines: String = (0..20)
            .map(|n| {
                format!("{{\"id\":{n},\"group\":{n},\"value\":1,\"word\":\"w{n}\",\"time\":{}}}\n", epoch * 10 * MINUTE)
            })
            .collect();
        folder.write(&format!("in/{epoch:03}.json"), &lines);
    }
    let done = run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    // What has changed last, over all files of state: one window of 20 groups, their values, and the watermark.
    let held = crate::support::python(&["tests/support/held_state.py", &folder.text("lake/_state/operators/groups")]);
    let held: BTreeMap<String, usize> = serde_json::from_slice(&held).unwrap();
    let total: usize = held.values().sum();
    assert!((21..=250).contains(&total), "{held:?}");
    // A row for a window that was closed by another run is still late.
    folder.write("in/late.json", "{\"id\":1,\"group\":1,\"value\":1,\"word\":\"w\",\"time\":5}\n{\"id\":1,\"group\":1,\"value\":1,\"word\":\"w\",\"time\":null}\n");
    let done = run();
    assert!(done.err.contains("rows were left out that are late or have no time"), "{}", done.err);
    assert_eq!(read(&folder.text("lake/table")).rows.len(), 120 * 20);
}

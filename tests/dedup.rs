//! `kind: dedup`, against looking at all rows anew after every epoch.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::{Bag, Event, Events, alluvium, bag};

/// Each way to say which row is kept, of rows that only come and of rows that come and go; `bags` have rows several times.
const STAGES: &str = r#"
  once:        { kind: dedup, input: left_all, by: [k] }
  newest:      { kind: dedup, input: left_all, by: [k], keep: last }
  least:       { kind: dedup, input: left_all, by: [k, alive], order: w }
  greatest:    { kind: dedup, input: left_all, by: [k], keep: last, order: w }
  bag:         { kind: sql, input: left_now, query: "SELECT k, w, id % 2 AS odd FROM input" }
  first_of:    { kind: dedup, input: bag, by: [k] }
  last_of:     { kind: dedup, input: bag, by: [k], keep: last }
  least_of:    { kind: dedup, input: bag, by: [k], order: odd }
  greatest_of: { kind: dedup, input: bag, by: [odd], keep: last, order: w }
  distinct:    { kind: dedup, input: bag, by: [w, k, odd] }
  others:         { kind: blackhole, input: right_now }
  once_table:     { kind: delta, input: once, table: "${LAKE}/once" }
  newest_table:   { kind: delta, input: newest, table: "${LAKE}/newest", mode: upsert }
  least_log:      { kind: delta, input: least, table: "${LAKE}/least", mode: changes }
  greatest_log:   { kind: delta, input: greatest, table: "${LAKE}/greatest", mode: changes }
  first_of_log:   { kind: delta, input: first_of, table: "${LAKE}/first_of", mode: changes }
  last_of_table:  { kind: delta, input: last_of, table: "${LAKE}/last_of", mode: upsert }
  least_of_log:   { kind: delta, input: least_of, table: "${LAKE}/least_of", mode: changes }
  greatest_of_table: { kind: delta, input: greatest_of, table: "${LAKE}/greatest_of", mode: upsert }
  distinct_log:   { kind: delta, input: distinct, table: "${LAKE}/distinct", mode: changes }
"#;

/// NULL before all values, as `Option` has it.
type Row = Vec<Option<i64>>;

fn row(e: &Event) -> Row {
    vec![Some(e.seq), Some(e.id), e.k, e.w, Some(i64::from(e.alive))]
}

/// Of each key the row for which `rank` is least.
fn kept<K: Ord>(rows: &[Row], key: impl Fn(&Row) -> Row, rank: impl Fn(&Row) -> K) -> Bag {
    let mut best: BTreeMap<Row, &Row> = BTreeMap::new();
    for row in rows {
        let kept = best.entry(key(row)).or_insert(row);
        if rank(row) < rank(kept) {
            *kept = row;
        }
    }
    bag(best.into_values().map(|row| row.iter().map(|v| json!(v)).collect()))
}

/// Greatest first; NULL last.
type Down = std::cmp::Reverse<Option<i64>>;

fn down(value: Option<i64>) -> Down {
    std::cmp::Reverse(value)
}

fn all_down(row: &Row) -> Vec<Down> {
    row.iter().copied().map(down).collect()
}

/// Least first; NULL last.
fn up(value: Option<i64>) -> (bool, Option<i64>) {
    (value.is_none(), value)
}

#[track_caller]
fn assert_deduplicated(events: &Events) {
    let columns = ["seq", "id", "k", "w", "alive"];
    // Each row with its epoch before it.
    let all = |epoch: usize| -> Vec<Row> {
        let of = |(n, file): (usize, &Vec<Event>)| {
            let left = file.iter().filter(|e| e.left);
            left.map(|e| [vec![Some(n as i64)], row(e)].concat()).collect::<Vec<Row>>()
        };
        events.epochs[..epoch].iter().enumerate().flat_map(of).collect()
    };
    let check = |table: &str, key: &dyn Fn(&Row) -> Row, rank: &dyn Fn(&Row) -> Vec<(bool, Down)>| {
        events.assert_every_epoch(table, &columns, |epoch| {
            let kept = kept(&all(epoch), key, rank);
            // Without the epoch, and with a boolean.
            let plain = |row: &String| {
                let mut row: Vec<serde_json::Value> = serde_json::from_str(row).unwrap();
                row[5] = json!(row[5] == json!(1));
                row[1..].to_vec()
            };
            bag(kept.keys().map(plain))
        });
    };
    let negative = |v: Option<i64>| v.map(|v| -v);
    // Least first, as greatest first of the negative: NULL must be turned as well.
    let least = move |row: &Row| row.iter().map(|v| (v.is_some(), down(negative(*v)))).collect::<Vec<_>>();
    let greatest = |row: &Row| row.iter().map(|v| (false, down(*v))).collect::<Vec<_>>();
    check("once", &|r| vec![r[3]], &least);
    check("newest", &|r| vec![r[3]], &greatest);
    check("least", &|r| vec![r[3], r[5]], &|r| {
        [vec![(r[4].is_none(), down(negative(r[4])))], least(&r[1..].to_vec())].concat()
    });
    check("greatest", &|r| vec![r[3]], &|r| [vec![(false, down(r[4]))], greatest(&r[1..].to_vec())].concat());

    let bags =
        |epoch: usize| -> Vec<Row> { events.now(epoch, true).iter().map(|e| vec![e.k, e.w, Some(e.id % 2)]).collect() };
    let columns = ["k", "w", "odd"];
    events.assert_every_epoch("first_of", &columns, |e| kept(&bags(e), |r| vec![r[0]], Row::clone));
    events.assert_every_epoch("last_of", &columns, |e| kept(&bags(e), |r| vec![r[0]], all_down));
    events.assert_every_epoch("least_of", &columns, |e| kept(&bags(e), |r| vec![r[0]], |r| (up(r[2]), r.clone())));
    events
        .assert_every_epoch("greatest_of", &columns, |e| kept(&bags(e), |r| vec![r[2]], |r| (down(r[1]), all_down(r))));
    events.assert_every_epoch("distinct", &columns, |e| kept(&bags(e), Row::clone, Row::clone));
}

#[test]
fn every_epoch_keeps_what_a_look_at_all_rows_would_keep() {
    for (seed, runs) in [vec![1, 1], vec![3, 2, 4], vec![2, 5], vec![4, 1, 3]].into_iter().enumerate() {
        let mut events = Events::new("dedup", STAGES, 50 + seed as u64);
        for workers in runs {
            events.add(6);
            events.call(workers).ok();
        }
        assert_deduplicated(&events);
    }
}

const POINTS: [&str; 6] = [
    "after-binding",
    "after-staging",
    "after-commit:once_table",
    "after-commit:last_of_table",
    "after-commits",
    "after-complete",
];

#[test]
fn killed_at_every_point_and_started_with_another_number_of_workers() {
    for (seed, point) in POINTS.iter().enumerate() {
        let mut events = Events::new("dedup-kill", STAGES, 150 + seed as u64);
        events.add(5);
        for (epoch, workers) in [(1, 3), (4, 1)] {
            events.kill_at(&format!("{point}@{epoch}"), workers);
        }
        events.call(2).ok();
        events.add(2);
        events.call(3).ok();
        assert_deduplicated(&events);
    }
}

#[test]
fn state_of_another_definition_is_refused() {
    let mut events = Events::new("dedup-other", STAGES, 7);
    events.add(2);
    events.call(1).ok();
    events.add(1);
    let spec = events.folder.path("spec.yaml");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, text.replace("by: [k], order: odd", "by: [k], order: w")).unwrap();
    let done = events.call(1).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("stage `least_of` failed"), "{}", done.err);
    assert!(done.err.contains("the stage has changed since its state was written"), "{}", done.err);
}

#[test]
fn explain_says_what_a_dedup_gives() {
    let events = Events::new("dedup-explain", STAGES, 0);
    let shown = alluvium(&["explain", &events.folder.text("spec.yaml")]).env("IN", "in").env("LAKE", "lake").ok();
    for lines in [
        "once  dedup (operator)\n   from     left_all, exchanged by k\n   rows     seq bigint, id bigint, k bigint, w bigint, alive boolean\n   state    by key.k, saved",
        "changes  seq bigint, id bigint, k bigint, w bigint, alive boolean  by k, alive\n   state    by key.k, key.alive, saved",
        "changes  k bigint, w bigint, odd bigint  by odd\n   state    by key.odd, row.w, row.k, saved",
    ] {
        assert!(shown.contains(lines), "{lines}\n{shown}");
    }
}

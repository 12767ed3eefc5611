//! `kind: join`, against joins computed anew after every epoch.

use serde_json::{Value, json};

use crate::cluster::{SECRET, all_end, hosts};
use crate::support::{Bag, Event, Events, Folder, alluvium, bag, read};

/// Rows that only come on both sides, also the same ones several times; changes on both sides, with and without a key of
/// their own; a side of one row per key, on the right of rows that only come and on the left; a table with itself.
const STAGES: &str = r#"
  pairs:  { kind: join, input: [left_all, right_all], by: [k], right: { right_seq: seq } }
  both:   { kind: join, input: [left_now, right_now], by: [k], right: { right_id: id, right_k: k, right_w: w } }
  all:    { kind: join, input: [left_now, right_now], by: { k: k, w: id }, how: left, right: { right_id: id, right_w: w } }
  left_bag:  { kind: sql, input: left_now, query: "SELECT k, w FROM input" }
  right_bag: { kind: sql, input: right_now, query: "SELECT k AS other FROM input" }
  bags:   { kind: join, input: [left_bag, right_bag], by: { k: other }, how: left }
  names:  { kind: dedup, input: right_now, by: [k] }
  named:  { kind: join, input: [left_all, names], by: [k], how: left, right: { name: id, found: k } }
  ones:   { kind: join, input: [names, right_now], by: [k], right: { right_id: id, right_w: w } }
  wide:   { kind: join, input: [left_now, right_now], by: [k], how: left, right: { right_id: id } }
  left_plain:  { kind: sql, input: left_all, query: "SELECT k, w FROM input" }
  right_plain: { kind: sql, input: right_all, query: "SELECT k FROM input" }
  plain:  { kind: join, input: [left_plain, right_plain], by: [k] }
  same:   { kind: join, input: [left_now, left_now], by: { w: id }, how: left, right: { target: id, next: w } }
  pairs_table: { kind: delta, input: pairs, table: "${LAKE}/pairs" }
  both_table:  { kind: delta, input: both, table: "${LAKE}/both", mode: upsert }
  both_log:    { kind: delta, input: both, table: "${LAKE}/both_log", mode: changes }
  all_table:   { kind: delta, input: all, table: "${LAKE}/all", mode: upsert }
  bags_log:    { kind: delta, input: bags, table: "${LAKE}/bags", mode: changes }
  named_log:   { kind: delta, input: named, table: "${LAKE}/named", mode: changes }
  ones_table:  { kind: delta, input: ones, table: "${LAKE}/ones", mode: upsert }
  wide_table:  { kind: delta, input: wide, table: "${LAKE}/wide", mode: upsert }
  plain_table: { kind: delta, input: plain, table: "${LAKE}/plain" }
  same_table:  { kind: delta, input: same, table: "${LAKE}/same", mode: upsert }
"#;

/// The left rows with each match, or with NULL.
fn joined(
    left: &[&Event],
    right: &[&Event],
    on: impl Fn(&Event, &Event) -> bool,
    all: bool,
    row: impl Fn(&Event, Option<&Event>) -> Vec<Value>,
) -> Bag {
    let mut rows = Vec::new();
    for l in left {
        let matches: Vec<&&Event> = right.iter().filter(|r| on(l, r)).collect();
        rows.extend(matches.iter().map(|r| row(l, Some(r))));
        if all && matches.is_empty() {
            rows.push(row(l, None));
        }
    }
    bag(rows)
}

fn same_k(l: &Event, r: &Event) -> bool {
    l.k.is_some() && l.k == r.k
}

#[track_caller]
fn assert_joined(events: &Events) {
    let now = |epoch, left| events.now(epoch, left);
    events.assert_every_epoch("pairs", &["seq", "id", "k", "w", "alive", "right_seq"], |epoch| {
        joined(&events.until(epoch, true), &events.until(epoch, false), same_k, false, |l, r| {
            vec![json!(l.seq), json!(l.id), json!(l.k), json!(l.w), json!(l.alive), json!(r.map(|r| r.seq))]
        })
    });
    for table in ["both", "both_log"] {
        events.assert_every_epoch(table, &["id", "k", "w", "right_id", "right_k", "right_w"], |epoch| {
            joined(&now(epoch, true), &now(epoch, false), same_k, false, |l, r| {
                let right = r.map(|r| (r.id, r.k, r.w)).unwrap();
                vec![json!(l.id), json!(l.k), json!(l.w), json!(right.0), json!(right.1), json!(right.2)]
            })
        });
    }
    events.assert_every_epoch("all", &["id", "k", "w", "right_id", "right_w"], |epoch| {
        let on = |l: &Event, r: &Event| same_k(l, r) && l.w == Some(r.id);
        joined(&now(epoch, true), &now(epoch, false), on, true, |l, r| {
            vec![json!(l.id), json!(l.k), json!(l.w), json!(r.map(|r| r.id)), json!(r.and_then(|r| r.w))]
        })
    });
    events.assert_every_epoch("bags", &["k", "w"], |epoch| {
        joined(&now(epoch, true), &now(epoch, false), same_k, true, |l, _| vec![json!(l.k), json!(l.w)])
    });
    // Of each key the row with the least id.
    let names = |epoch| {
        let mut seen = Vec::new();
        let mut names = now(epoch, false);
        names.sort_by_key(|e| e.id);
        names.retain(|e| e.k.is_some() && !seen.contains(&e.k) && (seen.push(e.k), true).1);
        names
    };
    events.assert_every_epoch("named", &["seq", "name", "found"], |epoch| {
        let names = names(epoch);
        joined(&events.until(epoch, true), &names, same_k, true, |l, r| {
            vec![json!(l.seq), json!(r.map(|r| r.id)), json!(r.and_then(|r| r.k))]
        })
    });
    events.assert_every_epoch("ones", &["id", "k", "w", "right_id", "right_w"], |epoch| {
        joined(&names(epoch), &now(epoch, false), same_k, false, |l, r| {
            let right = r.map(|r| (r.id, r.w)).unwrap();
            vec![json!(l.id), json!(l.k), json!(l.w), json!(right.0), json!(right.1)]
        })
    });
    events.assert_every_epoch("wide", &["id", "k", "w", "right_id"], |epoch| {
        joined(&now(epoch, true), &now(epoch, false), same_k, true, |l, r| {
            vec![json!(l.id), json!(l.k), json!(l.w), json!(r.map(|r| r.id))]
        })
    });
    events.assert_every_epoch("plain", &["k", "w"], |epoch| {
        let all = (events.until(epoch, true), events.until(epoch, false));
        joined(&all.0, &all.1, same_k, false, |l, _| vec![json!(l.k), json!(l.w)])
    });
    events.assert_every_epoch("same", &["id", "w", "target", "next"], |epoch| {
        joined(
            &now(epoch, true),
            &now(epoch, true),
            |l, r| l.w == Some(r.id),
            true,
            |l, r| vec![json!(l.id), json!(l.w), json!(r.map(|r| r.id)), json!(r.and_then(|r| r.w))],
        )
    });
}

#[test]
fn every_epoch_is_what_a_join_of_all_rows_would_be() {
    for (seed, runs) in [vec![1, 1], vec![3, 2, 4], vec![2, 5], vec![4, 1, 3]].into_iter().enumerate() {
        let mut events = Events::new("join", STAGES, seed as u64);
        for workers in runs {
            events.add(6);
            events.call(workers).ok();
        }
        assert_joined(&events);
    }
}

const POINTS: [&str; 6] = [
    "after-binding",
    "after-staging",
    "after-commit:all_table",
    "after-commit:named_log",
    "after-commits",
    "after-complete",
];

#[test]
fn killed_at_every_point_and_started_with_another_number_of_workers() {
    for (seed, point) in POINTS.iter().enumerate() {
        let mut events = Events::new("join-kill", STAGES, 100 + seed as u64);
        events.add(5);
        for (epoch, workers) in [(1, 2), (4, 3)] {
            events.kill_at(&format!("{point}@{epoch}"), workers);
        }
        events.call(1).ok();
        events.add(2);
        events.call(2).ok();
        assert_joined(&events);
    }
}

#[test]
fn two_processes_give_what_one_gives() {
    let mut events = Events::new("join-cluster", STAGES, 200);
    for workers in ["1", "2"] {
        events.add(4);
        let hosts = hosts(2).join(",");
        let process = |n| {
            let call = events.call_with(&["--workers", workers, "--hosts", &hosts, "--process", n]);
            call.env("ALLUVIUM_CLUSTER_SECRET", SECRET).start()
        };
        all_end(["0", "1"].map(process).into(), 0);
    }
    events.add(2);
    events.call(1).ok();
    assert_joined(&events);
}

#[test]
fn columns_that_come_go_through_with_the_state_of_before() {
    let folder = Folder::new("join-columns");
    let spec = folder.write(
        "spec.yaml",
        r#"
pipeline: shop
state: ${IN}/lake/_state
stages:
  orders:    { kind: files, url: "${IN}/orders", format: json, schema: infer }
  customers: { kind: files, url: "${IN}/customers", format: json, schema: infer }
  newest:    { kind: dedup, input: orders, by: [id], keep: last }
  names:     { kind: dedup, input: customers, by: [customer], keep: last }
  once:      { kind: dedup, input: names, by: [name] }
  named:     { kind: join, input: [newest, names], by: [customer], how: left }
  table:     { kind: delta, input: named, table: "${IN}/lake/named", mode: upsert }
  of_names:  { kind: delta, input: once, table: "${IN}/lake/once", mode: upsert }
"#,
    );
    let run = |workers| {
        let call = alluvium(&["run", &spec.display().to_string(), "--workers", workers]);
        call.env("IN", &folder.text("")).ok();
        read(&folder.text("lake/named")).select(&["id", "customer", "name"])
    };
    folder.write("orders/a.json", "{\"id\":1,\"customer\":1}\n{\"id\":2,\"customer\":2}\n");
    folder.write(
        "customers/a.json",
        "{\"customer\":1,\"name\":\"Ann\"}\n{\"customer\":2,\"name\":\"Bob\"}\n{\"customer\":3,\"name\":\"Bob\"}\n",
    );
    assert_eq!(run("2"), [[json!(1), json!(1), json!("Ann")], [json!(2), json!(2), json!("Bob")]]);
    folder.write("customers/b.json", "{\"customer\":1,\"name\":\"Ann\",\"city\":\"Rome\"}\n");
    folder.write("orders/b.json", "{\"id\":3,\"customer\":2,\"note\":\"soon\"}\n");
    run("3");
    folder.write("customers/c.json", "{\"customer\":2,\"name\":\"Bea\"}\n");
    run("1");
    let found = read(&folder.text("lake/named"));
    let row = |id, customer, note, name, city: Value| vec![json!(id), json!(customer), note, json!(name), city];
    let expected = vec![
        row(1, 1, json!(null), "Ann", json!("Rome")),
        row(2, 2, json!(null), "Bea", json!(null)),
        row(3, 2, json!("soon"), "Bea", json!(null)),
    ];
    assert_eq!(found.select(&["id", "customer", "note", "name", "city"]), expected);
    let names = read(&folder.text("lake/once")).select(&["name", "customer", "city"]);
    assert_eq!(
        names,
        [
            [json!("Ann"), json!(1), json!("Rome")],
            [json!("Bea"), json!(2), json!(null)],
            [json!("Bob"), json!(3), json!(null)],
        ]
    );
}

#[test]
fn state_of_another_definition_is_refused() {
    let mut events = Events::new("join-other", STAGES, 7);
    events.add(2);
    events.call(1).ok();
    events.add(1);
    let spec = events.folder.path("spec.yaml");
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, text.replace("right_k: k, right_w: w", "right_w: w, right_k: k")).unwrap();
    let done = events.call(1).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(done.err.contains("stage `both` failed"), "{}", done.err);
    assert!(done.err.contains("the stage has changed since its state was written"), "{}", done.err);
}

#[test]
fn values_of_every_type_come_out_as_they_went_in() {
    let events = Events::new(
        "join-types",
        r#"
  typed: { kind: files, url: "${IN}/../typed", format: json,
           schema: { id: int, s: string, f: float, d: double, b: boolean, day: date, at: timestamp } }
  lists: { kind: sql, input: typed, query: "SELECT *, CASE WHEN id = 2 THEN NULL ELSE make_array(s, 'x') END AS list FROM input" }
  last:  { kind: dedup, input: lists, by: [day, s], keep: last }
  both:  { kind: join, input: [last, lists], by: [day, at, b, s], how: left,
           right: { id2: id, f2: f, d2: d, list2: list } }
  table: { kind: delta, input: both, table: "${LAKE}/typed", mode: upsert, key: [id] }
  unused: { kind: blackhole, input: [left_now, right_now] }
"#,
        0,
    );
    let line = |id: i64, s: &str, f: &str| {
        format!(
            r#"{{"id":{id},"s":{s},"f":{f},"d":{f},"b":true,"day":"2026-03-0{id}","at":"2026-03-01T10:00:00.00000{id}Z"}}"#
        ) + "\n"
    };
    let nulls = "{\"id\":9}\n";
    events.folder.write("typed/a.json", &(line(1, "\"\"", "-0.0") + &line(2, "\"ü\\u0000z\"", "null") + nulls));
    events.folder.write("in/none.json", "");
    events.call(3).ok();
    // From the state.
    events.folder.write("typed/b.json", &line(3, "\"c\"", "1.5e-3"));
    events.call(2).ok();
    let found = read(&events.folder.text("lake/typed"));
    let list = |s: &str| json!([s, "x"]);
    let f = f64::from(1.5e-3_f32);
    let (one, two, three) = (list(""), Value::Null, list("c"));
    let expected = vec![
        vec![json!(1), json!(""), json!(-0.0), json!(-0.0), one.clone(), json!(1), json!(-0.0), json!(-0.0), one],
        vec![json!(2), json!("ü\0z"), json!(null), json!(null), two.clone(), json!(2), json!(null), json!(null), two],
        vec![json!(3), json!("c"), json!(f), json!(1.5e-3), three.clone(), json!(3), json!(f), json!(1.5e-3), three],
        vec![
            json!(9),
            json!(null),
            json!(null),
            json!(null),
            json!([null, "x"]),
            json!(null),
            json!(null),
            json!(null),
            json!(null),
        ],
    ];
    assert_eq!(found.select(&["id", "s", "f", "d", "list", "id2", "f2", "d2", "list2"]), expected);
}

#[test]
fn explain_says_what_a_join_gives() {
    let events = Events::new("join-explain", STAGES, 0);
    let spec = events.folder.text("spec.yaml");
    let shown = alluvium(&["explain", &spec]).env("IN", "in").env("LAKE", "lake").ok();
    for line in [
        "rows     seq bigint, id bigint, k bigint, w bigint, alive boolean, right_seq bigint\n",
        "changes  id bigint, k bigint, w bigint, right_id bigint, right_k bigint, right_w bigint  by id, right_id\n",
        // `id` of the right side is part of its key: one match at most.
        "changes  id bigint, k bigint, w bigint, right_id bigint, right_w bigint  by id\n",
        "changes  k bigint, w bigint\n",
        // Each row of the right side matches one of the left at most.
        "changes  id bigint, k bigint, w bigint, right_id bigint, right_w bigint  by right_id\n",
        "changes  id bigint, k bigint, w bigint, right_id bigint  by id, right_id\n",
        "changes  seq bigint, id bigint, k bigint, w bigint, alive boolean, name bigint, found bigint\n",
        "state    by side, key.k, left.seq, left.id, left.w, left.alive, right.right_seq, saved with every epoch\n",
    ] {
        assert!(shown.contains(line), "{line}{shown}");
    }
}

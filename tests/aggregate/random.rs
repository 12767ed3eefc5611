//! Random rows that come, and that come and go, in random epochs, with changing numbers of workers and processes that are
//! killed: after every epoch each aggregate is what a computation from scratch gives.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::naive::{COLUMNS, Row, assert_same, go, grouped};
use crate::support::{Folder, epochs};

#[test]
fn rows_that_come() {
    let spec = format!(
        r#"
pipeline: come
state: ${{LAKE}}/_state
epoch: {{ splits: 1 }}
stages:
  rows:
    kind: files
    url: ${{IN}}
    format: json
    schema: {{ id: bigint, group: bigint, value: double, word: string, time: bigint }}
  groups:
    kind: aggregate
    input: rows
    by: [group]
    columns:{COLUMNS}
      about_words: {{ count_distinct: word, approximate: true }}
      while_few: {{ most_frequent: word, k: 3, approximate: true }}
  table: {{ kind: delta, input: groups, table: "${{LAKE}}/table", mode: upsert }}
"#
    );
    for seed in 0..2 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let folder = Folder::new(&format!("come-{seed}"));
        let mut rows: Vec<Row> = Vec::new();
        let mut after: Vec<Vec<Row>> = Vec::new();
        let mut done = 0;
        for epoch in 0..8 {
            let mut lines = String::new();
            for _ in 0..random.random_range(1..60) {
                let row = Row {
                    id: random.random_range(0..1_000),
                    group: random.random_bool(0.9).then(|| random.random_range(0..5)),
                    value: random.random_bool(0.9).then(|| f64::from(random.random_range(-80..80)) / 4.0),
                    word: format!("w{}", random.random_range(0..7)),
                    time: 0,
                };
                let json = serde_json::json!({
                    "id": row.id, "group": row.group, "value": row.value, "word": row.word, "time": row.time });
                lines.push_str(&format!("{json}\n"));
                rows.push(row);
            }
            folder.write(&format!("in/{epoch}.json"), &lines);
            after.push(rows.clone());
            if epoch == 7 || random.random_bool(0.4) {
                go(&folder, &spec, &mut random, done + 1..=epoch + 1);
                done = epoch + 1;
            }
        }
        let found = epochs(&folder.text("lake/table"));
        assert_eq!(found.len(), after.len());
        for (rows, (epoch, found)) in after.iter().zip(&found) {
            let expected = grouped(rows);
            assert_same(found, &expected, &["group"], &format!("seed {seed}, epoch {epoch}"));
            for row in found {
                assert_eq!(row["about_words"], row["words"], "so few values are told apart");
                assert_eq!(row["while_few"], row["frequent"], "so few values are all kept");
            }
        }
    }
}

/// Sums of random numbers by id: each epoch changes some, and a filter takes some away. Rows like these go into the
/// aggregates, as changes.
#[test]
fn rows_that_come_and_go() {
    let spec = format!(
        r#"
pipeline: come-and-go
state: ${{LAKE}}/_state
epoch: {{ splits: 1 }}
stages:
  numbers: {{ kind: files, url: "${{IN}}", format: json, schema: {{ id: bigint, x: bigint }} }}
  sums:    {{ kind: aggregate, input: numbers, by: [id], columns: {{ s: {{ sum: x }} }} }}
  rows:
    kind: sql
    input: sums
    query: >
      SELECT id, CASE WHEN s % 6 <> 5 THEN s % 6 END AS "group", CASE WHEN s % 8 <> 7 THEN CAST(s AS DOUBLE) / 4 END AS value,
      concat('w', CAST(s % 7 AS VARCHAR)) AS word, s AS time FROM input WHERE s % 4 <> 3
  groups:
    kind: aggregate
    input: rows
    by: [group]
    columns:{COLUMNS}
  table: {{ kind: delta, input: groups, table: "${{LAKE}}/table", mode: upsert }}
"#
    );
    for seed in 0..3 {
        let mut random = ChaCha8Rng::seed_from_u64(100 + seed);
        let folder = Folder::new(&format!("come-and-go-{seed}"));
        let mut sums: BTreeMap<i64, i64> = BTreeMap::new();
        let mut after: Vec<Vec<Row>> = Vec::new();
        let mut done = 0;
        for epoch in 0..10 {
            let mut lines = String::new();
            for _ in 0..random.random_range(1..50) {
                let (id, x) = (random.random_range(0..60), random.random_range(0..30));
                lines.push_str(&format!("{{\"id\":{id},\"x\":{x}}}\n"));
                *sums.entry(id).or_default() += x;
            }
            folder.write(&format!("in/{epoch}.json"), &lines);
            after.push(sums.iter().filter(|(_, s)| **s % 4 != 3).map(|(id, s)| row(*id, *s)).collect());
            if epoch == 9 || random.random_bool(0.4) {
                go(&folder, &spec, &mut random, done + 1..=epoch + 1);
                done = epoch + 1;
            }
        }
        let found = epochs(&folder.text("lake/table"));
        assert_eq!(found.len(), after.len());
        for (rows, (epoch, found)) in after.iter().zip(&found) {
            assert_same(found, &grouped(rows), &["group"], &format!("seed {seed}, epoch {epoch}"));
        }
    }
}

fn row(id: i64, s: i64) -> Row {
    Row {
        id,
        group: (s % 6 != 5).then_some(s % 6),
        value: (s % 8 != 7).then_some(s as f64 / 4.0),
        word: format!("w{}", s % 7),
        time: s,
    }
}

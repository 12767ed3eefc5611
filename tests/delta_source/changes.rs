//! Rows that come and go: what is made of the changes is what is made of the table.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Case;
use crate::support::{Folder, Running, alluvium, read, until};

/// What other programs do to a table, from a number.
fn steps(seed: u64) -> Vec<Value> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let row = |id: u64, n: u64| json!({ "id": id, "word": format!("w{}", n % 5), "n": n });
    let mut made = 1_000;
    let mut step = || match next(8) {
        0 => {
            made += 10;
            json!({ "append": (made..made + 1 + next(9)).map(|id| row(id, id)).collect::<Vec<_>>() })
        }
        1 | 2 => {
            json!({ "update": { "n": format!("n + {}", next(4)), "word": "word" }, "where": format!("id % 7 = {}", next(7)) })
        }
        3 => json!({ "delete": format!("id % 11 = {}", next(11)) }),
        4 | 5 => {
            let from = next(30);
            let merged =
                (from..from + 6).map(|id| json!({ "id": id, "word": "m", "n": next(50), "gone": next(3) == 0 }));
            json!({ "merge": merged.collect::<Vec<_>>(), "on": "id" })
        }
        6 => json!({ "optimize": true }),
        _ => {
            json!({ "overwrite": (0..next(40)).map(|id| row(id, next(9))).chain([row(2_000, 1)]).collect::<Vec<_>>() })
        }
    };
    (0..3).map(|_| step()).collect()
}

/// After every few versions a copy by key, a filtered one, an aggregate and a log of the changes say what the table says.
fn as_recomputed(name: &str, feed: bool) {
    let case = Case::new(name, "changes: true, key: [id]", "mode: upsert");
    let spec = std::fs::read_to_string(&case.spec).unwrap()
        + r#"  doubled: { kind: sql, input: source, query: "SELECT id * 2 AS twice, n FROM input WHERE n % 2 = 0" }
  even:    { kind: delta, input: doubled, table: "${LAKE}/even", mode: upsert, key: [twice] }
  log:     { kind: delta, input: source, table: "${LAKE}/log", mode: changes }
  counted: { kind: aggregate, input: source, by: [word], columns: { rows: { count: "*" }, sum: { sum: n }, least: { min: id } } }
  words:   { kind: delta, input: counted, table: "${LAKE}/words", mode: upsert }
"#;
    std::fs::write(&case.spec, spec).unwrap();
    let rows: Vec<Value> = (0..40).map(|id| json!({ "id": id, "word": format!("w{}", id % 4), "n": id })).collect();
    let property = json!({ "delta.enableChangeDataFeed": feed.to_string() });
    case.write(json!([{ "append": rows, "properties": property, "partition_by": ["word"] }]));
    for round in 0..10 {
        let lake = case.folder.text("lake");
        case.call(1 + round as usize % 3).env("LAKE", &lake).ok();
        case.assert_same(&format!("round {round}"));
        let source = read(&case.source);
        let twice = |row: &Vec<Value>| vec![json!(row[0].as_i64().unwrap() * 2), row[1].clone()];
        let even = source.select(&["id", "n"]).iter().filter(|r| r[1].as_i64().unwrap() % 2 == 0).map(twice).collect();
        assert_eq!(read(&format!("{lake}/even")).select(&["twice", "n"]), sorted(even), "round {round}");
        let mut words: BTreeMap<String, (i64, i64, i64)> = BTreeMap::new();
        for row in source.select(&["word", "n", "id"]) {
            let (n, id) = (row[1].as_i64().unwrap(), row[2].as_i64().unwrap());
            let of = words.entry(row[0].as_str().unwrap().into()).or_insert((0, 0, id));
            *of = (of.0 + 1, of.1 + n, of.2.min(id));
        }
        let words =
            words.iter().map(|(word, (rows, sum, least))| vec![json!(word), json!(rows), json!(sum), json!(least)]);
        let counted = read(&format!("{lake}/words")).select(&["word", "rows", "sum", "least"]);
        assert_eq!(counted, sorted(words.collect()), "round {round}");
        let mut held: BTreeMap<String, i64> = BTreeMap::new();
        for row in read(&format!("{lake}/log")).select(&["id", "word", "n", "_diff"]) {
            *held.entry(json!(row[..3]).to_string()).or_default() += row[3].as_i64().unwrap();
        }
        held.retain(|_, times| *times != 0);
        let expected: BTreeMap<String, i64> =
            source.select(&["id", "word", "n"]).iter().map(|row| (json!(row).to_string(), 1)).collect();
        assert_eq!(held, expected, "round {round}");
        case.write(json!(steps(round)));
    }
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|r| serde_json::to_string(r).unwrap());
    rows
}

#[test]
fn changes_by_a_feed_are_as_recomputed() {
    as_recomputed("feed", true);
}

#[test]
fn changes_by_files_are_as_recomputed() {
    as_recomputed("files", false);
}

const WRITER: &str = r#"
pipeline: writer
state: ${LAKE}/_writer
epoch: { splits: 1 }
stages:
  words:  { kind: files, url: "${IN}", format: json, schema: { word: string, size: bigint } }
  counts: { kind: aggregate, input: words, by: [word], columns: { n: { count: "*" }, sum: { sum: size } } }
  table:  { kind: delta, input: counts, table: "${LAKE}/counts", mode: upsert, FEED }
"#;

const READER: &str = r#"
pipeline: reader
state: ${LAKE}/_reader
stages:
  counts: { kind: delta, table: "${LAKE}/counts", changes: true, key: [word] }
  table:  { kind: delta, input: counts, table: "${LAKE}/copy", mode: upsert }
"#;

/// One pipeline keeps a table current, another one reads what changes in it, both at once.
#[test]
fn a_pipeline_follows_the_upserts_of_another() {
    for feed in ["change_feed: true", "upkeep: { optimize: 4, checkpoint: 3 }"] {
        let folder = Folder::new("follows");
        let watch = |spec: &str, name: &str| -> Running {
            let spec = folder.write(name, spec).display().to_string();
            let call = alluvium(&["run", &spec, "--watch", "--interval", "30ms", "--workers", "2"]);
            call.env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).start()
        };
        let put = |file: i64| {
            let line = |n: i64| format!("{{\"word\":\"w{}\",\"size\":{}}}\n", (n * 7 + file * 3) % 9, n * file % 5);
            let made = folder.write(&format!("made/{file}.json"), &(0..15).map(line).collect::<String>());
            std::fs::create_dir_all(folder.path("in")).unwrap();
            std::fs::rename(made, folder.path(&format!("in/{file}.json"))).unwrap();
        };
        put(0);
        let writer = watch(&WRITER.replace("FEED", feed), "writer.yaml");
        until("there is a table", || folder.path("lake/counts/_delta_log/00000000000000000001.json").exists());
        let reader = watch(READER, "reader.yaml");
        (1..12).for_each(put);
        let words = |table: &str| read(&folder.text(&format!("lake/{table}"))).select(&["word", "n", "sum"]);
        let read_all = || words("counts").iter().map(|row| row[1].as_i64().unwrap()).sum::<i64>() == 12 * 15;
        until("all rows are counted", read_all);
        until("there is a copy", || folder.path("lake/copy/_delta_log").exists());
        until("the copy is the same", || words("copy") == words("counts"));
        for running in [writer, reader] {
            running.signal("INT");
            assert_eq!(running.end().code, Some(130));
        }
    }
}

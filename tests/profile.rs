//! `kind: profile`, against the same computed anew with Python after every epoch.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::{Folder, alluvium, epochs, python, read};

/// Columns of every type; some have nothing but NULL, some values that cannot be computed with.
const SPEC: &str = r#"
pipeline: profile
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  lines:
    kind: files
    url: ${IN}
    format: json
    schema: { id: bigint, k: bigint, text: string, mixed: string, word: string, at: string, x: double }
  read:
    kind: sql
    input: lines
    query: >
      SELECT id, k, text, mixed, word, at,
        CASE id % 11 WHEN 0 THEN CAST('NaN' AS DOUBLE) WHEN 1 THEN CAST('-inf' AS DOUBLE) ELSE x END AS x,
        CAST(x AS FLOAT) AS single,
        CAST(id % 7 AS INT) AS small,
        CAST(x AS DECIMAL(12, 3)) AS money,
        CAST(text AS BYTEA) AS bytes,
        TRY_CAST(at AS TIMESTAMP) AS time,
        CAST(TRY_CAST(at AS TIMESTAMP) AS DATE) AS day,
        CASE WHEN id % 5 > 0 THEN id % 2 = 0 END AS flag,
        CAST(NULL AS DOUBLE) AS nothing,
        CAST(NULL AS VARCHAR) AS no_text,
        regexp_extract_all(text, '[a-z]+') AS list,
        named_struct('a', id, 'b', text) AS struct,
        id % 3 AS "it's a ""column"" of ours"
      FROM input
  rows:  { kind: delta, input: read, table: "${LAKE}/rows" }
  about: { kind: profile, input: rows, top: 4 }
  exact: { kind: profile, input: rows, exact: true, top: 3 }
  few:   { kind: profile, input: rows, columns: [x, "it's a \"column\" of ours"] }
  last:  { kind: dedup, input: rows, by: [k], keep: last }
  now:   { kind: delta, input: last, table: "${LAKE}/now", mode: upsert }
  gone:  { kind: profile, input: last, top: 3 }
  about_table: { kind: delta, input: about, table: "${LAKE}/about", mode: upsert }
  exact_table: { kind: delta, input: exact, table: "${LAKE}/exact", mode: upsert }
  few_table:   { kind: delta, input: few, table: "${LAKE}/few", mode: upsert }
  gone_table:  { kind: delta, input: gone, table: "${LAKE}/gone", mode: upsert }
"#;

fn line(id: i64, random: &mut ChaCha8Rng) -> Value {
    let mut of = |words: &[&str]| match random.random_range(0..=words.len()) {
        0 => Value::Null,
        n => json!(words[n - 1]),
    };
    let text = of(&["", "  ", "a bc", "käse", "日本語", "zz", "it's", "\t\n"]);
    let word = of(&["true", "No", " yes ", "FALSE", ""]);
    let at = of(&["2024-01-02T03:04:05Z", "2024-02-03T04:05:06.123Z", "1969-12-31T23:59:59.999999Z", "2024-05-06"]);
    // About as many of them are no whole numbers as may be.
    let mixed = match random.random_range(0..22) {
        0 => json!("1.5e3"),
        1 => Value::Null,
        _ => json!(format!(" {}", random.random_range(-9..999))),
    };
    let x = random.random_bool(0.9).then(|| f64::from(random.random_range(-800..8_000)) / 16.0);
    json!({ "id": id, "k": random.random_range(0..40), "text": text, "mixed": mixed, "word": word, "at": at, "x": x })
}

fn compare(lake: &str, rows: &str, profile: &str, more: &[&str]) -> u64 {
    let (rows, profile) = (format!("{lake}/{rows}"), format!("{lake}/{profile}"));
    let arguments = ["tests/support/profile.py", &rows, &profile];
    serde_json::from_slice(&python(&[arguments.as_slice(), more].concat())).unwrap()
}

#[test]
fn columns_of_every_type_are_as_recomputed_after_every_epoch() {
    let folder = Folder::new("profile");
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let lake = folder.text("lake");
    let run = |workers: usize| {
        alluvium(&["run", &spec, "--workers", &workers.to_string()]).env("IN", &folder.text("in")).env("LAKE", &lake)
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for epoch in 0..6_i64 {
        let lines = (0..60).map(|n| format!("{}\n", line(epoch * 60 + n, &mut random)));
        folder.write(&format!("in/{epoch}.json"), &lines.collect::<String>());
        match epoch {
            1 => run(1).killed_at("after-staging@2"),
            3 => run(2).killed_at("after-commit:about_table@4"),
            4 => run(3).killed_at("after-binding@5"),
            _ => {}
        }
        if epoch % 2 == 1 {
            drop(run(1 + epoch as usize % 3).ok());
        }
    }
    run(2).ok();
    assert_eq!(compare(&lake, "rows", "about", &["4", "about"]), 6);
    assert_eq!(compare(&lake, "rows", "exact", &["3", "exact"]), 6);
    assert_eq!(compare(&lake, "rows", "few", &["10", "about", "x", "it's a \"column\" of ours"]), 6);
    // Rows are replaced by later ones of their key.
    assert_eq!(compare(&lake, "now", "gone", &["3", "exact"]), 6);
    let table = read(&format!("{lake}/about"));
    assert_eq!(table.columns["top"], "list<element: struct<value: string, rows: int64>>");
    for name in ["rows", "distinct", "empty", "max_length"] {
        assert_eq!(table.columns[name], "int64", "{name}");
    }
}

/// With many different values nothing is told of the most frequent ones, and the rest is still right.
#[test]
fn a_column_of_many_values_in_little_state() {
    let folder = Folder::new("profile-many");
    let spec = r#"
pipeline: many
state: ${LAKE}/_state
stages:
  ids:   { kind: generate, rows: 20000, columns: { id: { sequence: 1 } } }
  named: { kind: sql, input: ids, query: "SELECT id, concat('name ', id) AS name, id % 4000 AS few FROM input" }
  rows:  { kind: delta, input: named, table: "${LAKE}/rows" }
  about: { kind: profile, input: rows, top: 3 }
  table: { kind: delta, input: about, table: "${LAKE}/about", mode: upsert }
"#;
    let spec = folder.write("spec.yaml", spec).display().to_string();
    let lake = folder.text("lake");
    alluvium(&["run", &spec, "--workers", "3"]).env("LAKE", &lake).ok();
    assert!(compare(&lake, "rows", "about", &["3", "about"]) >= 1);
    let rows = read(&format!("{lake}/about")).select(&["column", "top"]);
    let told: Vec<bool> = rows.iter().map(|row| row[1].is_array()).collect();
    assert_eq!(told, [true, false, false], "{rows:?}");
}

/// All rows go: there is nothing to describe, and later there is again.
#[test]
fn without_rows_there_is_no_profile() {
    let folder = Folder::new("profile-none");
    let spec = r#"
pipeline: none
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  lines: { kind: files, url: "${IN}", format: json, schema: { k: bigint, x: bigint } }
  sums:  { kind: aggregate, input: lines, by: [k], columns: { s: { sum: x } } }
  some:  { kind: sql, input: sums, query: "SELECT k, s FROM input WHERE s > 0" }
  told:  { kind: profile, input: some }
  table: { kind: delta, input: told, table: "${LAKE}/table", mode: upsert }
"#;
    let spec = folder.write("spec.yaml", spec).display().to_string();
    for (file, lines) in ["{\"k\":1,\"x\":5}", "{\"k\":1,\"x\":-5}", "{\"k\":1,\"x\":7}"].into_iter().enumerate() {
        folder.write(&format!("in/{file}.json"), &format!("{lines}\n"));
    }
    alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok();
    let found = epochs(&folder.text("lake/table"));
    let told = |epoch: u64| found[&epoch].iter().map(|r| (r["column"].clone(), r["max"].clone())).collect::<Vec<_>>();
    assert_eq!(told(1), [(json!("k"), json!("1")), (json!("s"), json!("5"))]);
    assert_eq!(told(2), []);
    assert_eq!(told(3), [(json!("k"), json!("1")), (json!("s"), json!("7"))]);
}

/// What is known of the columns that were there goes on; a changed spec has no use for it, and that is told beforehand.
#[test]
fn columns_that_come_later_are_left_out() {
    let folder = Folder::new("profile-later");
    let spec = |profile: &str| {
        let text = format!(
            r#"
pipeline: later
state: ${{LAKE}}/_state
epoch: {{ splits: 1 }}
stages:
  lines: {{ kind: files, url: "${{IN}}", format: json, schema: infer, evolution: add }}
  told:  {{ kind: profile, input: lines, {profile} }}
  table: {{ kind: delta, input: told, table: "${{LAKE}}/table", mode: upsert }}
"#
        );
        folder.write("spec.yaml", &text).display().to_string()
    };
    let call = |arguments: &[&str]| alluvium(arguments).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake"));
    let columns = || -> Vec<Value> {
        let rows = read(&folder.text("lake/table")).select(&["column", "rows"]);
        rows.into_iter().map(Value::from).collect()
    };
    let before = spec("top: 10");
    folder.write("in/1.json", "{\"a\":1}\n");
    call(&["run", &before]).ok();
    folder.write("in/2.json", "{\"a\":2,\"b\":\"x\"}\n");
    call(&["run", &before]).ok();
    call(&["run", &before]).ok();
    assert_eq!(columns(), [json!(["a", 2])]);

    let against = |spec: &str| call(&["explain", spec, "--against", &folder.text("lake/_state")]).ok();
    assert!(against(&before).contains("\n  told   keeps its state: "), "{}", against(&before));
    for (changed, why) in [("top: 3", "another top"), ("columns: [a, b]", "another column"), ("exact: true", "exact")] {
        let changed = spec(changed);
        assert!(against(&changed).contains("\n  told   rebuild: changed"), "{why}: {}", against(&changed));
        let refused = call(&["run", &changed]).run();
        assert_eq!(refused.code, Some(1), "{why}");
        assert!(refused.err.contains("stage `told` failed"), "{why}: {}", refused.err);
    }
}

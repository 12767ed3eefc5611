//! Rows that come and go: through `sql`, into tables by key, into logs of changes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Folder, alluvium, read};

/// Counts of each word; the frequent ones, by another name; every change of them.
const SPEC: &str = r#"
pipeline: frequent
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  words:    { kind: files, url: "${IN}", format: json, schema: { word: string, size: bigint } }
  counts:   { kind: aggregate, input: words, by: [word], columns: { n: { count: "*" }, sum: { sum: size } } }
  some:     { kind: sql, input: counts, query: "SELECT upper(word) AS loud, word AS name, sum FROM input WHERE sum % 3 = 0" }
  table:    { kind: delta, input: some, table: "${LAKE}/table", mode: upsert }
  log:      { kind: delta, input: counts, table: "${LAKE}/log", mode: changes }
"#;

#[test]
fn a_row_that_no_longer_passes_a_filter_leaves_the_table() {
    let folder = Folder::new("leaves");
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for file in 0..6_i64 {
        let mut lines = String::new();
        for n in 0..40_i64 {
            let (word, size) = (format!("w{}", (n * 7 + file * 3) % 11), n * file % 5);
            lines.push_str(&format!("{{\"word\":\"{word}\",\"size\":{size}}}\n"));
            *sums.entry(word).or_default() += size;
        }
        folder.write(&format!("in/{file}.json"), &lines);
        // Now and then a run by itself, with another number of workers.
        if file % 2 == 1 {
            alluvium(&["run", &spec, "--workers", &file.to_string()])
                .env("IN", &folder.text("in"))
                .env("LAKE", &folder.text("lake"))
                .ok();
            let mut expected: Vec<Vec<Value>> = sums
                .iter()
                .filter(|(_, sum)| **sum % 3 == 0)
                .map(|(word, sum)| vec![json!(word), json!(word.to_uppercase()), json!(sum)])
                .collect();
            let mut found = read(&folder.text("lake/table")).select(&["name", "loud", "sum"]);
            found.sort_by_key(|r| r[0].to_string());
            expected.sort_by_key(|r| r[0].to_string());
            assert_eq!(found, expected, "after file {file}");
        }
    }
    // The log adds up to what holds: one row for each word, those of before taken away.
    let mut held: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for row in read(&folder.text("lake/log")).select(&["word", "sum", "_diff"]) {
        *held.entry((row[0].as_str().unwrap().into(), row[1].as_i64().unwrap())).or_default() +=
            row[2].as_i64().unwrap();
    }
    held.retain(|_, n| *n != 0);
    assert_eq!(held, sums.into_iter().map(|(word, sum)| ((word, sum), 1)).collect());
}

#[test]
fn two_rows_of_a_key_are_told() {
    let folder = Folder::new("two-rows");
    let spec = SPEC.replace("word AS name, sum", "1 AS one").replace("mode: upsert }", "mode: upsert, key: [one] }");
    let spec = folder.write("spec.yaml", &spec).display().to_string();
    folder.write("in/a.json", "{\"word\":\"a\",\"size\":3}\n{\"word\":\"b\",\"size\":3}\n");
    let done = alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).run();
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the input has several rows with the key one = 1"), "{}", done.err);
}

#[test]
fn a_changed_spec_is_held_against_the_state_of_before() {
    let folder = Folder::new("against");
    let stages = |counts: &str, more: &str| {
        format!(
            r#"
pipeline: against
state: ${{LAKE}}/_state
stages:
  words:  {{ kind: files, url: "${{IN}}", format: json, schema: {{ word: string, size: bigint }} }}
  same:   {{ kind: aggregate, input: words, by: [word], columns: {{ n: {{ count: "*" }} }} }}
  same_table: {{ kind: delta, input: same, table: "${{LAKE}}/same", mode: upsert }}
{counts}{more}"#
        )
    };
    let counts = |column: &str| {
        format!(
            "  counts: {{ kind: aggregate, input: words, by: [word], columns: {{ n: {{ {column}: size }} }} }}\n  gone: {{ kind: blackhole, input: counts }}\n"
        )
    };
    let write = |text: String| folder.write("spec.yaml", &text).display().to_string();
    let call = |arguments: &[&str]| alluvium(arguments).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake"));
    let against = |spec: &str| {
        let out = call(&["explain", spec, "--against", &folder.text("lake/_state")]).ok();
        out[out.find("\nagainst ").unwrap()..].to_owned()
    };
    folder.write("in/1.json", "{\"word\":\"a\",\"size\":1}\n{\"word\":\"b\",\"size\":2}\n");
    let before = write(stages(&counts("sum"), ""));
    assert!(against(&before).contains("no epoch is complete there"));
    call(&["run", &before]).ok();
    assert!(against(&before).contains("\n  same        keeps its state: 2 rows in "), "{}", against(&before));

    let changed = write(stages(
        &counts("max"),
        "  fresh: { kind: dedup, input: words, by: [word] }\n  away: { kind: blackhole, input: fresh }\n",
    ));
    let told = against(&changed);
    assert!(told.contains("complete up to epoch 1"), "{told}");
    for line in ["  same        keeps its state", "  counts      rebuild: changed", "  fresh       rebuild: new"] {
        assert!(told.contains(line), "{told}");
    }
    let refused = call(&["run", &changed]).run();
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.err.contains("stage `counts` failed") && refused.err.contains("the old state does not fit"),
        "{}",
        refused.err
    );

    // Without the stage, and then with it again: it does not go on from where it was.
    let without = write(stages("", ""));
    assert!(against(&without).contains("  counts      drop: not in the spec any more"), "{}", against(&without));
    folder.write("in/2.json", "{\"word\":\"a\",\"size\":10}\n");
    call(&["run", &without]).ok();
    let again = write(stages(&counts("sum"), ""));
    assert!(against(&again).contains("  counts      rebuild: new"), "{}", against(&again));
    assert_eq!(call(&["run", &again]).run().code, Some(1));
}

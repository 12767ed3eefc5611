//! `kind: aggregate`, against naive recomputation.

mod history;
mod naive;
mod random;
mod windows;

use serde_json::{Value, json};

use crate::support::{Folder, alluvium, read};

#[test]
fn every_function_with_and_without_a_condition() {
    let folder = Folder::new("aggregate");
    let mut lines = String::new();
    for i in 0..1_000_i64 {
        let price = if i % 7 == 0 { "null".to_owned() } else { format!("{}.25", i % 50) };
        let name = if i % 5 == 0 { "null".to_owned() } else { format!("\"g{}\"", i % 3) };
        lines.push_str(&format!("{{\"i\":{i},\"name\":{name},\"price\":{price},\"word\":\"w{}\"}}\n", i * 7919 % 1000));
        if i % 250 == 249 {
            folder.write(&format!("in/{}.json", i / 250), &lines);
            lines.clear();
        }
    }
    let spec = folder.write(
        "spec.yaml",
        r#"
pipeline: groups
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  rows: { kind: files, url: "${IN}", format: json, schema: { i: bigint, name: string, price: double, word: string } }
  groups:
    kind: aggregate
    input: rows
    by: [name]
    columns:
      rows: { count: "*" }
      prices: { count: price }
      dear: { count: "*", where: price > 40 }
      total: { sum: price }
      whole: { sum: i, where: i % 2 = 0 }
      mean: { avg: price }
      mean_whole: { avg: i }
      least: { min: word }
      most: { max: word, where: i < 500 }
      none: { max: price, where: i < 0 }
  table: { kind: delta, input: groups, table: "${LAKE}/table", mode: upsert }
"#,
    );
    let run = |workers: &str| {
        let call = alluvium(&["run", &spec.display().to_string(), "--workers", workers]);
        call.env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok()
    };
    run("3");
    let table = read(&folder.text("lake/table"));
    let names = ["name", "rows", "prices", "dear", "total", "whole", "mean", "mean_whole", "least", "most", "none"];
    let mut expected: Vec<Vec<Value>> = [None, Some("g0"), Some("g1"), Some("g2")].into_iter().map(group).collect();
    expected.sort_by_key(|r| serde_json::to_string(r).unwrap());
    assert_eq!(table.select(&names), expected);
}

/// The same by looking at every row; all numbers here are exact in binary.
fn group(name: Option<&str>) -> Vec<Value> {
    let of = |i: i64| if i % 5 == 0 { None } else { Some(format!("g{}", i % 3)) };
    let ids: Vec<i64> = (0..1_000).filter(|i| of(*i).as_deref() == name).collect();
    let price = |i: &i64| if i % 7 == 0 { None } else { Some((i % 50) as f64 + 0.25) };
    let prices: Vec<f64> = ids.iter().filter_map(price).collect();
    let word = |i: &i64| format!("w{}", i * 7919 % 1000);
    let total: f64 = prices.iter().sum();
    vec![
        json!(name),
        json!(ids.len()),
        json!(prices.len()),
        json!(prices.iter().filter(|p| **p > 40.0).count()),
        json!(total),
        json!(ids.iter().filter(|i| *i % 2 == 0).sum::<i64>()),
        json!(total / prices.len() as f64),
        json!(ids.iter().sum::<i64>() as f64 / ids.len() as f64),
        json!(ids.iter().map(word).min()),
        json!(ids.iter().filter(|i| **i < 500).map(word).max()),
        Value::Null,
    ]
}

/// Runs one file of rows through an aggregate; gives what the run says and the table's rows.
fn once(name: &str, schema: &str, definition: &str, lines: &str) -> (crate::support::Done, Folder) {
    let folder = Folder::new(name);
    let spec = format!(
        r#"
pipeline: once
state: ${{LAKE}}/_state
stages:
  rows: {{ kind: files, url: "${{IN}}", format: json, schema: {{ {schema} }} }}
  read: {{ kind: sql, input: rows, query: "SELECT *, CAST(text AS DOUBLE) AS x FROM input" }}
  groups: {{ kind: aggregate, input: read, {definition} }}
  table: {{ kind: delta, input: groups, table: "${{LAKE}}/table", mode: upsert }}
"#
    );
    let spec = folder.write("spec.yaml", &spec).display().to_string();
    folder.write("in/a.json", lines);
    let done = alluvium(&["run", &spec, "--workers", "2"])
        .env("IN", &folder.text("in"))
        .env("LAKE", &folder.text("lake"))
        .run();
    (done, folder)
}

#[test]
fn numbers_that_are_none_and_infinite_ones() {
    let lines: String = ["NaN", "inf", "-inf", "-0.0", "0.0", "1.5"]
        .iter()
        .map(|text| format!("{{\"g\":1,\"text\":\"{text}\"}}\n"))
        .chain(["{\"g\":2,\"text\":\"-0.0\"}\n{\"g\":2,\"text\":\"0\"}\n{\"g\":2,\"text\":null}\n".to_owned()])
        .collect();
    let definition = r#"by: [g], columns: { n: { count: x }, sum: { sum: x }, min: { min: x }, max: { max: x },
        different: { count_distinct: x }, about: { count_distinct: x, approximate: true }, median: { quantile: x },
        mode: { mode: x }, variance: { variance: x }, top: { top_k: x, k: 2 }, h: { histogram: x, bounds: [0, 1] } }"#;
    let (done, folder) = once("numbers", "g: int, text: string", definition, &lines);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut rows = crate::support::epochs(&folder.text("lake/table")).remove(&1).unwrap();
    rows.sort_by_key(|r| r["g"].as_i64());
    let counts =
        |row: &Value| row["h"].as_array().unwrap().iter().map(|b| b["count"].as_i64().unwrap()).collect::<Vec<_>>();
    let [first, second] = rows.as_slice() else { panic!("{rows:?}") };
    for (name, value) in [
        ("n", json!(6)),
        ("sum", json!("nan")),
        ("min", json!("-inf")),
        ("max", json!("nan")),
        // Zero is one number, whatever its sign.
        ("different", json!(5)),
        ("about", json!(5)),
        ("median", json!(0.75)),
        ("mode", json!(0.0)),
        ("variance", json!("nan")),
        ("top", json!(["nan", "inf"])),
    ] {
        assert_eq!(first[name], value, "{name} of {first}");
    }
    assert_eq!(counts(first), [1, 2, 3]);
    assert_eq!((&second["n"], &second["different"], &second["sum"]), (&json!(2), &json!(1), &json!(0.0)));
}

#[test]
fn sums_never_wrap() {
    let lines = format!("{{\"g\":1,\"i\":{0},\"text\":null}}\n{{\"g\":1,\"i\":{0},\"text\":null}}\n", i64::MAX);
    let schema = "g: int, i: bigint, text: string";
    let (done, _) = once("wrap", schema, "by: [g], columns: { s: { sum: i } }", &lines);
    assert_eq!(done.code, Some(1));
    for told in [
        "stage `groups` failed at epoch 1",
        "a sum has left the range of 64-bit whole numbers: 18446744073709551614",
        "CAST(x AS DOUBLE)",
    ] {
        assert!(done.err.contains(told), "{told}: {}", done.err);
    }
    let (done, folder) =
        once("no-wrap", schema, "by: [g], columns: { s: { sum: CAST(i AS DOUBLE) }, mean: { avg: i } }", &lines);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let rows = read(&folder.text("lake/table")).select(&["s", "mean"]);
    assert_eq!(rows, [[json!(1.844_674_407_370_955_2e19), json!(9_223_372_036_854_775_807_i64 as f64)]]);
}

/// A tenth of all rows has one key, in windows and without; all values of it are looked at for the quantile.
#[test]
fn a_key_with_a_tenth_of_all_rows() {
    let lines: String =
        (0..40_000).map(|i| format!("{{\"g\":{},\"text\":\"{}\"}}\n", if i % 10 == 0 { 0 } else { i }, i)).collect();
    let definition =
        "by: [g], columns: { n: { count: '*' }, different: { count_distinct: x }, high: { quantile: x, at: 0.9 } }";
    let (done, folder) = once("hot", "g: int, text: string", definition, &lines);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let table = read(&folder.text("lake/table"));
    assert_eq!(table.rows.len(), 36_001);
    let hot = table.select(&["g", "n", "different", "high"]).into_iter().find(|r| r[0] == json!(0)).unwrap();
    assert_eq!(hot, [json!(0), json!(4_000), json!(4_000), json!(35_991.0)]);
}

#[test]
fn times_out_of_range_and_missing_ones() {
    let spec = |on_late: &str| {
        format!(
            "by: [g], window: {{ time: t, tumbling: 1h, lateness: 1h, on_late: {on_late} }}, columns: {{ n: {{ count: '*' }} }}"
        )
    };
    let lines = "{\"g\":1,\"text\":\"1\",\"t\":null}\n{\"g\":1,\"text\":\"1\",\"t\":\"1970-01-01T00:00:01Z\"}\n";
    let schema = "g: int, text: string, t: timestamp";
    let (done, _) = once("no-time", schema, &spec("fail"), lines);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("the row has no time") && done.err.contains("\"g\":1"), "{}", done.err);
    let (done, folder) = once("dropped-time", schema, &spec("drop"), lines);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("rows were left out that are late or have no time"), "{}", done.err);
    assert_eq!(read(&folder.text("lake/table")).select(&["n"]), [[json!(1)]]);
}

/// Beyond so many different values none are told, whoever has seen which of them, and however the rows are cut into epochs.
#[test]
fn the_most_frequent_of_few_values() {
    let folder = Folder::new("few");
    let spec = r#"
pipeline: few
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  rows: { kind: files, url: "${IN}", format: json, schema: { id: bigint } }
  groups:
    kind: aggregate
    input: rows
    by: [{ "group": "CASE WHEN id < 10000 THEN 'many' ELSE 'most' END" }]
    columns:
      few: { most_frequent: id, k: 2, approximate: true }
      all: { most_frequent: id, k: 2 }
      none: { most_frequent: id, k: 2, approximate: true, where: id < 0 }
  table: { kind: delta, input: groups, table: "${LAKE}/table", mode: upsert }
"#;
    let spec = folder.write("spec.yaml", spec).display().to_string();
    // One group has 4,096 values, seen by both files; the other one more, of which neither file has all.
    for (file, ids) in [(0..3_000, 10_000..13_000), (1_000..4_096, 11_000..14_097)].into_iter().enumerate() {
        let lines: String = ids.0.chain(ids.1).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        folder.write(&format!("in/{file}.json"), &lines);
        let call = alluvium(&["run", &spec, "--workers", &(1 + 2 * file).to_string()]);
        call.env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok();
    }
    let first = |value: i64, rows: i64| json!([{ "value": value, "rows": rows }, { "value": value + 1, "rows": rows }]);
    let row = |group: &str, few: Value, all: Value| vec![json!(group), few, all, json!([])];
    let found = crate::support::epochs(&folder.text("lake/table"));
    let rows = |epoch: u64| -> Vec<Vec<Value>> {
        let mut rows = found[&epoch].clone();
        rows.sort_by_key(|r| r["group"].to_string());
        rows.iter().map(|r| ["group", "few", "all", "none"].map(|name| r[name].clone()).to_vec()).collect()
    };
    assert_eq!(rows(1), [row("many", first(0, 1), first(0, 1)), row("most", first(10_000, 1), first(10_000, 1))]);
    assert_eq!(rows(2), [row("many", first(1_000, 2), first(1_000, 2)), row("most", Value::Null, first(11_000, 2))]);
}

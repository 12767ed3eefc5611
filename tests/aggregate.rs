//! `kind: aggregate`, against naive recomputation.

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

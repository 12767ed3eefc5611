//! The same aggregates, computed anew from all rows.

use std::collections::BTreeMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::support::{Folder, alluvium};

/// Where the process may be killed.
const POINTS: [&str; 5] = ["after-binding", "after-staging", "after-commit:table", "after-commits", "after-complete"];

/// Runs the epochs that are there, with some number of workers; sometimes a process is killed in one of them before.
pub fn go(folder: &Folder, spec: &str, random: &mut ChaCha8Rng, epochs: std::ops::RangeInclusive<usize>) {
    let spec = folder.write("spec.yaml", spec).display().to_string();
    let mut call = || {
        alluvium(&["run", &spec, "--workers", &random.random_range(1..4).to_string()])
            .env("IN", &folder.text("in"))
            .env("LAKE", &folder.text("lake"))
    };
    let (killed, whole) = (call(), call());
    if random.random_bool(0.5) {
        killed.killed_at(&format!("{}@{}", POINTS[random.random_range(0..POINTS.len())], random.random_range(epochs)));
    }
    whole.ok();
}

/// A row of what is aggregated.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: i64,
    pub group: Option<i64>,
    pub value: Option<f64>,
    pub word: String,
    /// Microseconds.
    pub time: i64,
}

/// All functions, as a spec has them.
pub const COLUMNS: &str = r#"
      rows: { count: "*" }
      some: { count: "*", where: "word < 'w3'" }
      values: { count: value }
      words: { count_distinct: word }
      sum: { sum: value }
      avg: { avg: value }
      variance: { variance: value }
      stddev: { stddev: value }
      least: { min: value }
      most: { max: word }
      median: { quantile: value }
      high: { quantile: value, at: 0.9, where: "id % 2 = 0" }
      about: { quantile: value, at: 0.5, approximate: true }
      low: { quantile: value, at: 0.2 }
      mode: { mode: word }
      frequent: { most_frequent: word, k: 3 }
      top: { top_k: value, k: 3, with: [id, word] }
      bottom: { bottom_k: word, k: 2 }
      histogram: { histogram: value, bounds: [-10, 0, 10] }
"#;

/// All functions but one that estimates, which is told apart.
pub fn aggregates(rows: &[&Row]) -> Map<String, Value> {
    let mut values: Vec<(f64, &Row)> = rows.iter().filter_map(|r| Some((r.value?, *r))).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let numbers: Vec<f64> = values.iter().map(|(v, _)| *v).collect();
    let even: Vec<f64> = values.iter().filter(|(_, r)| r.id % 2 == 0).map(|(v, _)| *v).collect();
    let n = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let variance = (numbers.len() > 1).then(|| numbers.iter().map(|v| (v - sum / n).powi(2)).sum::<f64>() / (n - 1.0));
    let mut words: Vec<&str> = rows.iter().map(|r| r.word.as_str()).collect();
    words.sort_unstable();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    words.iter().for_each(|w| *counts.entry(w).or_default() += 1);
    let mode = counts.iter().rev().max_by_key(|(_, n)| **n).map(|(w, _)| *w);
    let mut frequent: Vec<(&str, usize)> = counts.iter().map(|(word, n)| (*word, *n)).collect();
    frequent.sort_by_key(|(word, n)| (std::cmp::Reverse(*n), *word));
    let frequent: Vec<Value> = frequent.iter().take(3).map(|(w, n)| json!({ "value": w, "rows": n })).collect();
    // Greatest value first, then by the other columns.
    let mut best = values.clone();
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.id.cmp(&b.1.id)).then(a.1.word.cmp(&b.1.word)));
    let top: Vec<Value> = best.iter().take(3).map(|(v, r)| json!({ "value": v, "id": r.id, "word": r.word })).collect();
    let bounds = [f64::NEG_INFINITY, -10.0, 0.0, 10.0, f64::INFINITY];
    let histogram: Vec<Value> = bounds
        .windows(2)
        .map(|w| {
            let bound = |b: f64| b.is_finite().then_some(b);
            let count = numbers.iter().filter(|v| w[0] <= **v && **v < w[1]).count();
            json!({ "from": bound(w[0]), "to": bound(w[1]), "count": count })
        })
        .collect();
    let some = |value: f64| (!numbers.is_empty()).then_some(value);
    let object = json!({
        "rows": rows.len(), "some": rows.iter().filter(|r| r.word.as_str() < "w3").count(),
        "values": numbers.len(), "words": counts.len(), "sum": some(sum), "avg": some(sum / n),
        "variance": variance, "stddev": variance.map(f64::sqrt), "least": numbers.first(), "most": words.last(),
        "median": quantile(&numbers, 0.5), "high": quantile(&even, 0.9), "low": quantile(&numbers, 0.2), "mode": mode, "frequent": frequent, "top": top,
        "bottom": words.iter().take(2).collect::<Vec<_>>(), "histogram": histogram,
    });
    object.as_object().unwrap().clone()
}

fn quantile(sorted: &[f64], at: f64) -> Option<f64> {
    let rank = at * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    Some(low + (high - low) * rank.fract())
}

/// Rows by group and the groups' aggregates, as objects with a column `group`.
pub fn grouped(rows: &[Row]) -> Vec<Value> {
    let mut groups: BTreeMap<Option<i64>, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|r| groups.entry(r.group).or_default().push(r));
    let object = |(group, rows): (Option<i64>, Vec<&Row>)| {
        let mut object = aggregates(&rows);
        object.insert("group".into(), json!(group));
        Value::Object(object)
    };
    groups.into_iter().map(object).collect()
}

/// That rows are equal to those expected, in any order, numbers up to rounding; estimates are within a hundredth of what
/// they estimate.
#[track_caller]
pub fn assert_same(found: &[Value], expected: &[Value], keys: &[&str], what: &str) {
    let by_key = |rows: &[Value]| -> BTreeMap<String, Value> {
        rows.iter().map(|r| (keys.iter().map(|k| r[k].to_string()).collect::<Vec<_>>().join(" "), r.clone())).collect()
    };
    let (found_by_key, expected) = (by_key(found), by_key(expected));
    assert_eq!(found.len(), found_by_key.len(), "{what}: two rows of a key");
    assert_eq!(found_by_key.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}: groups");
    for (key, row) in &expected {
        let found = &found_by_key[key];
        for (name, value) in row.as_object().unwrap() {
            assert!(same(&found[name], value), "{what}, group {key}: {name} is {} and not {value}", found[name]);
        }
        if let (Some(about), Some(median)) = (found["about"].as_f64(), row["median"].as_f64()) {
            // Between two neighbours the median is their mean, and the estimate one of them.
            let nearby = row["values"].as_i64().is_some_and(|n| n % 2 == 1);
            assert!(!nearby || (about - median).abs() <= median.abs() * 0.0101, "{what}: {about} for {median}");
        }
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| same(value, other)))
        }
        _ => a == b,
    }
}

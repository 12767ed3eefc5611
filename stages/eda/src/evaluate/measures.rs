//! The confusion matrix and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use alluvium_engine::stage::StageError;

use crate::summary::Summary;

/// Columns of the rows.
pub(super) fn schema() -> Schema {
    let text = |name| Field::new(name, DataType::Utf8, true);
    Schema::new(vec![
        Field::new("measure", DataType::Utf8, false),
        text("label"),
        text("predicted"),
        Field::new("value", DataType::Float64, false),
        text("model_name"),
        text("model_version"),
        Field::new("epoch", DataType::Int64, false),
    ])
}

/// Rows of one evaluation.
pub(super) struct Measures {
    /// Name and version.
    model: [Option<String>; 2],
}

/// A measure, the label and predicted label that it is about, its value.
type Row = (&'static str, Option<String>, Option<String>, f64);

impl Measures {
    pub(super) fn new(model: [Option<String>; 2]) -> Self {
        Self { model }
    }
}

impl Summary for Measures {
    fn rows(&self, groups: &RecordBatch, epoch: Epoch) -> Result<RecordBatch, StageError> {
        let [truth, predicted, counts, ..] = groups.columns() else {
            return Err(StageError::internal("counts of labels have other columns"));
        };
        let (truth, predicted) = (truth.as_string::<i32>(), predicted.as_string::<i32>());
        let counts = counts.as_primitive::<Int64Type>();
        let mut cells: BTreeMap<(String, String), i64> = BTreeMap::new();
        let mut missing = 0;
        for row in 0..groups.num_rows() {
            if truth.is_null(row) || predicted.is_null(row) {
                missing += counts.value(row);
            } else {
                cells.insert((truth.value(row).into(), predicted.value(row).into()), counts.value(row));
            }
        }
        let rows = measures(&cells, missing);
        let number = i64::try_from(epoch).unwrap_or(i64::MAX);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|r| Some(r.0)).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.1.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.2.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|r| r.3).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|_| self.model[0].as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|_| self.model[1].as_deref()).collect::<StringArray>()),
            Arc::new(Int64Array::from(vec![number; rows.len()])),
        ];
        RecordBatch::try_new(Arc::new(schema()), columns)
            .map_err(|e| StageError::internal("measures cannot be rows").because(e))
    }
}

/// All rows of an evaluation. Whatever has a true or a predicted label has all measures, as in scikit-learn.
fn measures(cells: &BTreeMap<(String, String), i64>, missing: i64) -> Vec<Row> {
    let labels: BTreeSet<&String> = cells.keys().flat_map(|(truth, predicted)| [truth, predicted]).collect();
    let sum = |wanted: &dyn Fn(&str, &str) -> bool| -> f64 {
        cells.iter().filter(|((t, p), _)| wanted(t, p)).map(|(_, n)| *n as f64).sum()
    };
    let all = sum(&|_, _| true);
    let right = sum(&|t, p| t == p);
    let mut rows: Vec<Row> = cells
        .iter()
        .map(|((truth, predicted), n)| ("count", Some(truth.clone()), Some(predicted.clone()), *n as f64))
        .collect();
    // For each measure the plain mean over labels, and the mean by how many rows have the label.
    let mut means = [[0.0; 2]; 3];
    for label in &labels {
        let support = sum(&|t, _| t == label.as_str());
        let claimed = sum(&|_, p| p == label.as_str());
        let hits = sum(&|t, p| t == label.as_str() && p == label.as_str());
        let values = [share(hits, claimed), share(hits, support), share(2.0 * hits, support + claimed)];
        for ((name, value), [plain, weighted]) in ["precision", "recall", "f1"].into_iter().zip(values).zip(&mut means)
        {
            rows.push((name, Some((*label).clone()), None, value));
            *plain += value / labels.len() as f64;
            *weighted += share(value * support, all);
        }
        rows.push(("support", Some((*label).clone()), None, support));
    }
    for (name, [plain, weighted]) in ["precision", "recall", "f1"].into_iter().zip(means) {
        rows.push((name, Some("macro avg".into()), None, plain));
        rows.push((name, Some("weighted avg".into()), None, weighted));
    }
    rows.push(("accuracy", None, None, share(right, all)));
    rows.push(("rows", None, None, all));
    rows.push(("missing", None, None, missing as f64));
    rows
}

fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

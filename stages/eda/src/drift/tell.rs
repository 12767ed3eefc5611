//! Counts of bins as rows of measures.

use std::sync::Arc;

use alluvium_engine::arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, StructArray,
};
use alluvium_engine::arrow::compute::concat_batches;
use alluvium_engine::arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef};
use alluvium_engine::spec::timestamp;
use alluvium_engine::stage::{DIFF, StageError, with_diff};

use super::baseline::{Baseline, Binned};
use super::measure::{js_distance, largest, psi, shares};
use crate::aggregate::WINDOW;
use crate::form::broken;

/// Makes rows of the counts of bins.
pub(super) struct Teller {
    pub(super) baseline: Baseline,
    pub(super) threshold: f64,
    pub(super) windowed: bool,
}

/// The name under which an aggregate has the bins of a column.
pub(super) fn place(column: usize) -> String {
    format!("bins {column}")
}

/// Columns of the rows.
pub(super) fn schema(windowed: bool) -> Schema {
    let field = |name: &str, t: DataType| Field::new(name, t, false);
    let window = WINDOW.iter().filter(|_| windowed).map(|name| field(name, timestamp()));
    let mut fields: Vec<Field> = window.collect();
    fields.push(field("column", DataType::Utf8));
    fields.extend(["rows", "baseline_rows"].map(|name| field(name, DataType::Int64)));
    fields.extend(["psi", "js_distance"].map(|name| field(name, DataType::Float64)));
    fields.push(field("largest", DataType::Struct(largest_fields())));
    fields.push(field("drifted", DataType::Boolean));
    fields.push(field("baseline_version", DataType::Int64));
    Schema::new(fields)
}

fn largest_fields() -> Fields {
    let field = |name: &str, t: DataType| Field::new(name, t, true);
    let share = |name| field(name, DataType::Float64);
    [field("bin", DataType::Utf8), share("share"), share("baseline_share")].into_iter().collect()
}

/// What is said of a column in a row.
struct Said {
    rows: i64,
    psi: f64,
    js_distance: f64,
    bin: String,
    share: f64,
    baseline_share: f64,
}

impl Teller {
    /// Rows of all columns for each wide row, with its number.
    pub(super) fn tell(&self, wide: &RecordBatch) -> Result<RecordBatch, StageError> {
        let schema = with_diff(&schema(self.windowed));
        let columns = self.baseline.columns.iter().enumerate();
        let batches = columns.map(|(at, binned)| self.column(at, binned, wide, &schema));
        concat_batches(&schema, &batches.collect::<Result<Vec<_>, _>>()?).map_err(broken)
    }

    fn column(
        &self,
        at: usize,
        binned: &Binned,
        wide: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<RecordBatch, StageError> {
        let missing = || StageError::internal("a comparison has no counts");
        let of = |name: &str| wide.column_by_name(name).ok_or_else(missing);
        let all = of("rows")?.as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
        let bins = of(&place(at))?.as_list_opt::<i32>().ok_or_else(missing)?;
        let counted = |row: usize| -> Option<Vec<i64>> {
            let list = bins.value(row);
            let counts = list.as_struct_opt()?.column_by_name("count")?.as_primitive_opt::<Int64Type>()?.clone();
            Some(counts.values().to_vec())
        };
        let said = (0..wide.num_rows()).map(|row| Some(say(binned, all.value(row), &counted(row)?)));
        let said = said.collect::<Option<Vec<Said>>>().ok_or_else(missing)?;
        let doubles = |value: fn(&Said) -> f64| -> ArrayRef {
            Arc::new(said.iter().map(|s| Some(value(s))).collect::<Float64Array>())
        };
        let wholes = |n: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![n; said.len()])) };
        let mut columns: Vec<ArrayRef> = Vec::new();
        if self.windowed {
            columns.extend(WINDOW.iter().map(|name| of(name).cloned()).collect::<Result<Vec<_>, _>>()?);
        }
        columns.push(Arc::new(StringArray::from(vec![binned.name.as_str(); said.len()])));
        columns.push(Arc::new(said.iter().map(|s| s.rows).collect::<Int64Array>()));
        columns.push(wholes(self.baseline.rows));
        columns.push(doubles(|s| s.psi));
        columns.push(doubles(|s| s.js_distance));
        let labels: ArrayRef = Arc::new(said.iter().map(|s| Some(s.bin.as_str())).collect::<StringArray>());
        let parts = vec![labels, doubles(|s| s.share), doubles(|s| s.baseline_share)];
        columns.push(Arc::new(StructArray::try_new(largest_fields(), parts, None).map_err(broken)?));
        columns.push(Arc::new(said.iter().map(|s| Some(s.psi > self.threshold)).collect::<BooleanArray>()));
        columns.push(wholes(i64::try_from(self.baseline.version).unwrap_or(i64::MAX)));
        columns.push(of(DIFF)?.clone());
        RecordBatch::try_new(schema.clone(), columns).map_err(broken)
    }
}

/// `histogram` has the bins first, and may have more.
fn say(binned: &Binned, rows: i64, histogram: &[i64]) -> Said {
    let mut counts: Vec<i64> = histogram.iter().take(binned.bins.len()).copied().collect();
    counts.push(rows - histogram.iter().sum::<i64>());
    let (now, before) = (shares(&counts), shares(&binned.counts));
    let most = largest(&now, &before).unwrap_or(0);
    let share = |shares: &[f64]| shares.get(most).copied().unwrap_or(0.0);
    Said {
        rows,
        psi: psi(&now, &before),
        js_distance: js_distance(&now, &before),
        bin: binned.bins.label(most),
        share: share(&now),
        baseline_share: share(&before),
    }
}

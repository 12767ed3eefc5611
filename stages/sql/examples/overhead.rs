//! What a kept plan costs: a query on batch after batch against the same work without a plan.
//!
//!     cargo run --release --workspace --example overhead
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement for people")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use alluvium_engine::arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use alluvium_engine::arrow::compute::filter_record_batch;
use alluvium_engine::arrow::compute::kernels::{cmp::gt, numeric::mul};
use alluvium_engine::arrow::datatypes::{DataType, Field, Int64Type, Schema};
use alluvium_sql::Query;

const ROWS: i64 = 8_192;
const RUNS: u32 = 2_000;

fn main() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("price", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
    ]));
    let price = (0..ROWS).map(|i| i * 7_919 % 1_000).collect::<Int64Array>();
    let text = StringArray::from_iter_values((0..ROWS).map(|i| format!("a text of some words, number {i}")));
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![Arc::new(Int64Array::from_iter_values(0..ROWS)), Arc::new(price), Arc::new(text)],
    )
    .expect("a batch");

    println!("{ROWS} rows, mean of {RUNS} batches, in microseconds\n");
    println!("{:<28} {:>10} {:>10} {:>10}", "query", "kept plan", "bare work", "overhead");
    let columns = "SELECT id, price, text FROM input";
    row("columns", columns, &batch, |batch| batch.clone());
    let arithmetic = "SELECT id, price * 3 AS price, text FROM input WHERE price > 500";
    row("filter, arithmetic", arithmetic, &batch, filtered);
    let words = "SELECT id, price, upper(text) AS text FROM input";
    row("a function of a text", words, &batch, upper);

    let started = Instant::now();
    for _ in 0..20 {
        let mut query = Query::plan(arithmetic, &schema).map_err(|e| e.message).expect("a plan");
        black_box(query.run(batch.clone()).expect("rows"));
    }
    println!("\nplanned for each batch: {:.0}", started.elapsed().as_secs_f64() / 20.0 * 1e6);
}

fn row(name: &str, sql: &str, batch: &RecordBatch, bare: impl Fn(&RecordBatch) -> RecordBatch) {
    let mut query = Query::plan(sql, &batch.schema()).map_err(|e| e.message).expect("a plan");
    let rows: usize = query.run(batch.clone()).expect("rows").iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, bare(batch).num_rows(), "both do the same");
    let kept = micros(|| query.run(batch.clone()).map(|b| b.len()).expect("rows"));
    let bare = micros(|| bare(batch).num_rows());
    println!("{name:<28} {kept:>10.1} {bare:>10.1} {:>10.1}", kept - bare);
}

fn micros(mut run: impl FnMut() -> usize) -> f64 {
    for _ in 0..RUNS / 10 {
        black_box(run());
    }
    let started = Instant::now();
    for _ in 0..RUNS {
        black_box(run());
    }
    started.elapsed().as_secs_f64() / f64::from(RUNS) * 1e6
}

fn filtered(batch: &RecordBatch) -> RecordBatch {
    let price = batch.column(1).as_primitive::<Int64Type>();
    let keep = gt(price, &Int64Array::new_scalar(500)).expect("a mask");
    let kept = filter_record_batch(batch, &keep).expect("rows");
    let tripled = mul(kept.column(1).as_primitive::<Int64Type>(), &Int64Array::new_scalar(3)).expect("numbers");
    with(&kept, 1, tripled)
}

fn upper(batch: &RecordBatch) -> RecordBatch {
    let text = batch.column(2).as_string::<i32>();
    with(batch, 2, Arc::new(text.iter().map(|t| t.map(str::to_uppercase)).collect::<StringArray>()))
}

fn with(batch: &RecordBatch, place: usize, column: Arc<dyn alluvium_engine::arrow::array::Array>) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns[place] = column;
    RecordBatch::try_new(batch.schema(), columns).expect("a batch")
}

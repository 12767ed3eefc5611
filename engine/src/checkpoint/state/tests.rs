//! Rows of state: merged, deleted, read back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::*;
use crate::storage::Storage;

/// A log with the columns `key`, `a` and so on.
fn log(name: &str, columns: &[&str]) -> StateLog {
    let mut fields = vec![Field::new("key", DataType::Utf8, true)];
    fields.extend(columns.iter().map(|c| Field::new(*c, DataType::Int64, true)));
    let schema = StateSchema { schema: Arc::new(Schema::new(fields)), keys: 1, fingerprint: "f".into() };
    StateLog::new(name, schema, &Storage::default().open("memory:///state").unwrap())
}

fn rows(log: &StateLog, keys: &[Option<&str>], columns: &[&[Option<i64>]]) -> RecordBatch {
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(keys.to_vec()))];
    arrays.extend(columns.iter().map(|c| Arc::new(Int64Array::from(c.to_vec())) as ArrayRef));
    RecordBatch::try_new(log.schema.schema.clone(), arrays).unwrap()
}

/// What an epoch leaves behind.
async fn epoch(log: &StateLog, before: StateManifest, epoch: Epoch, batches: Vec<RecordBatch>) -> StateManifest {
    let mut writer = StateWriter::new(log.clone(), 0);
    for batch in batches {
        writer.write(epoch, batch).await.unwrap();
    }
    let staged = writer.seal(epoch).await.unwrap();
    log.advance(before, epoch, staged).await.unwrap()
}

async fn held(log: &StateLog, manifest: &StateManifest) -> Vec<(Option<String>, Vec<Option<i64>>)> {
    let mut out = Vec::new();
    for batch in log.load(manifest).await.unwrap() {
        let text = |array: &ArrayRef, row| {
            array.is_valid(row).then(|| arrow::util::display::array_value_to_string(array, row).unwrap())
        };
        for row in 0..batch.num_rows() {
            let values = batch.columns()[1..].iter().map(|c| text(c, row).map(|t| t.parse().unwrap()));
            out.push((text(batch.column(0), row), values.collect()));
        }
    }
    out.sort();
    out
}

fn row(key: &str, values: &[Option<i64>]) -> (Option<String>, Vec<Option<i64>>) {
    (Some(key.into()), values.to_vec())
}

#[tokio::test]
async fn a_key_whose_values_are_all_null_is_gone_and_may_come_back() {
    let log = log("gone", &["a", "b"]);
    let first = rows(&log, &[Some("x"), Some("y"), None], &[&[Some(1), None, Some(3)], &[None, Some(2), None]]);
    let one = epoch(&log, StateManifest::default(), 1, vec![first]).await;
    assert_eq!(held(&log, &one).await.len(), 3);
    // Gone, gone and back within the epoch, and one that never was.
    let second = rows(
        &log,
        &[Some("x"), Some("y"), Some("y"), Some("z"), None],
        &[&[None, None, Some(7), None, None], &[None; 5]],
    );
    let two = epoch(&log, one, 2, vec![second]).await;
    assert_eq!(held(&log, &two).await, [row("y", &[Some(7), None])]);
    let three = epoch(&log, two, 3, vec![rows(&log, &[Some("x")], &[&[None], &[Some(0)]])]).await;
    assert_eq!(held(&log, &three).await, [row("x", &[None, Some(0)]), row("y", &[Some(7), None])]);
}

#[tokio::test]
async fn a_merge_leaves_out_what_is_gone() {
    let log = log("merged", &["a"]);
    let mut manifest = StateManifest::default();
    for n in 0..80_i64 {
        let (key, before) = (format!("k{n}"), format!("k{}", n - 1));
        let batch = rows(&log, &[Some(&before), Some(&key)], &[&[None, Some(n)]]);
        manifest = epoch(&log, manifest, n as u64 + 1, vec![batch]).await;
    }
    assert!(manifest.files[0].merged && manifest.files.len() <= MOST_FILES, "{manifest:?}");
    assert_eq!(manifest.files[0].rows, 1, "one key is there at any time");
    assert_eq!(held(&log, &manifest).await, [row("k79", &[Some(79)])]);
}

#[tokio::test]
async fn many_small_files_are_merged_without_the_large_one() {
    let log = log("tiers", &["a"]);
    let keys: Vec<String> = (0..20_000).map(|n| format!("k{n}")).collect();
    let all: Vec<Option<&str>> = keys.iter().map(|k| Some(k.as_str())).collect();
    let first = rows(&log, &all, &[&vec![Some(0); all.len()]]);
    let mut manifest = epoch(&log, StateManifest::default(), 1, vec![first]).await;
    let base = manifest.files[0].clone();
    assert!(base.merged);
    let mut expected: BTreeMap<String, i64> = keys.iter().map(|k| (k.clone(), 0)).collect();
    for n in 2..300_u64 {
        // One key comes or is changed, one goes.
        let (come, gone) = (format!("k{}", n * 7 % 50), format!("k{}", n * 11 % 50));
        let value = i64::try_from(n).unwrap();
        let batch = rows(&log, &[Some(&gone), Some(&come)], &[&[None, Some(value)]]);
        manifest = epoch(&log, manifest, n, vec![batch]).await;
        expected.remove(&gone);
        expected.insert(come, value);
        assert_eq!(manifest.files[0], base, "epoch {n} rewrote the large file");
        assert!(manifest.files.len() <= MOST_FILES, "{} files", manifest.files.len());
    }
    let found: BTreeMap<String, i64> =
        held(&log, &manifest).await.into_iter().map(|(key, values)| (key.unwrap(), values[0].unwrap())).collect();
    assert_eq!(found, expected);
    let files = async || log.location.store.list(Some(&log.location.path)).try_collect::<Vec<_>>().await.unwrap().len();
    assert!(files().await > 300);
    log.clean(&manifest, 290).await.unwrap();
    assert!(files().await < MOST_FILES + 20, "{} files", files().await);
    assert_eq!(held(&log, &manifest).await.len(), expected.len());
}

#[tokio::test]
async fn a_state_of_keys_alone_has_none_that_are_gone() {
    let log = log("keys", &[]);
    let one = epoch(&log, StateManifest::default(), 1, vec![rows(&log, &[Some("x"), None], &[])]).await;
    assert_eq!(held(&log, &one).await, [(None, vec![]), row("x", &[])]);
}

#[tokio::test]
async fn a_column_that_has_come_is_null_in_older_rows() {
    let before = log("wider", &["a"]);
    let one = epoch(&before, StateManifest::default(), 1, vec![rows(&before, &[Some("x")], &[&[Some(1)]])]).await;
    let after = log("wider", &["a", "b"]);
    let two = epoch(&after, one, 2, vec![rows(&after, &[Some("y")], &[&[Some(2)], &[Some(3)]])]).await;
    assert_eq!(held(&after, &two).await, [row("x", &[Some(1), None]), row("y", &[Some(2), Some(3)])]);
}

//! Parquet, written by another program.

use serde_json::{Value, json};

use super::{Case, python};

/// Writes `in/NAME` with pyarrow; `table` is a Python expression.
#[track_caller]
fn write(case: &Case, name: &str, table: &str, options: &str) {
    let code = format!(
        "import sys, datetime as dt, decimal, pyarrow as pa, pyarrow.parquet as pq\n\
         utc = dt.timezone.utc\n\
         pq.write_table({table}, sys.argv[1]{options})"
    );
    python(&code, &[&case.folder.path("in").join(name).display().to_string()]);
}

fn rows(case: &Case, names: &[&str]) -> Vec<Value> {
    case.rows().select(names).into_iter().map(Value::from).collect()
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

#[test]
fn columns_are_found_by_name_and_cast() {
    let source = "format: parquet, schema: { s: string, i: int, b: bigint, d: double, t: boolean, day: date, at: timestamp, gone: string }, add: { file: path }";
    let case = Case::new("parquet", source);
    // Exact types in another order; a column too many; `gone` is missing.
    let exact = "pa.table({'at': pa.array([dt.datetime(2026, 3, 1, 10, tzinfo=utc), None], pa.timestamp('us', 'UTC')), \
                 'extra': [[1], [2]], 's': ['x', None], 'i': pa.array([1, None], pa.int32()), 'b': pa.array([2, None], pa.int64()), \
                 'd': [1.5, None], 't': [True, None], 'day': pa.array([dt.date(2026, 3, 1), None], pa.date32())})";
    write(&case, "exact.parquet", exact, "");
    // Other types for everything.
    let other = "pa.table({'s': pa.array(['y', 'y']).dictionary_encode(), 'i': pa.array([7.0, None], pa.float64()), 'b': pa.array(['8', '9'], pa.large_string()), \
                 'd': pa.array([decimal.Decimal('2.25'), None], pa.decimal128(10, 2)), 't': pa.array([1, 0], pa.int8()), \
                 'day': pa.array([dt.datetime(2026, 3, 1, 23, 59), None], pa.timestamp('ns')), 'at': pa.array(['2026-03-01T10:00:00+02:00', None])})";
    write(&case, "other.parquet", other, ", compression='zstd'");
    let (exact, other) = (case.url("exact.parquet"), case.url("other.parquet"));
    let expected = sorted(vec![
        json!([exact, "x", 1, 2, 1.5, true, "2026-03-01", "2026-03-01T10:00:00+00:00", null]),
        json!([exact, null, null, null, null, null, null, null, null]),
        json!([other, "y", 7, 8, 2.25, true, "2026-03-01", "2026-03-01T08:00:00+00:00", null]),
        json!([other, "y", null, 9, null, false, null, null, null]),
    ]);
    assert_eq!(rows(&case, &["file", "s", "i", "b", "d", "t", "day", "at", "gone"]), expected);
}

#[test]
fn row_groups_of_a_large_file() {
    let case = Case::new("groups", "format: parquet, schema: { id: bigint, text: string }");
    write(
        &case,
        "a.parquet",
        "pa.table({'pad': ['p' * 50] * 50000, 'id': range(50000), 'text': [str(i) * 3 for i in range(50000)]})",
        ", row_group_size=7000",
    );
    write(&case, "empty.parquet", "pa.table({'id': pa.array([], pa.int64()), 'text': pa.array([], pa.string())})", "");
    let expected = sorted((0..50_000).map(|id| json!([id, format!("{id}{id}{id}")])).collect());
    assert!(rows(&case, &["id", "text"]) == expected);
}

#[test]
fn values_that_do_not_fit_make_bad_rows() {
    let case =
        Case::new("misfit", "format: parquet, schema: { id: bigint, n: int, day: date }, on_bad_row: quarantine");
    let table = "pa.table({'id': range(20000), 'n': ['x' if i == 9000 else str(i) for i in range(20000)], \
                 'day': [None if i == 9000 else 'soon' if i == 19999 else '2026-03-01' for i in range(20000)], 'other': ['o'] * 20000})";
    write(&case, "a.parquet", table, ", row_group_size=6000");
    assert_eq!(rows(&case, &["id"]).len(), 19_998);
    let expected = [
        (9_001, r#"{"id":9000,"n":"x","day":null}"#, "column `n`: `x` is not a 32-bit whole number"),
        (20_000, r#"{"id":19999,"n":"19999","day":"soon"}"#, "column `day`: `soon` is not a date"),
    ];
    assert_eq!(case.bad("a.parquet"), expected.map(|(line, raw, reason)| (line, raw.to_owned(), reason.to_owned())));
}

#[test]
fn numbers_are_never_rounded() {
    let case = Case::new("round", "format: parquet, schema: { n: bigint }");
    write(&case, "a.parquet", "pa.table({'n': [1.0, 2.5]})", "");
    case.fault(&[
        "column `n`: `2.5` is not a 64-bit whole number",
        "text: {\"n\":2.5}",
        &case.url("a.parquet"),
        "row: 2",
        "hint: correct the object",
    ]);
}

#[test]
fn what_is_not_the_file_that_was_meant_is_a_fault() {
    let source = "format: parquet, schema: { id: bigint }, on_bad_row: quarantine";
    for (table, says) in [
        ("pa.table({'Id': [1], 'x': [2]})", ["the file has none of the columns of `schema:`", "the file has: Id, x"]),
        ("pa.table({'id': [[1]]})", ["the file's columns do not fit `schema:`", "the file has: id List("]),
    ] {
        let case = Case::new("wrong", source);
        write(&case, "a.parquet", table, "");
        case.fault(&["stage `objects` failed at epoch 1", says[0], says[1], &case.url("a.parquet")]);
    }
    let case = Case::new("broken", source);
    write(&case, "a.parquet", "pa.table({'id': range(100000)})", "");
    let whole = std::fs::read(case.folder.path("in/a.parquet")).unwrap();
    // Cut, damaged inside, something else.
    let damaged: Vec<u8> =
        whole.iter().enumerate().map(|(at, b)| if (1_000..1_400).contains(&at) { b ^ 0x55 } else { *b }).collect();
    for content in [&whole[..whole.len() / 2], &damaged, b"{\"id\":1}\n{\"id\":2}\n"] {
        case.put("a.parquet", content);
        case.fault(&["the Parquet file cannot be read", &case.url("a.parquet")]);
        std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
    }
}

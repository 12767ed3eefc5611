//! Columns that the schema lacks.

use serde_json::{Value, json};

use super::infer::{call, columns, records};
use super::{Case, python};
use crate::support::{Bucket, alluvium, history, read, until};

fn sorted(mut rows: Vec<Value>) -> Vec<Vec<Value>> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows.into_iter().map(|row| row.as_array().unwrap().clone()).collect()
}

/// Writes `in/NAME` with pyarrow.
#[track_caller]
fn parquet(case: &Case, name: &str, table: &str) {
    let code = format!(
        "import sys, decimal, pyarrow as pa, pyarrow.parquet as pq\npq.write_table(pa.table({table}), sys.argv[1])"
    );
    python(&code, &[&case.folder.path("in").join(name).display().to_string()]);
}

#[test]
fn fail_names_object_line_and_columns() {
    let fail = "evolution: fail, on_bad_row: quarantine, schema: { id: bigint }";
    let hint = "hint: add them to `schema:`, or set `evolution:` to `rescue` or `ignore`";
    let json = Case::new("fail-json", &format!("format: json, {fail}"));
    // What is null is not there; a bad line is a bad line.
    let lines = "{\"id\":0,\"x\":null}\n".repeat(3_000);
    json.put("a.json", format!("{lines}\n}}\n{{\"id\":1,\"y y\":{{}},\"x\":[1]}}\n"));
    let url = json.url("a.json");
    json.fault(&[
        "stage `objects` failed at epoch 1: the object has columns that the schema lacks: `y y`, `x`",
        &url,
        "row: 3003",
        hint,
    ]);
    std::fs::remove_dir_all(json.folder.path("lake")).unwrap();
    json.put("a.json", format!("{lines}\n}}\n"));
    assert_eq!(json.rows().rows.len(), 3_000);
    assert_eq!(json.bad("a.json")[0].0, 3_002);
    let csv = Case::new("fail-csv", &format!("format: csv, {fail}, partitions: {{ p: int }}"));
    csv.put("p=1/a.csv", "x,p,id,,y\n1,2,3,4,5\n");
    csv.fault(&["the object has columns that the schema lacks: `x`, `y`", &csv.url("p=1/a.csv"), "row: 1", hint]);
    let file = Case::new("fail-parquet", &format!("format: parquet, {fail}"));
    parquet(&file, "a.parquet", "{'x': [1], 'id': [1]}");
    file.fault(&["the object has columns that the schema lacks: `x`", &file.url("a.parquet"), hint]);
}

#[test]
fn rescue_of_json_lines() {
    let source = "format: json, evolution: rescue, on_bad_row: quarantine, add: { file: path }, schema: { id: bigint, s: string, d: double, ok: boolean, day: date, at: timestamp }";
    let case = Case::new("rescue", source);
    let lines = [
        (
            r#"{"id":1,"s":"fits","d":1,"ok":true,"day":"2026-03-01","at":"2026-03-01T10:00:00Z"}"#,
            json!([1, "fits", 1.0, true]),
            None,
        ),
        (
            r#"{"id":2,"new":12345678901234567890.10,"file":"f"}"#,
            json!([2, null, null, null]),
            Some(r#"{"new":12345678901234567890.10"#),
        ),
        (r#"{"id":"two","s":"kept","n":null}"#, json!([null, "kept", null, null]), Some(r#"{"id":"two""#)),
        (
            r#"{"id":4,"s":{"a":[1, 2]},"d":"x","ok":1,"day":5,"at":"noon","ü\n":"z"}"#,
            json!([4, null, null, null]),
            Some(r#"{"s":{"a":[1, 2]},"d":"x","ok":1,"day":5,"at":"noon","ü\n":"z""#),
        ),
        (r#"{"id":1.5}"#, json!([null, null, null, null]), Some(r#"{"id":1.5"#)),
        (r#"{"nothing":{"known":true}}"#, json!([null, null, null, null]), Some(r#"{"nothing":{"known":true}"#)),
        (r#"{}"#, json!([null, null, null, null]), None),
    ];
    // Few among many, then nothing but such lines: both ways to look at them.
    let good = "{\"id\":0}\n".repeat(1_500);
    let text: String = lines.iter().map(|l| format!("{}\n", l.0)).collect();
    case.put("a.json", format!("{good}{text}no JSON\n{good}"));
    case.put("b.json", text.repeat(2_000));
    let table = case.rows();
    assert_eq!(table.columns["_rescued_data"], "string");
    let mut expected = vec![json!([0, null, null, null, null]); 3_000];
    for (object, times) in [("a.json", 1), ("b.json", 2_000)] {
        for (_, row, rescued) in &lines {
            let mut row = row.as_array().unwrap().clone();
            let path = case.url(object);
            row.push(rescued.map_or(Value::Null, |r| json!(format!("{r},\"_file_path\":\"{path}\"}}"))));
            expected.extend(std::iter::repeat_n(Value::from(row), times));
        }
    }
    assert!(table.select(&["id", "s", "d", "ok", "_rescued_data"]) == sorted(expected));
    let bad = case.bad("a.json");
    assert_eq!((bad.len(), bad[0].0, bad[0].1.as_str()), (1, 1_508, "no JSON"));
}

#[test]
fn rescue_of_csv_and_parquet() {
    let source = "evolution: rescue, rescue_column: rest, on_bad_row: quarantine, schema: { id: bigint, day: date }";
    let csv = Case::new("rescue-csv", &format!("format: csv, {source}"));
    csv.put("a.csv", "x,id,day,y\n,1,2026-03-01,\n\"say \"\"x\"\"\",2,soon,7\n,three,,\n4\n");
    let path = csv.url("a.csv");
    let expected = vec![
        json!([1, "2026-03-01", null]),
        json!([2, null, format!("{{\"day\":\"soon\",\"x\":\"say \\\"x\\\"\",\"y\":\"7\",\"_file_path\":\"{path}\"}}")]),
        json!([null, null, format!("{{\"id\":\"three\",\"_file_path\":\"{path}\"}}")]),
    ];
    assert_eq!(csv.rows().select(&["id", "day", "rest"]), sorted(expected));
    assert_eq!(csv.bad("a.csv")[0].2, "1 field(s) where the header has 4");
    let file = Case::new("rescue-parquet", &format!("format: parquet, {source}"));
    let table = "{'id': [1.0, 2.5, None], 'x': [None, [{'a': decimal.Decimal('1.50')}], None], 'day': ['2026-03-01', 'soon', None]}";
    parquet(&file, "a.parquet", table);
    parquet(&file, "b.parquet", "{'id': [5, 6], 'day': [[1], None]}");
    let path = |name| file.url(name);
    let rescued =
        format!("{{\"id\":2.5,\"day\":\"soon\",\"x\":[{{\"a\":1.50}}],\"_file_path\":\"{}\"}}", path("a.parquet"));
    let expected = vec![
        json!([1, "2026-03-01", null]),
        json!([null, null, rescued]),
        json!([null, null, null]),
        json!([5, null, format!("{{\"day\":[1],\"_file_path\":\"{}\"}}", path("b.parquet"))]),
        json!([6, null, null]),
    ];
    assert_eq!(file.rows().select(&["id", "day", "rest"]), sorted(expected));
}

#[test]
fn rescue_behind_inferred_columns() {
    let case = Case::new("rescue-infer", "format: json, schema: infer, evolution: rescue");
    case.put("a.json", "{\"id\":1}\n");
    case.call().ok();
    case.put("b.json", "{\"id\":\"x\",\"new\":1}\n");
    let rescued = format!("{{\"id\":\"x\",\"new\":1,\"_file_path\":\"{}\"}}", case.url("b.json"));
    assert_eq!(case.rows().select(&["id", "_rescued_data"]), sorted(vec![json!([1, null]), json!([null, rescued])]));
    assert_eq!(columns(&case), "id bigint, _rescued_data string");
}

/// Epochs of a table, oldest first.
fn epochs(url: &str) -> Vec<i64> {
    let mut epochs: Vec<i64> = history(url).iter().filter_map(|c| c.get("epoch")?.as_i64()).collect();
    epochs.sort_unstable();
    epochs
}

#[test]
fn add_goes_on_with_new_columns_by_itself() {
    let case = Case::with("add", "format: json, schema: infer", "epoch: { splits: 1 }");
    case.put("a.json", "{\"id\":1}\n");
    case.call().ok();
    let before = call(&case, "check", &[]).out;
    // What comes behind the part that is looked at beforehand is found too; a null is no column.
    let many = format!("{{\"id\":2}}{}\n", " ".repeat(1_000)).repeat(5_000);
    case.put("b.json", format!("{{\"x\":1,\"z\":null}}\n{{\"x\":0.5}}\n{many}{{\"late\":{{\"a\":1}}}}\n"));
    case.put("c.json", "{\"id\":3,\"y\":\"plain\",\"w\":true}\n");
    case.put("d.json", "{\"id\":4,\"x\":2}\n");
    let done = case.call().run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.out.contains("files: stage `objects`: new columns are added: `x` double, "), "{}", done.out);
    assert_eq!(columns(&case), "id bigint, x double, y string, w boolean, late string");
    assert_eq!(records(&case).pop().unwrap()["added"], json!(["x", "y", "w", "late"]));
    assert_ne!(call(&case, "check", &[]).out, before);
    let table = read(&case.folder.text("lake/rows"));
    let mut expected = vec![json!([2, null, null, null, null]); 5_000];
    expected.extend([
        json!([1, null, null, null, null]),
        json!([null, 1.0, null, null, null]),
        json!([null, 0.5, null, null, null]),
        json!([null, null, null, null, "{\"a\":1}"]),
        json!([3, null, "plain", true, null]),
        json!([4, 2.0, null, null, null]),
    ]);
    assert!(table.select(&["id", "x", "y", "w", "late"]) == sorted(expected));
    assert_eq!(epochs(&case.folder.text("lake/rows")), [1, 2, 3, 4]);
    assert!(case.call().ok().contains("nothing new to process"));
    // A type does not change.
    case.put("e.json", "{\"id\":5,\"w\":\"no\"}\n");
    let done = case.call().run();
    assert!(done.err.contains("column `w`: `\"no\"` is not true or false"), "{}", done.err);
}

#[test]
fn add_while_it_watches() {
    let case = Case::new("add-watch", "format: json, schema: infer");
    case.put("a.json", "{\"id\":1}\n");
    let call = alluvium(&["run", &case.spec, "--watch", "--interval", "100ms"]);
    let running = call.env("IN", &case.folder.text("in")).env("LAKE", &case.folder.text("lake")).start();
    let complete = |epochs| {
        let folder = case.folder.path("lake/_state/complete");
        let count = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
        until("epochs are complete", || count() >= epochs);
    };
    complete(1);
    // Under its name it appears as a whole.
    let part = case.folder.write("part", "{\"id\":2,\"x\":true}\n");
    std::fs::rename(part, case.folder.path("in/b.json")).unwrap();
    complete(2);
    running.signal("INT");
    let done = running.end();
    assert_eq!(done.code, Some(130), "{}", done.err);
    let expected = sorted(vec![json!([1, null]), json!([2, true])]);
    assert_eq!(read(&case.folder.text("lake/rows")).select(&["id", "x"]), expected);
}

#[test]
fn add_in_csv_and_parquet() {
    let csv = Case::new("add-csv", "format: csv, schema: infer");
    csv.put("a.csv", "id\n1\n");
    csv.call().ok();
    csv.put("b.csv", "x,id,day\n,2,2026-03-01\n0.5,3,\n");
    let expected = vec![json!([1, null, null]), json!([2, null, "2026-03-01"]), json!([3, 0.5, null])];
    assert_eq!(csv.rows().select(&["id", "x", "day"]), sorted(expected));
    assert_eq!(columns(&csv), "id bigint, x double, day date");
    let file = Case::new("add-parquet", "format: parquet, schema: infer");
    parquet(&file, "a.parquet", "{'id': [1]}");
    file.call().ok();
    parquet(&file, "b.parquet", "{'n': pa.array([7], pa.int32()), 'id': [2], 'l': [[1]]}");
    assert_eq!(file.rows().select(&["id", "n", "l"]), sorted(vec![json!([1, null, null]), json!([2, 7, "[1]"])]));
}

#[test]
fn a_hint_for_a_column_that_is_still_to_come() {
    let case = Case::new("hint-later", "format: json, schema: infer");
    case.put("a.json", "{\"id\":1}\n");
    case.call().ok();
    let text = std::fs::read_to_string(&case.spec).unwrap();
    std::fs::write(&case.spec, text.replace("schema: infer", "schema: infer, hints: { day: date }")).unwrap();
    case.put("b.json", "{\"id\":2,\"day\":\"2026-03-01\"}\n");
    assert_eq!(case.rows().select(&["id", "day"]), sorted(vec![json!([1, null]), json!([2, "2026-03-01"])]));
    assert_eq!(records(&case).len(), 2);
}

/// Two tables behind a query, in a bucket; killed between their commits, before and after columns come.
#[cfg(debug_assertions)]
#[test]
fn add_is_exact_through_kills_in_a_bucket() {
    let bucket = Bucket::new("add");
    let case =
        Case::with("add-kills", "format: json, schema: infer, add: { file: path }", "epoch: { splits: 1, open: 2 }");
    let text = std::fs::read_to_string(&case.spec).unwrap();
    let more = "  all: { kind: sql, input: rows, query: \"SELECT * FROM input\" }\n  copy: { kind: delta, input: all, table: \"${LAKE}/copy\" }\n";
    std::fs::write(&case.spec, format!("{}\n{more}", text.trim_end())).unwrap();
    let run = || {
        let call = alluvium(&["run", &case.spec]).s3(&bucket.endpoint);
        call.env("IN", &bucket.url("in")).env("LAKE", &bucket.url("lake"))
    };
    let kill = |point: &str| {
        let done = run().env("ALLUVIUM_FAILPOINT", point).command().output().unwrap();
        assert_eq!(done.status.code(), None, "{point}: {}", String::from_utf8_lossy(&done.stderr));
    };
    bucket.put("in/0.json", "{\"id\":0}\n");
    run().ok();
    bucket
        .put("in/1.json", "{\"id\":1}\n")
        .put("in/2.json", "{\"id\":2,\"x\":2}\n")
        .put("in/3.json", "{\"id\":3,\"y\":3}\n");
    for point in ["after-commit:rows@2", "after-commit:rows@3", "after-commit:copy@4"] {
        kill(point);
    }
    bucket.put("in/4.json", "{\"id\":4,\"z\":true}\n");
    kill("after-commit:rows@5");
    run().ok();
    for table in ["rows", "copy"] {
        let url = bucket.url(&format!("lake/{table}"));
        let rows = [
            json!([null, null, null]),
            json!([null, null, null]),
            json!([2, null, null]),
            json!([null, 3, null]),
            json!([null, null, true]),
        ];
        let row = |(id, row): (usize, Value)| Value::from([vec![json!(id)], row.as_array().unwrap().clone()].concat());
        let expected = rows.into_iter().enumerate().map(row).collect();
        assert_eq!(read(&url).select(&["id", "x", "y", "z"]), sorted(expected), "{table}");
        assert_eq!(epochs(&url), [1, 2, 3, 4, 5], "{table}");
    }
}

#[test]
fn a_table_gets_no_column_that_nobody_asked_for() {
    let case = Case::new("unasked", "format: json, schema: infer");
    let text = std::fs::read_to_string(&case.spec).unwrap();
    let query = |columns: &str| {
        let to = format!(
            "  q: {{ kind: sql, input: objects, query: \"SELECT {columns} FROM input\" }}\n  rows: {{ kind: delta, input: q,"
        );
        std::fs::write(&case.spec, text.replace("  rows: { kind: delta, input: objects,", &to)).unwrap();
    };
    query("*");
    case.put("a.json", "{\"id\":1}\n");
    case.call().ok();
    case.put("b.json", "{\"id\":2,\"x\":1}\n");
    query("*, id + 1 AS next");
    let done = case.call().run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    assert!(done.err.contains("the table has other columns: it lacks `next`"), "{}", done.err);
    query("*");
    assert_eq!(case.rows().select(&["id", "x"]), sorted(vec![json!([1, null]), json!([2, 1])]));
}

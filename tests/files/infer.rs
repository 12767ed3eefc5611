//! `schema: infer`.

use serde_json::{Value, json};

use super::{Case, python};
use crate::support::{Done, alluvium, read};

/// Runs another command over the case's spec.
pub(crate) fn call(case: &Case, command: &str, arguments: &[&str]) -> Done {
    let all: Vec<&str> = [command, case.spec.as_str()].iter().chain(arguments).copied().collect();
    alluvium(&all).env("IN", &case.folder.text("in")).env("LAKE", &case.folder.text("lake")).run()
}

/// What `explain` says of the columns.
#[track_caller]
pub(crate) fn columns(case: &Case) -> String {
    let done = call(case, "explain", &[]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    done.out.lines().find_map(|l| l.trim().strip_prefix("rows     ")).unwrap().to_owned()
}

/// The records of the columns, oldest first.
pub(crate) fn records(case: &Case) -> Vec<Value> {
    let folder = case.folder.path("lake/_state/resolved/objects");
    let mut files: Vec<_> = std::fs::read_dir(folder).map_or(Vec::new(), |f| f.map(|f| f.unwrap().path()).collect());
    files.sort();
    files.iter().map(|f| serde_json::from_slice(&std::fs::read(f).unwrap()).unwrap()).collect()
}

#[test]
fn columns_of_json_lines_in_the_order_in_which_they_appear() {
    let case = Case::new("infer", "format: json, schema: infer, on_bad_row: quarantine");
    case.put("a.json", "{\"z\":1,\"n\":7,\"text\":\"x\",\"mixed\":true,\"nothing\":null}\n{\"n\":2.5,\"day\":\"2026-03-01\"}\n")
        .put("b.json", "no JSON\n{\"mixed\":\"a\",\"user\":{\"id\":12345678901234567890.10,\"tags\":[1,\"ü\"]},\"big\":12345678901234567890}\n")
        .put("c.json", "{\"user\":\"plain\",\"z\":null,\"ok\":false,\"n\":3}");
    let expected = "z bigint, n double, text string, mixed string, nothing string, day string, user string, big string, ok boolean";
    assert_eq!(columns(&case), expected);
    // Nothing was written for that.
    assert!(!case.folder.path("lake").exists());
    let table = case.rows();
    let rows = table.select(&["z", "n", "text", "mixed", "nothing", "day", "user", "big", "ok"]);
    let nested = "{\"id\":12345678901234567890.10,\"tags\":[1,\"ü\"]}";
    let mut expected = vec![
        json!([1, 7.0, "x", "true", null, null, null, null, null]),
        json!([null, 2.5, null, null, null, "2026-03-01", null, null, null]),
        json!([null, null, null, "a", null, null, nested, "12345678901234567890", null]),
        json!([null, 3.0, null, null, null, null, "plain", null, false]),
    ];
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    assert_eq!(rows.into_iter().map(Value::from).collect::<Vec<_>>(), expected);
    assert_eq!(case.bad("b.json").iter().map(|b| (b.0, b.1.as_str())).collect::<Vec<_>>(), [(1, "no JSON")]);
}

#[test]
fn hints_win_over_what_is_seen_and_other_columns_keep_their_place() {
    let source = "format: json, schema: infer, hints: { day: date, id: string, later: int }, add: { file: path }, partitions: { h: int }";
    let case = Case::new("hints", source);
    case.put(
        "h=1/a.json",
        "{\"id\":1,\"day\":\"2026-03-01\",\"h\":9,\"file\":\"f\",\"x\":[{\"a\":null}]}\n{\"id\":2,\"h\":8}\n",
    );
    assert_eq!(columns(&case), "id string, day date, x string, later int, h int, file string");
    let file = case.url("h=1/a.json");
    let expected =
        [json!(["1", "2026-03-01", "[{\"a\":null}]", null, 1, file]), json!(["2", null, null, null, 1, file])];
    let rows = case.rows().select(&["id", "day", "x", "later", "h", "file"]);
    assert_eq!(rows.into_iter().map(Value::from).collect::<Vec<_>>(), expected);
}

#[test]
fn columns_of_csv_by_header() {
    let case = Case::new("infer-csv", "format: csv, schema: infer");
    let a = "\u{feff}id, n,text,day,at,ok,none\n1,7,x,2026-03-01,2026-03-01T10:00:00,true,\n2,,\"y,\nz\",2026-03-02,2026-03-01T11:00:00,false,\n";
    case.put("a.csv", a).put("b.csv", "more,n,id\nm,0.5,3\n");
    let expected = "id bigint, n double, text string, day date, at timestamp, ok boolean, none string, more string";
    assert_eq!(columns(&case), expected);
    let mut expected = vec![
        json!([1, 7.0, "x", "2026-03-01", "2026-03-01T10:00:00+00:00", true, null, null]),
        json!([2, null, "y,\nz", "2026-03-02", "2026-03-01T11:00:00+00:00", false, null, null]),
        json!([3, 0.5, null, null, null, null, null, "m"]),
    ];
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    let rows = case.rows().select(&["id", "n", "text", "day", "at", "ok", "none", "more"]);
    assert_eq!(rows.into_iter().map(Value::from).collect::<Vec<_>>(), expected);
    // None of them is a wrong file all the same.
    case.put("c.csv", "a;b\n1;2\n");
    let done = case.call().run();
    assert!(done.err.contains("the object has none of the columns of the schema"), "{}", done.err);
}

#[test]
fn columns_of_parquet_by_its_schema() {
    let case = Case::new("infer-parquet", "format: parquet, schema: infer");
    let code = "import sys, datetime as dt, decimal, pyarrow as pa, pyarrow.parquet as pq\n\
                pq.write_table(pa.table({'i': pa.array([1], pa.int16()), 's': pa.array(['x']).dictionary_encode(), 'u': pa.array([2**63], pa.uint64()),\n\
                'd': pa.array([decimal.Decimal('1.50')]), 'at': pa.array([dt.datetime(2026, 3, 1)], pa.timestamp('ms')), 'f': pa.array([1.5], pa.float32()),\n\
                'list': [[{'a': 1, 'b': None}]]}), sys.argv[1] + '/a.parquet')\n\
                pq.write_table(pa.table({'f': [2.5], 'i': [2**40]}), sys.argv[1] + '/b.parquet')";
    python(code, &[&case.folder.text("in")]);
    assert_eq!(columns(&case), "i bigint, s string, u string, d string, at timestamp, f double, list string");
    let rows = case.rows().select(&["i", "s", "u", "d", "at", "f", "list"]);
    let expected = [
        json!([1, "x", "9223372036854775808", "1.50", "2026-03-01T00:00:00+00:00", 1.5, "[{\"a\":1}]"]),
        json!([1_u64 << 40, null, null, null, null, 2.5, null]),
    ];
    assert_eq!(rows.into_iter().map(Value::from).collect::<Vec<_>>(), expected);
}

#[test]
fn what_the_first_run_has_found_stays() {
    let case = Case::new("frozen", "format: json, schema: infer, evolution: ignore, hints: { x: int }");
    case.put("a.json", "{\"id\":1,\"x\":5}\n");
    let plan = |case: &Case| call(case, "check", &[]).out;
    let before = plan(&case);
    assert!(records(&case).is_empty());
    case.rows();
    assert_eq!(records(&case), [json!({"columns": {"id": "bigint", "x": "int"}, "added": []})]);
    // Other objects, other columns; or none at all.
    std::fs::remove_file(case.folder.path("in/a.json")).unwrap();
    assert_eq!(plan(&case), before);
    case.put("b.json", "{\"first\":true,\"id\":2}\n");
    assert_eq!(plan(&case), before);
    assert_eq!(columns(&case), "id bigint, x int");
    assert_eq!(case.rows().select(&["id", "x"]), [[json!(1), json!(5)], [json!(2), Value::Null]]);
    let query = call(&case, "query", &["select sum(id) as s from rows", "--format", "json"]);
    assert_eq!(query.out, "{\"s\":3}\n", "{}", query.err);
    assert_eq!(records(&case).len(), 1);
    // A hint comes too late, unless it says what is recorded.
    let hint = |from: &str, to: &str| {
        let text = std::fs::read_to_string(&case.spec).unwrap();
        assert!(text.contains(from));
        std::fs::write(&case.spec, text.replace(from, to)).unwrap();
        call(&case, "check", &[])
    };
    let done = hint("{ x: int }", "{ x: string, y: int }");
    assert_eq!(done.code, Some(2), "{}", done.out);
    for says in ["`x` was recorded as int by the first run", "recorded by the first run, without `y`", "comes too late"]
    {
        assert!(done.err.contains(says), "no `{says}` in {}", done.err);
    }
    assert_eq!(hint("{ x: string, y: int }", "{ id: bigint }").code, Some(0));
    // Nobody has written it by hand.
    let record = case.folder.path("lake/_state/resolved/objects/00000000000000000001.json");
    std::fs::write(record, "{\"columns\":7}").unwrap();
    let done = call(&case, "check", &[]);
    assert!(done.err.contains("the recorded columns cannot be understood"), "{}", done.err);
}

#[test]
fn nothing_to_infer_from_is_a_problem_that_says_what_to_do() {
    let case = Case::new("nothing", "format: json, schema: infer");
    for content in [None, Some(""), Some("no JSON\n{}\n")] {
        if let Some(content) = content {
            case.put("a.json", content);
        }
        for command in ["check", "run"] {
            let done = call(&case, command, &[]);
            assert_eq!(done.code, Some(2), "{}", done.out);
            for part in
                ["there is no object with a row from which columns could be inferred", "help: put objects at `url:`"]
            {
                assert!(done.err.contains(part), "no `{part}` in {}", done.err);
            }
        }
    }
    assert!(!case.folder.path("lake").exists());
    std::fs::remove_dir_all(case.folder.path("in")).unwrap();
    let done = call(&case, "check", &[]);
    assert!(done.err.contains("the folder does not exist"), "{}", done.err);
    let wide = Case::new("wide", "format: json, schema: infer");
    let fields: Vec<String> = (0..1_001).map(|n| format!("\"user{n}\":{n}")).collect();
    wide.put("a.json", format!("{{{}}}\n", fields.join(",")));
    let done = call(&wide, "check", &[]);
    assert!(done.err.contains("the objects have 1001 columns, more than 1000"), "{}", done.err);
}

#[test]
fn names_that_differ_in_case_only() {
    let case = Case::new("twins", "format: json, schema: infer, add: { File: path }");
    for row in ["{\"Id\":1,\"id\":2}", "{\"id\":1,\"file\":2}"] {
        case.put("a.json", row);
        let done = call(&case, "check", &[]);
        assert_eq!(done.code, Some(2), "{}", done.out);
        assert!(done.err.contains("differ in case only, and a table cannot hold both"), "{}", done.err);
    }
    case.put("a.json", "{\"id\":1}\n");
    case.call().ok();
    case.put("b.json", "{\"ID\":2}\n");
    let done = case.call().run();
    assert_eq!(done.code, Some(1), "{}", done.out);
    for part in
        ["the columns `id` and `ID` differ in case only", &case.url("b.json"), "hint: set `evolution:` to `rescue`"]
    {
        assert!(done.err.contains(part), "no `{part}` in {}", done.err);
    }
    assert_eq!(records(&case).len(), 1);
}

#[cfg(debug_assertions)]
#[test]
fn columns_are_recorded_before_anything_is_bound() {
    let case = Case::new("early", "format: json, schema: infer, evolution: ignore");
    case.put("b.json", "{\"id\":1}\n");
    assert_eq!(
        case.call().env("ALLUVIUM_FAILPOINT", "after-binding@1").command().output().unwrap().status.code(),
        None
    );
    case.put("a.json", "{\"other\":1,\"id\":2}\n");
    assert_eq!(columns(&case), "id bigint");
    assert_eq!(case.rows().rows, [[json!(1)], [json!(2)]]);
}

/// Damage is told when the object is read; before it are rows that tell columns.
#[test]
fn objects_that_are_empty_or_damaged_do_not_stop_it() {
    let case = Case::new("some", "format: json, schema: infer");
    case.put("a.json", "").put("b.json.gz", "not packed").put("c.json", "{\"id\":1}\n");
    assert_eq!(columns(&case), "id bigint");
    case.fault(&["the object cannot be read or unpacked to its end", &case.url("b.json.gz")]);
    std::fs::remove_file(case.folder.path("in/b.json.gz")).unwrap();
    std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
    assert_eq!(case.rows().rows, [[json!(1)]]);
}

/// More than is looked at: a column that comes late is not seen before the run.
#[test]
fn the_sample_is_bounded() {
    let case = Case::new("bounded", "format: json, schema: infer, evolution: ignore");
    let line = format!("{{\"id\":1,\"pad\":\"{}\"}}\n", "x".repeat(1_000));
    case.put("a.json", format!("{}{{\"id\":2,\"late\":1}}\n", line.repeat(5_000)));
    for n in 0..1_000 {
        case.put(&format!("b{n:04}.json"), "{\"id\":3}\n");
    }
    case.put("b0999.json", "{\"id\":3,\"last\":1}\n");
    assert_eq!(columns(&case), "id bigint, pad string");
    assert_eq!(read_ids(&case), 5_001 + 1_000);
}

fn read_ids(case: &Case) -> usize {
    case.call().ok();
    read(&case.folder.text("lake/rows")).rows.len()
}

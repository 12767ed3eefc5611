//! JSON lines.

use serde_json::{Value, json};

use super::{Case, numbered};

const COLUMNS: &str =
    "format: json, schema: { id: bigint, name: string, n: int, d: double, ok: boolean, day: date, at: timestamp }";

#[test]
fn every_type() {
    let schema = "format: json, schema: { s: string, i: int, b: bigint, f: float, d: double, t: boolean, day: date, at: timestamp }";
    let case = Case::new("types", schema);
    case.put(
        "rows.json",
        r#"{"s":"grüße 🌍 \"q\" \\ \n \u00e9","i":-2147483648,"b":9223372036854775807,"f":1.5,"d":-1e-300,"t":true,"day":"2026-03-01","at":"2026-03-01T10:00:00.123456+02:00"}
{"s":"","i":2147483647,"b":-9223372036854775808,"f":-0.25,"d":1e300,"t":false,"day":"1969-12-31","at":"2026-03-01 10:00:00"}
{"s":12.50,"i":"7","b":"8","f":"0.5","d":"2.5","t":null,"day":null,"at":null}
{"s":true,"i":5.0,"b":1e3,"f":3,"d":4}
{}
{"unknown":{"a":[1,{"b":null}]},"at":"2026-03-01T23:30:00-05:00","s":null}
"#,
    );
    let table = case.rows();
    let types: Vec<(&str, &str)> = table.columns.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    let expected = [
        ("at", "timestamp[us, tz=UTC]"),
        ("b", "int64"),
        ("d", "double"),
        ("day", "date32[day]"),
        ("f", "float"),
        ("i", "int32"),
        ("s", "string"),
        ("t", "bool"),
    ];
    assert_eq!(types, expected);
    let mut expected = vec![
        json!([
            "grüße 🌍 \"q\" \\ \n é",
            -2147483648,
            9223372036854775807_i64,
            1.5,
            -1e-300,
            true,
            "2026-03-01",
            "2026-03-01T08:00:00.123456+00:00"
        ]),
        json!([
            "",
            2147483647,
            -9223372036854775808_i64,
            -0.25,
            1e300,
            false,
            "1969-12-31",
            "2026-03-01T10:00:00+00:00"
        ]),
        json!(["12.50", 7, 8, 0.5, 2.5, null, null, null]),
        json!(["true", 5, 1000, 3.0, 4.0, null, null, null]),
        json!([null, null, null, null, null, null, null, null]),
        json!([null, null, null, null, null, null, null, "2026-03-02T04:30:00+00:00"]),
    ];
    expected.sort_by_key(|row| serde_json::to_string(row).unwrap());
    let rows: Vec<Value> =
        table.select(&["s", "i", "b", "f", "d", "t", "day", "at"]).into_iter().map(Value::from).collect();
    assert_eq!(rows, expected);
}

/// Bad lines with the reason that must be given; between them are good ones.
fn bad_lines() -> Vec<(Vec<u8>, &'static str)> {
    let deep = format!(r#"{{"id":1,"name":{}1{}}}"#, "[".repeat(150), "]".repeat(150));
    let abyss = format!(r#"{{"id":1,"name":{}"#, "[".repeat(200_000));
    vec![
        (br#"{"id":"x","name":"b"}"#.into(), "column `id`: `x` is not a 64-bit whole number"),
        (br#"{"id":1.5}"#.into(), "column `id`: `1.5` is not a 64-bit whole number"),
        (br#"{"id":9223372036854775808}"#.into(), "column `id`: `9223372036854775808` is not a 64-bit whole number"),
        (br#"{"n":2147483648}"#.into(), "column `n`: `2147483648` is not a 32-bit whole number"),
        (br#"{"n":true}"#.into(), "column `n`: `true` is not a 32-bit whole number"),
        (br#"{"d":"1,5"}"#.into(), "column `d`: `1,5` is not a number"),
        (br#"{"ok":"yes"}"#.into(), "column `ok`: `\"yes\"` is not true or false"),
        (br#"{"day":"01.03.2026"}"#.into(), "column `day`: `01.03.2026` is not a date"),
        (br#"{"at":1772359200}"#.into(), "column `at`: `1772359200` is not a timestamp"),
        (br#"{"at":"noon"}"#.into(), "column `at`: `noon` is not a timestamp"),
        (br#"{"name":{"first":"a"}}"#.into(), "column `name`: `{\"first\":\"a\"}` is not text"),
        (br#"{"id":[1]}"#.into(), "column `id`: `[1]` is not a single value"),
        (br#"{"id":2}{"id":3}"#.into(), "more than one JSON value on the line, at column 9"),
        (br#"{"id":4,"#.into(), "not valid JSON: EOF while parsing a value at column 8"),
        (br#"{"id":4,"name":"cut"#.into(), "not valid JSON: EOF while parsing a string at column 19"),
        (br#"{"id":4,"name":"\ud83d"}"#.into(), "not valid JSON: unexpected end of hex escape at column 23"),
        (b"[1,2]".into(), "the line is not a JSON object"),
        (b"5".into(), "the line is not a JSON object"),
        (b"}".into(), "not valid JSON: expected value at column 1"),
        (b"nonsense".into(), "not valid JSON: expected ident at column 2"),
        (b"{\"id\":1,\"name\":\"\xff\xfe\"}".into(), "the line is not UTF-8"),
        (deep.into(), "values are nested deeper than 100 levels"),
        (abyss.into(), "values are nested deeper than 100 levels"),
    ]
}

#[test]
fn bad_lines_go_to_quarantine_with_number_text_and_reason() {
    let case = Case::new("quarantine", &format!("{COLUMNS}, on_bad_row: quarantine"));
    let (mut content, mut expected, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (line, reason)) in bad_lines().into_iter().enumerate() {
        // A blank line counts.
        content.extend(format!("{{\"id\":{at},\"name\":\"good [{{\"}}\n\n").into_bytes());
        content.extend(&line);
        content.extend(b"\r\n");
        good.push(vec![json!(at), json!("good [{")]);
        expected.push((3 * (at as i64 + 1), String::from_utf8_lossy(&line).into_owned(), reason.to_owned()));
    }
    case.put("rows.json", content);
    let table = case.rows();
    good.sort_by_key(|row| serde_json::to_string(row).unwrap());
    assert_eq!(table.select(&["id", "name"]), good);
    for (found, expected) in case.bad("rows.json").iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(case.bad("rows.json").len(), expected.len());
}

#[test]
fn brackets_in_text_and_wide_values_are_not_deep() {
    let case = Case::new("brackets", "format: json, schema: { id: bigint, text: string }");
    let text = "[{\\\"".repeat(300);
    let wide = format!("[{}[1]]", "[{\"a\":1}],".repeat(300));
    let deep = format!("{}1{}", "[".repeat(99), "]".repeat(99));
    case.put(
        "rows.json",
        format!("{{\"id\":1,\"text\":\"{text}\"}}\n{{\"id\":2,\"other\":{wide}}}\n{{\"id\":3,\"other\":{deep}}}\n"),
    );
    let expected =
        [vec![json!(1), json!("[{\"".repeat(300))], vec![json!(2), Value::Null], vec![json!(3), Value::Null]];
    assert_eq!(case.rows().select(&["id", "text"]), expected);
}

#[test]
fn lines_are_counted_over_many_blocks() {
    let case = Case::new("blocks", "format: json, schema: { id: bigint, text: string }, on_bad_row: quarantine");
    let mut lines: Vec<String> = numbered(0..20_000, 400).lines().map(str::to_owned).collect();
    let bad = [0, 1, 2_521, 7_777, 7_778, 12_345, 19_999];
    for (at, broken) in bad.iter().zip(["}", "{\"id\":\"x\"}"].iter().cycle()) {
        lines[*at] = (*broken).to_owned();
    }
    // Longer than several blocks.
    lines[10_000] = format!("{{\"id\":10000,\"text\":\"{}\"}}", "y".repeat(5 << 20));
    case.put("rows.json", lines.join("\n"));
    let table = case.rows();
    let ids: Vec<usize> = (0..20_000).filter(|id| !bad.contains(id)).collect();
    let mut found: Vec<usize> = table.select(&["id"]).iter().map(|row| row[0].as_u64().unwrap() as usize).collect();
    found.sort_unstable();
    assert!(found == ids);
    let long = table.select(&["text"]).iter().map(|row| row[0].as_str().unwrap().len()).max();
    assert_eq!(long, Some(5 << 20));
    let lines: Vec<i64> = case.bad("rows.json").iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, bad.map(|at| at as i64 + 1));
}

#[test]
fn without_a_choice_a_bad_line_is_a_fault() {
    let case = Case::new("fail", COLUMNS);
    case.put("a.json", "{\"id\":1}\n").put("b.json", "{\"id\":2}\n\n{\"id\":\"two\"}\n{\"id\":3}\n");
    let object = format!("object: {}", case.url("b.json"));
    case.fault(&[
        "error: stage `objects` failed at epoch 1: a row cannot be read: column `id`: `two` is not a 64-bit whole number",
        "text: {\"id\":\"two\"}",
        &object,
        "row: 3",
        "hint: correct the object, or set `on_bad_row:` to `quarantine` or `drop`",
    ]);
    // Put right, the same epoch goes through: under a new name, since the old content was bound.
    std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
    case.put("b.json", "{\"id\":2}\n");
    assert_eq!(case.rows().select(&["id"]), [[json!(1)], [json!(2)]]);
}

#[test]
fn dropped_lines_are_counted_in_a_warning() {
    let case = Case::new("drop", &format!("{COLUMNS}, on_bad_row: drop"));
    case.put("a.json", "{\"id\":1}\n{\"id\":\"x\"}\n}{\n{\"id\":2}\n");
    let done = case.call().run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    let warning =
        done.err.lines().find(|line| line.contains("bad rows were dropped")).unwrap_or_else(|| panic!("{}", done.err));
    assert!(warning.contains("rows=2") && warning.contains(&case.url("a.json")), "{warning}");
    assert_eq!(crate::support::read(&case.folder.text("lake/rows")).select(&["id"]), [[json!(1)], [json!(2)]]);
}

#[test]
fn an_object_without_line_ends_is_a_fault_and_not_a_memory_problem() {
    let case = Case::new("endless", &format!("{COLUMNS}, on_bad_row: quarantine"));
    case.put("a.json", vec![b'x'; 70 << 20]);
    case.fault(&["line 1 is longer than 64 MiB", "hint: the format is one JSON object a line"]);
}

//! CSV with a header.

use serde_json::{Value, json};

use super::{Case, pack};

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

fn select(table: &crate::support::Table, names: &[&str]) -> Vec<Value> {
    table.select(names).into_iter().map(Value::from).collect()
}

#[test]
fn every_type_quotes_and_empty_fields() {
    let schema = "format: csv, schema: { s: string, i: int, b: bigint, f: float, d: double, t: boolean, day: date, at: timestamp }, add: { file: path }";
    let case = Case::new("csv", schema);
    // Columns in another order, and one that is not asked for.
    let text = concat!(
        "at,extra,s,i,b,f,d,t,day\n",
        "2026-03-01T10:00:00+02:00,x,\"line one\nline \"\"two\"\", still\",-7,9223372036854775807,1.5,2.25,true,2026-03-01\n",
        ",,,,,,,,\n",
        "2026-03-01 10:00:00,\"\",\"\",5.0,1e3,1,1e-3,false,1969-12-31\r\n",
        "\n",
        "2026-03-01T10:00:00Z,,  two words ,0,0,0,0,true,2024-02-29",
    );
    case.put("a.csv", format!("\u{feff}{text}"));
    let plain = case.folder.write("plain.csv", text).display().to_string();
    pack(&plain, &case.folder.text("in/b.csv.gz"), "gzip");
    let table = case.rows();
    let types: Vec<(&str, &str)> = table.columns.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(types[..3], [("at", "timestamp[us, tz=UTC]"), ("b", "int64"), ("d", "double")]);
    let mut expected = Vec::new();
    for file in ["a.csv", "b.csv.gz"] {
        let file = case.url(file);
        expected.push(json!([
            file,
            "line one\nline \"two\", still",
            -7,
            9223372036854775807_i64,
            1.5,
            2.25,
            true,
            "2026-03-01",
            "2026-03-01T08:00:00+00:00"
        ]));
        expected.push(json!([file, null, null, null, null, null, null, null, null]));
        expected.push(json!([file, null, 5, 1000, 1.0, 0.001, false, "1969-12-31", "2026-03-01T10:00:00+00:00"]));
        expected.push(json!([file, "  two words ", 0, 0, 0.0, 0.0, true, "2024-02-29", "2026-03-01T10:00:00+00:00"]));
    }
    assert_eq!(select(&table, &["file", "s", "i", "b", "f", "d", "t", "day", "at"]), sorted(expected));
}

#[test]
fn another_separator() {
    let case = Case::new("tabs", "format: csv, schema: { a: string, b: int }, delimiter: \"\\t\"");
    case.put("a.tsv", "a\tb\nx,y\t1\n\"tab\there\"\t2\n").put("empty.tsv", "").put("header.tsv", "a\tb\n");
    assert_eq!(select(&case.rows(), &["a", "b"]), sorted(vec![json!(["x,y", 1]), json!(["tab\there", 2])]));
}

#[test]
fn bad_records_go_to_quarantine_as_they_were() {
    let case =
        Case::new("records", "format: csv, schema: { id: bigint, name: string, day: date }, on_bad_row: quarantine");
    for (ends, file) in [("\n", "unix.csv"), ("\r\n", "windows.csv")] {
        let lines: [&[u8]; 10] = [
            b"id,name,day",
            b"1,\"two",
            b"lines\",2026-03-01",
            b"x,\"a, \"\"b\"\"\",",
            b"2,short",
            b"3,long,2026-03-01,more",
            b"",
            b"4,\xff,",
            b"5,\"two",
            b"lines\",tomorrow",
        ];
        case.put(file, lines.join(ends.as_bytes()));
        case.call().ok();
        assert_eq!(
            crate::support::read(&case.folder.text("lake/rows")).select(&["id", "name"]),
            [[json!(1), json!(format!("two{ends}lines"))]]
        );
        let expected = [
            (4, "x,\"a, \"\"b\"\"\",".to_owned(), "column `id`: `x` is not a 64-bit whole number"),
            (5, "2,short".into(), "2 field(s) where the header has 3"),
            (6, "3,long,2026-03-01,more".into(), "4 field(s) where the header has 3"),
            (8, "4,\u{fffd},".into(), "the record is not UTF-8"),
            (9, format!("5,\"two{ends}lines\",tomorrow"), "column `day`: `tomorrow` is not a date"),
        ];
        assert_eq!(case.bad(file), expected.map(|(line, raw, reason)| (line, raw, reason.to_owned())));
        std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
        std::fs::remove_file(case.folder.path("in").join(file)).unwrap();
    }
}

#[test]
fn records_are_counted_over_many_batches() {
    let case = Case::new("many", "format: csv, schema: { id: bigint, text: string }, on_bad_row: quarantine");
    let bad = [0, 8_191, 8_192, 15_000, 29_999];
    let line = |id: usize| if bad.contains(&id) { format!("-,{id}\n") } else { format!("{id},\"{:x>90}\n\"\n", id) };
    case.put("a.csv", format!("id,text\n{}", (0..30_000).map(line).collect::<String>()));
    let table = case.rows();
    let mut ids: Vec<usize> = table.select(&["id"]).iter().map(|row| row[0].as_u64().unwrap() as usize).collect();
    ids.sort_unstable();
    assert!(ids == (0..30_000).filter(|id| !bad.contains(id)).collect::<Vec<_>>());
    // Good records have two lines.
    let line = |at: usize, id: usize| 2 + 2 * id as i64 - at as i64;
    let expected: Vec<_> = bad.iter().enumerate().map(|(at, id)| (line(at, *id), format!("-,{id}"))).collect();
    let found: Vec<_> = case.bad("a.csv").into_iter().map(|(line, raw, _)| (line, raw)).collect();
    assert_eq!(found, expected);
}

#[test]
fn headers_that_do_not_fit_are_faults() {
    let source = "format: csv, schema: { id: bigint, name: string }, on_bad_row: quarantine";
    for (header, says) in [
        ("id,nmae", "the object has no column `name`"),
        ("id;name", "the object has no column `id`"),
        ("id,name,id", "the object has several columns `id`"),
    ] {
        let case = Case::new("header", source);
        case.put("a.csv", format!("{header}\n1,x\n"));
        let there = format!("the header has: {}", header.replace(',', ", "));
        let object = format!("object: {}", case.url("a.csv"));
        case.fault(&[
            "stage `objects` failed at epoch 1",
            says,
            &there,
            &object,
            "hint: correct the object, or `schema:` and `delimiter:`",
        ]);
    }
}

#[test]
fn without_a_choice_a_bad_record_is_a_fault() {
    let case = Case::new("fail-csv", "format: csv, schema: { id: bigint }");
    case.put("a.csv", "id\n1\n").put("b.csv", "id\n1\n\n\"\nx\"\n");
    let object = format!("object: {}", case.url("b.csv"));
    case.fault(&[
        "a row cannot be read: column `id`: `\n",
        "is not a 64-bit whole number",
        &object,
        "row: 4",
        "hint: correct the object",
    ]);
}

#[test]
fn a_quote_that_is_never_closed_does_not_fill_memory() {
    let case = Case::new("unclosed", "format: csv, schema: { id: bigint, name: string }, on_bad_row: quarantine");
    case.put("a.csv", format!("id,name\n1,x\n2,\"{}", "y,\n".repeat(24 << 20)));
    case.fault(&["the record is longer than 64 MiB; is a quote never closed?", &case.url("a.csv"), "row: 3"]);
}

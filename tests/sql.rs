//! `kind: sql`: what a query gives, and what becomes of rows for which it fails.

use serde_json::{Value, json};

use crate::support::{Call, Folder, Table, alluvium, read};

/// A pipeline of one query over JSON lines; bad rows go to the table `bad`, if they go anywhere.
struct Case {
    folder: Folder,
    spec: String,
}

impl Case {
    fn new(name: &str, schema: &str, query: &str, on_bad_row: &str) -> Self {
        let folder = Folder::new(name);
        let bad = match on_bad_row {
            "quarantine" => r#"bad: { kind: delta, input: query.rejects, table: "${LAKE}/bad" }"#,
            _ => "",
        };
        let query = query.replace('\n', "\n      ");
        let spec = format!(
            r#"
pipeline: sql
state: ${{LAKE}}/_state
stages:
  rows: {{ kind: files, url: "${{IN}}", format: json, schema: {schema} }}
  query:
    kind: sql
    input: rows
    query: |
      {query}
    on_bad_row: {on_bad_row}
  table: {{ kind: delta, input: query, table: "${{LAKE}}/table" }}
  {bad}
"#
        );
        let spec = folder.write("spec.yaml", &spec).display().to_string();
        Self { folder, spec }
    }

    fn put(self, rows: impl IntoIterator<Item = Value>) -> Self {
        self.folder.write("in/rows.json", &rows.into_iter().map(|row| format!("{row}\n")).collect::<String>());
        self
    }

    fn call(&self, command: &str) -> Call {
        alluvium(&[command, &self.spec]).env("IN", &self.folder.text("in")).env("LAKE", &self.folder.text("lake"))
    }

    #[track_caller]
    fn table(&self) -> Table {
        self.call("run").ok();
        read(&self.folder.text("lake/table"))
    }

    /// Row as JSON, and reason.
    fn bad(&self) -> Vec<(Value, String)> {
        let table = read(&self.folder.text("lake/bad"));
        let rows = table.select(&["stage", "object", "line", "raw", "reason"]).into_iter();
        rows.map(|row| {
            assert_eq!(row[..3], [json!("query"), Value::Null, Value::Null]);
            (serde_json::from_str(row[3].as_str().unwrap()).unwrap(), row[4].as_str().unwrap().to_owned())
        })
        .collect()
    }
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

fn select(table: &Table, names: &[&str]) -> Vec<Value> {
    table.select(names).into_iter().map(Value::from).collect()
}

fn texts() -> Vec<Value> {
    let texts = ["@Ann meets @bob_2 and @ann", "nobody", "", "@é @ x", "a@b.c"].map(|t| json!({"text": t}));
    texts.into_iter().chain([json!({"text": null})]).collect()
}

#[test]
fn outer_unnest_keeps_rows_without_elements() {
    for (function, keeps) in [("unnest_outer", true), ("unnest", false)] {
        let query = format!("SELECT text, lower({function}(regexp_extract_all(text, '@\\w+'))) AS mention FROM input");
        let case = Case::new("unnest", "{ text: string }", &query, "fail").put(texts());
        let mut expected = vec![
            json!(["@Ann meets @bob_2 and @ann", "@ann"]),
            json!(["@Ann meets @bob_2 and @ann", "@bob_2"]),
            json!(["@Ann meets @bob_2 and @ann", "@ann"]),
            json!(["@é @ x", "@é"]),
            json!(["a@b.c", "@b"]),
        ];
        if keeps {
            expected.extend([json!(["nobody", null]), json!(["", null]), json!([null, null])]);
        }
        assert_eq!(select(&case.table(), &["text", "mention"]), sorted(expected), "{function}");
    }
}

#[test]
fn every_match_is_extracted() {
    let query = "SELECT text, regexp_extract_all(text, '@\\w+') AS all, regexp_extract_all(text, '[^ ]*') AS words,\n\
                 regexp_extract_all('a1b22', '\\d+') AS fixed, regexp_extract_all(NULL, 'x') AS none FROM input";
    let case = Case::new("extract", "{ text: string }", query, "fail").put(texts());
    let table = case.table();
    assert!(
        table.columns["all"].starts_with("list<") && table.columns["all"].contains("string"),
        "{:?}",
        table.columns
    );
    let all = vec![
        json!(["@Ann meets @bob_2 and @ann", ["@Ann", "@bob_2", "@ann"]]),
        json!(["nobody", []]),
        json!(["", []]),
        json!(["@é @ x", ["@é"]]),
        json!(["a@b.c", ["@b"]]),
        json!([null, null]),
    ];
    assert_eq!(select(&table, &["text", "all"]), sorted(all));
    assert!(select(&table, &["fixed", "none"]).iter().all(|row| *row == json!([["1", "22"], null])));
    assert!(select(&table, &["text", "words"]).contains(&json!(["", [""]])));
}

#[test]
fn moments_with_every_zone() {
    let zones = [
        ("PDT", "07"),
        ("PST", "08"),
        ("EST", "05"),
        ("EDT", "04"),
        ("UTC", "00"),
        ("GMT", "00"),
        ("Z", "00"),
        ("-0700", "07"),
        ("-07:00", "07"),
        ("-07", "07"),
        ("GMT-7", "07"),
        ("pdt", "07"),
        ("CST", "06"),
        ("MST", "07"),
    ];
    let mut rows: Vec<Value> =
        zones.iter().map(|(zone, _)| json!({"date": format!("Mon Apr 06 22:19:49 {zone} 2009")})).collect();
    let hours = |hours: &str| (22 + hours.parse::<u32>().unwrap()) % 24;
    let day = |hours: &str| if hours >= "02" { "07" } else { "06" };
    let mut expected: Vec<Value> = zones
        .iter()
        .map(|(zone, west)| {
            json!([
                format!("Mon Apr 06 22:19:49 {zone} 2009"),
                format!("2009-04-{}T{:02}:19:49+00:00", day(west), hours(west))
            ])
        })
        .collect();
    for (date, utc) in [
        ("Mon Apr 06 22:19:49 BST 2009", json!("2009-04-06T21:19:49+00:00")),
        ("Tue Apr 07 00:19:49 +0530 2009", json!("2009-04-06T18:49:49+00:00")),
        ("Wed Dec 31 23:59:59 PST 2008", json!("2009-01-01T07:59:59+00:00")),
        ("Thu Feb 29 12:00:00 UTC 1968", json!("1968-02-29T12:00:00+00:00")),
    ] {
        rows.push(json!({"date": date}));
        expected.push(json!([date, utc]));
    }
    rows.push(json!({"date": null}));
    expected.push(json!([null, null]));
    let bad = [
        ("Mon Apr 06 22:19:49 XYZ 2009", "`XYZ` is not a known time zone"),
        ("Mon Apr 06 22:19:49 IST 2009", "the time zone `IST` means different offsets in different places"),
        ("Mon Apr 06 22:19:49  2009", "`` is not a known time zone"),
        ("Mon Apr 06 22:19:49 +25:00 2009", "`+25:00` is not a known time zone"),
        ("Mon Apr 31 22:19:49 PDT 2009", "there is no day 2009-04-31"),
        ("Mon Apr 06 24:19:49 PDT 2009", "there is no time 24:19:49"),
        ("2009-04-06T22:19:49Z", "no weekday at `2009-04-06T22:19:49Z`"),
    ];
    rows.extend(bad.iter().map(|(date, _)| json!({"date": date})));
    let query = "SELECT date, parse_timestamp(date, 'EEE MMM dd HH:mm:ss zzz yyyy') AS at FROM input";
    let case = Case::new("zones", "{ date: string }", query, "quarantine").put(rows);
    let table = case.table();
    assert_eq!(table.columns["at"], "timestamp[us, tz=UTC]");
    assert_eq!(select(&table, &["date", "at"]), sorted(expected));
    let found = case.bad();
    assert_eq!(found.len(), bad.len());
    for (date, why) in bad {
        let reason = format!("`{date}` is not a date of the form `EEE MMM dd HH:mm:ss zzz yyyy`: {why}");
        assert!(found.contains(&(json!({"date": date}), reason)), "{date}: {found:?}");
    }
}

const CAST: &str =
    "SELECT id, CAST(text AS BIGINT) AS number, 100 / (id - 7) AS ratio FROM input WHERE text <> 'left out'";
const ROWS: i64 = 20_000;
const BAD: [i64; 6] = [0, 1, 7, 8_191, 8_192, 19_999];

fn numbers(on_bad_row: &str) -> Case {
    let text = |id: i64| if BAD.contains(&id) && id != 7 { format!("<{id}>") } else { id.to_string() };
    let row = |id: i64| json!({"id": id, "text": if id % 100 == 50 { "left out".to_owned() } else { text(id) }, "more": null});
    Case::new("cast", "{ id: bigint, text: string, more: int }", CAST, on_bad_row).put((0..ROWS).map(row))
}

fn good() -> Vec<Value> {
    let ids = (0..ROWS).filter(|id| !BAD.contains(id) && id % 100 != 50);
    sorted(ids.map(|id| json!([id, id, 100 / (id - 7)])).collect())
}

#[test]
fn only_the_rows_that_fail_go_to_quarantine() {
    let case = numbers("quarantine");
    assert!(select(&case.table(), &["id", "number", "ratio"]) == good());
    let mut found = case.bad();
    found.sort_by_key(|(row, _)| row["id"].as_i64());
    let expected = BAD.map(|id| match id {
        7 => (json!({"id": 7, "text": "7", "more": null}), "Divide by zero error".to_owned()),
        _ => (
            json!({"id": id, "text": format!("<{id}>"), "more": null}),
            format!("Cannot cast string '<{id}>' to value of Int64 type"),
        ),
    });
    assert_eq!(found, expected);
}

#[test]
fn dropped_rows_are_counted_in_warnings() {
    let case = numbers("drop");
    let done = case.call("run").run();
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(select(&read(&case.folder.text("lake/table")), &["id", "number", "ratio"]) == good());
    let warnings = done.err.lines().filter(|line| line.contains("bad rows were dropped"));
    let counts = warnings
        .map(|line| line.split("rows=").nth(1).unwrap().split_whitespace().next().unwrap().parse::<usize>().unwrap());
    assert_eq!(counts.sum::<usize>(), BAD.len(), "{}", done.err);
}

#[test]
fn without_a_choice_the_first_row_that_fails_is_a_fault() {
    let case = numbers("fail");
    let done = case.call("run").run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    for part in [
        "error: stage `query` failed at epoch 1: the query fails for a row: Cannot cast string '<0>' to value of Int64 type",
        r#"row: {"id":0,"text":"<0>","more":null}"#,
        "hint: change the query, or set `on_bad_row:` to `quarantine` or `drop`",
    ] {
        assert!(done.err.contains(part), "no `{part}` in:\n{}", done.err);
    }
    assert_eq!(read(&case.folder.text("lake/table")).rows.len(), 0);
}

#[test]
fn columns_leave_in_the_types_of_tables() {
    let query = "SELECT arrow_cast(s, 'Utf8View') AS view, arrow_cast(s, 'LargeUtf8') AS large, upper(arrow_cast(s, 'Utf8View')) AS upper,\n\
                 arrow_cast(s, 'Dictionary(Int32, Utf8)') AS dictionary, arrow_cast(n, 'UInt8') AS u8, arrow_cast(n, 'UInt16') AS u16,\n\
                 arrow_cast(n, 'UInt32') AS u32, arrow_cast(n, 'UInt64') AS u64, arrow_cast(n, 'Float16') AS f16, n AS same,\n\
                 arrow_cast(at, 'Timestamp(Nanosecond, None)') AS nanos, arrow_cast(at, 'Timestamp(Second, Some(\"+05:00\"))') AS zoned,\n\
                 arrow_cast(CAST(at AS DATE), 'Date64') AS day, to_timestamp('2026-03-01T10:00:00.123456789') AS parsed, NULL AS nothing,\n\
                 make_array(arrow_cast(s, 'Utf8View'), NULL) AS list, named_struct('a', arrow_cast(s, 'Utf8View'), 'b', arrow_cast(n, 'UInt32')) AS struct, n > 1 AS flag FROM input";
    let case = Case::new("types", "{ s: string, n: bigint, at: timestamp }", query, "quarantine");
    let case = case
        .put([json!({"s": "ß", "n": 200, "at": "2026-03-01T23:30:00.5Z"}), json!({"s": "gone", "n": -1, "at": null})]);
    let table = case.table();
    let moment = "timestamp[us, tz=UTC]";
    for (name, expected, value) in [
        ("view", "string", json!("ß")),
        ("large", "string", json!("ß")),
        ("upper", "string", json!("SS")),
        ("dictionary", "string", json!("ß")),
        ("u8", "int16", json!(200)),
        ("u16", "int32", json!(200)),
        ("u32", "int64", json!(200)),
        ("u64", "int64", json!(200)),
        ("f16", "float", json!(200.0)),
        ("same", "int64", json!(200)),
        ("nanos", moment, json!("2026-03-01T23:30:00.500000+00:00")),
        ("zoned", moment, json!("2026-03-01T23:30:00+00:00")),
        ("day", "date32[day]", json!("2026-03-01")),
        ("parsed", moment, json!("2026-03-01T10:00:00.123456+00:00")),
        ("nothing", "string", Value::Null),
        ("flag", "bool", json!(true)),
    ] {
        assert_eq!(table.columns[name], expected, "{name}");
        assert_eq!(select(&table, &[name]), [json!([value])], "{name}");
    }
    assert_eq!(select(&table, &["list", "struct"]), [json!([["ß", null], {"a": "ß", "b": 200}])]);
    for nested in ["list", "struct"] {
        assert!(
            !table.columns[nested].contains("view") && !table.columns[nested].contains("uint"),
            "{}",
            table.columns[nested]
        );
    }
    // -1 is no unsigned number: a bad row, not a large number.
    let bad = case.bad();
    assert_eq!((bad.len(), &bad[0].0), (1, &json!({"s": "gone", "n": -1, "at": null})));
}

#[test]
fn row_wise_queries_may_be_nested() {
    let query = "WITH big AS (SELECT id, id * 2 AS double FROM input WHERE id > 2),\n\
                 named AS (SELECT id, double, concat('n', id) AS name FROM big)\n\
                 SELECT id, name, part FROM (SELECT id, name, unnest([double, double + 1]) AS part FROM named WHERE id <> 4) AS parts WHERE part % 3 <> 0";
    let case = Case::new("nested", "{ id: bigint }", query, "fail").put((0..6).map(|id| json!({"id": id})));
    let expected = [(3, 7), (5, 10), (5, 11)].map(|(id, part)| json!([id, format!("n{id}"), part]));
    assert_eq!(select(&case.table(), &["id", "name", "part"]), sorted(expected.to_vec()));
}

#[test]
fn patterns_and_statements_that_can_never_work_are_found_before_the_run() {
    for (query, says) in [
        ("SELECT regexp_extract_all(text, '(') AS x FROM input", "`(` is not a regular expression: unclosed group"),
        (
            "SELECT regexp_replace(text, '[', '') AS x FROM input",
            "`[` is not a regular expression: unclosed character class",
        ),
        (
            "SELECT regexp_extract_all(text, text) AS x FROM input",
            "the pattern of `regexp_extract_all` must be a constant text",
        ),
        ("SELECT parse_timestamp(text, 'HH:mm') AS x FROM input", "the date pattern `HH:mm` has no year"),
        ("SELECT parse_timestamp(text, 'yyyy-QQ') AS x FROM input", "`Q` in the date pattern `yyyy-QQ` has no meaning"),
        (
            "SELECT parse_timestamp(text, NULL) AS x FROM input",
            "the pattern of `parse_timestamp` must be a constant text",
        ),
        ("CREATE TABLE x AS SELECT * FROM input", "a `sql` stage runs one SELECT and changes nothing"),
        ("SELECT 1 AS x", "the query does not read `input`"),
        ("SELECT value FROM generate_series(1, 3) AS input", "the query reads something else than `input`"),
    ] {
        let case = Case::new("refused", "{ text: string }", query, "fail");
        let done = case.call("check").run();
        assert_eq!(done.code, Some(2), "{query}\n{}{}", done.out, done.err);
        // Long lines are wrapped.
        let text = done.err.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
        assert!(text.contains(says), "no `{says}` in:\n{}", done.err);
        assert!(done.err.contains("spec.yaml:"), "{}", done.err);
    }
}

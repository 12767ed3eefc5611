//! Columns from paths, and objects without a byte.

use serde_json::json;

use super::{Case, numbered, pack, python};
use crate::support::{Bucket, alluvium, read};

const DAYS: &str = "format: json, schema: { id: bigint }, partitions: { date: date, hour: int, city: string }";

fn sorted(mut rows: Vec<Vec<serde_json::Value>>) -> Vec<Vec<serde_json::Value>> {
    rows.sort_by_key(|row| serde_json::to_string(row).unwrap());
    rows
}

#[test]
fn folders_of_a_path_are_columns() {
    let case = Case::new("hive", &format!("{DAYS}, add: {{ file: path }}"));
    let names = [
        "date=2009-04-06/hour=07/city=K%C3%B6ln%2FS%C3%BCd/part.json",
        "date=2009-04-06/hour=7/x/city=a=b/part.json",
        "hour=23/date=1969-12-31/city=__HIVE_DEFAULT_PARTITION__/x.json",
        // The innermost folder counts.
        "hour=1/date=2026-03-01/hour=2/city=/hour=3.json",
        "date=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__/city=%zz/x.json",
    ];
    for (id, name) in names.iter().enumerate() {
        // The path wins over the row.
        case.put(name, format!("{{\"id\":{id},\"hour\":99,\"city\":\"elsewhere\"}}\n{{\"id\":{id}}}\n"));
    }
    let table = case.rows();
    let types: Vec<(&str, &str)> = table.columns.iter().map(|(name, of)| (name.as_str(), of.as_str())).collect();
    assert_eq!(types[..3], [("city", "string"), ("date", "date32[day]"), ("file", "string")]);
    let values = [
        json!(["2009-04-06", 7, "Köln/Süd"]),
        json!(["2009-04-06", 7, "a=b"]),
        json!(["1969-12-31", 23, null]),
        json!(["2026-03-01", 2, ""]),
        json!([null, null, "%zz"]),
    ];
    let expected = values.iter().enumerate().flat_map(|(id, row)| {
        let row = [vec![json!(id), json!(case.url(names[id]))], row.as_array().unwrap().clone()].concat();
        [row.clone(), row]
    });
    assert_eq!(table.select(&["id", "file", "date", "hour", "city"]), sorted(expected.collect()));
}

#[test]
fn every_format_has_them() {
    let hive = "schema: { id: bigint }, partitions: { n: int }";
    let csv = Case::new("hive-csv", &format!("format: csv, {hive}"));
    csv.put("n=1/a.csv", "n,id\n5,1\n").put("n=2/a.csv", "id\n2\n");
    let parquet = Case::new("hive-parquet", &format!("format: parquet, {hive}"));
    for n in [1, 2] {
        let folder = parquet.folder.path(&format!("in/n={n}"));
        std::fs::create_dir_all(&folder).unwrap();
        let code = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
                    n = int(sys.argv[2]); pq.write_table(pa.table({'id': [n], 'n': [7]}), sys.argv[1])";
        python(code, &[&folder.join("a.parquet").display().to_string(), &n.to_string()]);
    }
    for case in [csv, parquet] {
        assert_eq!(case.rows().select(&["id", "n"]), [[json!(1), json!(1)], [json!(2), json!(2)]]);
    }
}

#[test]
fn a_path_that_does_not_fit_stops_the_run_before_anything_is_bound() {
    for (name, says) in [
        ("date=2009-04-06/city=x/a.json", "the object's path has no folder `hour=…`, which `partitions:` asks for"),
        (
            "date=2009-04-06/hour=7h/city=x/a.json",
            "the object's path does not fit `partitions:`: column `hour`: `7h` is not a 32-bit whole number",
        ),
        ("date=/hour=7/city=x/a.json", "column `date`: `` is not a date"),
        ("date=2009-04-06/hour=7/city=%ff/a.json", "the folder `city=%ff` is not UTF-8 when it is decoded"),
    ] {
        let case = Case::new("unfit", DAYS);
        case.put("date=2009-04-06/hour=7/city=x/good.json", "{\"id\":1}\n").put(name, "{\"id\":2}\n");
        let object = format!("object: {}", case.url(name));
        case.fault(&["stage `objects` failed", says, &object, "hint: move the object to a folder `", "`exclude:`"]);
        // So that it can be put right.
        std::fs::remove_file(case.folder.path("in").join(name)).unwrap();
        assert_eq!(case.rows().select(&["id", "hour"]), [[json!(1), json!(7)]]);
    }
}

/// The objects in the ledger, by name.
fn ledger(case: &Case) -> Vec<String> {
    let call = alluvium(&["ledger", &case.spec, "--format", "json"]);
    let call = call.env("IN", &case.folder.text("in")).env("LAKE", &case.folder.text("lake"));
    let name = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["object"].as_str().unwrap().strip_prefix(&case.url("")).unwrap().to_owned()
    };
    let mut names: Vec<String> = call.ok().lines().map(name).collect();
    names.sort();
    names
}

#[test]
fn an_object_without_a_byte_has_no_rows_and_is_in_the_ledger() {
    for (format, ends) in [("json", ["a.json", "b.json.gz", "c.zst"]), ("csv", ["a.csv", "b.csv.gz", "c.zst"])] {
        let case = Case::new("zero", &format!("format: {format}, schema: {{ id: bigint }}"));
        for name in ends {
            case.put(name, "");
        }
        case.put("full", if format == "csv" { "id\n1\n" } else { "{\"id\":1}\n" });
        assert_eq!(case.rows().rows, [[json!(1)]], "{format}");
        assert_eq!(ledger(&case), [&ends[..], &["full"]].concat());
        assert!(case.call().ok().contains("nothing new to process"));
    }
    let case = Case::new("zero", "format: parquet, schema: { id: bigint }");
    case.put("a.parquet", "");
    assert!(case.rows().rows.is_empty());
    assert_eq!(ledger(&case), ["a.parquet"]);
}

#[cfg(debug_assertions)]
#[test]
fn an_object_without_a_byte_may_vanish_but_not_grow_unseen() {
    let spec = "format: json, schema: { id: bigint }";
    let killed = |case: &Case, point| {
        case.put("a.json", "").put("b.json", "{\"id\":1}\n");
        assert_eq!(case.call().env("ALLUVIUM_FAILPOINT", point).command().output().unwrap().status.code(), None);
    };
    let case = Case::new("zero-gone", spec);
    killed(&case, "after-binding@1");
    std::fs::remove_file(case.folder.path("in/a.json")).unwrap();
    assert_eq!(case.rows().rows, [[json!(1)]]);
    let case = Case::new("zero-grown", spec);
    killed(&case, "after-binding@1");
    case.put("a.json", "{\"id\":2}\n");
    assert_eq!(case.rows().rows, [[json!(1)], [json!(2)]]);
}

#[test]
fn a_packed_object_that_lacks_its_last_bytes_is_a_fault() {
    let case = Case::new("cut", "format: json, schema: { id: bigint, text: string }");
    let plain = case.folder.write("plain.json", &numbered(0..100, 100)).display().to_string();
    let packed = case.folder.path("in/a.json.gz");
    pack(&plain, &packed.display().to_string(), "gzip");
    let whole = std::fs::read(&packed).unwrap();
    let object = format!("object: {}", case.url("a.json.gz"));
    // The checksum and length at its end; then all that is behind the first bytes of its head.
    for lacks in [1, 4, 8, 9, whole.len() - 1] {
        std::fs::write(&packed, &whole[..whole.len() - lacks]).unwrap();
        case.fault(&["the object cannot be read or unpacked to its end", &object, "hint: write the object again"]);
        std::fs::remove_dir_all(case.folder.path("lake")).unwrap();
    }
    std::fs::write(&packed, &whole).unwrap();
    assert_eq!(case.rows().rows.len(), 100);
}

#[test]
fn marks_of_folders_in_a_bucket_are_no_objects() {
    let bucket = Bucket::new("marks");
    let case = Case::new("marks", "format: json, schema: { id: bigint }, partitions: { day: date }");
    bucket.put("in/day=2026-03-01/a.json", "{\"id\":1}\n").put("in/day=2026-03-01/empty.json", "");
    // As the console of S3 makes folders.
    let code = "import os, sys, pyarrow.fs as fs\n\
                s3 = fs.S3FileSystem(endpoint_override=os.environ['AWS_ENDPOINT_URL'].split('//')[1], scheme='http')\n\
                for name in ['', '/day=2026-03-02', '/day=2026-03-01', '/no-day']: s3.create_dir(sys.argv[1] + name)";
    python(code, &[bucket.url("in").strip_prefix("s3://").unwrap()]);
    assert!(bucket.list("in").contains(&"in/no-day".to_owned()), "{:?}", bucket.list("in"));
    let call = |arguments: &[&str]| {
        let all = [&arguments[..1], &[case.spec.as_str()], &arguments[1..]].concat();
        alluvium(&all).s3(&bucket.endpoint).env("IN", &bucket.url("in")).env("LAKE", &bucket.url("lake"))
    };
    call(&["run"]).ok();
    assert_eq!(read(&bucket.url("lake/rows")).select(&["id", "day"]), [[json!(1), json!("2026-03-01")]]);
    let rows = call(&["ledger", "--format", "csv"]).ok();
    assert_eq!(rows.lines().count(), 3, "{rows}");
    assert!(rows.contains("/a.json,") && rows.contains("/empty.json,"), "{rows}");
}

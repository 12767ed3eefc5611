//! Tables in partitions.

use serde_json::{Value, json};

use crate::support::{Folder, alluvium, read};

const SPEC: &str = r#"
pipeline: sales
state: ${LAKE}/_state
stages:
  sales: { kind: files, url: "${IN}", format: json, schema: { id: bigint, shop: string, day: date, open: boolean, n: int } }
  table: { kind: delta, input: sales, table: "${LAKE}/sales", partition_by: [shop, day, open, n] }
"#;

#[test]
fn partition_values_of_every_kind_are_read_back_as_they_were() {
    let folder = Folder::new("partitions");
    let shops = ["plain", "a/b", "two words", "ü ñ 店", "100%", "a=b", "..", "%20", "quote\"d", "new\nline", "a:b?c*d"];
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (id, shop) in shops.iter().enumerate() {
        rows.push(vec![json!(id), json!(shop), json!("2009-04-06"), json!(id % 2 == 0), json!(-5)]);
        rows.push(vec![json!(100 + id), json!(shop), json!("1969-12-31"), json!(true), json!(7)]);
    }
    rows.push(vec![json!(200), Value::Null, Value::Null, Value::Null, Value::Null]);
    let names = ["id", "shop", "day", "open", "n"];
    let line = |row: &Vec<Value>| {
        let object: serde_json::Map<String, Value> = names.iter().map(|n| (*n).into()).zip(row.clone()).collect();
        format!("{}\n", Value::Object(object))
    };
    for (file, part) in rows.chunks(5).enumerate() {
        folder.write(&format!("in/{file}.json"), &part.iter().map(line).collect::<String>());
    }
    let (spec, lake) = (folder.write("spec.yaml", SPEC).display().to_string(), folder.text("lake"));
    let call = |arguments: &[&str]| alluvium(arguments).env("IN", &folder.text("in")).env("LAKE", &lake);
    call(&["run", &spec, "--workers", "2"]).ok();

    let mut found = read(&format!("{lake}/sales")).select(&names);
    let by_id = |row: &Vec<Value>| row[0].as_i64();
    found.sort_by_key(by_id);
    rows.sort_by_key(by_id);
    assert_eq!(found, rows);

    // Readers that leave out files by their partition find the same rows.
    for (filter, expected) in
        [("shop = 'a/b'", 2), ("shop = 'ü ñ 店' AND day < '2000-01-01'", 1), ("shop IS NULL", 1), ("n = -5", 11)]
    {
        let sql = format!("select id from table_ where {filter}").replace("table_", "\"table\"");
        let out = call(&["query", &spec, &sql, "--format", "csv"]).ok();
        assert_eq!(out.lines().count(), expected + 1, "{filter}: {out}");
    }
}

/// In the log of a Delta table an empty text and NULL are the same partition.
#[test]
fn an_empty_text_as_partition_is_refused_and_not_made_null() {
    let folder = Folder::new("partition-empty");
    folder.write("in/a.json", "{\"id\": 1, \"shop\": \"\"}\n");
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let done = alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).run();
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(
        done.err.contains("stage `table` failed at epoch 1: partition column `shop` has an empty text"),
        "{}",
        done.err
    );
    assert!(done.err.contains("hint: "), "{}", done.err);
}

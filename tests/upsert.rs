//! Tables with one row per key, from rows that come in any order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Folder, alluvium, read};

const SPEC: &str = r#"
pipeline: customers
state: ${LAKE}/_state
epoch: { splits: 2 }
stages:
  changes:   { kind: files, url: "${IN}", format: json, schema: { id: bigint, city: string, changed: bigint } }
  customers: { kind: delta, input: changes, table: "${LAKE}/customers", mode: upsert, key: [id], latest_by: changed }
"#;

#[test]
fn the_newest_row_of_a_key_stays_whatever_the_order_of_arrival() {
    let folder = Folder::new("upsert");
    let mut newest: BTreeMap<i64, (i64, String)> = BTreeMap::new();
    for file in 0..8_i64 {
        let mut lines = String::new();
        for n in 0..300_i64 {
            // Times go up and down over the files, and some are the same for two rows of a key.
            let (id, changed) = (n * 7 % 90, (n * 31 + file * 977) % 400);
            let city = format!("c{}", (n * 13 + file) % 50);
            lines.push_str(&format!("{{\"id\":{id},\"city\":\"{city}\",\"changed\":{changed}}}\n"));
            let kept = newest.entry(id).or_insert((changed, city.clone()));
            if changed > kept.0 {
                *kept = (changed, city);
            }
        }
        folder.write(&format!("in/{file}.json"), &lines);
    }
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let run = |lake: &str, workers: &str| {
        alluvium(&["run", &spec, "--workers", workers])
            .env("IN", &folder.text("in"))
            .env("LAKE", &folder.text(lake))
            .ok();
        read(&folder.text(&format!("{lake}/customers"))).select(&["id", "changed", "city"])
    };
    let one = run("one", "1");
    let mut expected: Vec<Vec<Value>> =
        newest.iter().map(|(id, (changed, _))| vec![json!(id), json!(changed)]).collect();
    expected.sort_by_key(|r| serde_json::to_string(r).unwrap());
    let mut found: Vec<Vec<Value>> = one.iter().map(|r| r[..2].to_vec()).collect();
    found.sort_by_key(|r| serde_json::to_string(r).unwrap());
    assert_eq!(found, expected);
    // Where several rows of a key are equally new within an epoch it is always the same one.
    assert_eq!(run("three", "3"), one);
    assert_eq!(run("one", "2"), one, "a second run changes nothing");
}

#[test]
fn an_older_row_in_a_later_epoch_changes_nothing() {
    let folder = Folder::new("older");
    let spec = folder.write("spec.yaml", &SPEC.replace("splits: 2", "splits: 1")).display().to_string();
    let run = || {
        alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok();
        read(&folder.text("lake/customers")).select(&["id", "changed", "city"])
    };
    folder.write(
        "in/1.json",
        "{\"id\":1,\"city\":\"Kyoto\",\"changed\":10}\n{\"id\":2,\"city\":\"Lima\",\"changed\":10}\n",
    );
    run();
    folder.write("in/2.json", "{\"id\":1,\"city\":\"Oslo\",\"changed\":9}\n{\"id\":2,\"city\":\"Bern\",\"changed\":11}\n{\"id\":3,\"city\":\"Rome\",\"changed\":null}\n");
    assert_eq!(
        run(),
        [
            vec![json!(1), json!(10), json!("Kyoto")],
            vec![json!(2), json!(11), json!("Bern")],
            vec![json!(3), json!(null), json!("Rome")]
        ]
    );
}

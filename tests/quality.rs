//! The shipped pipeline that watches over another one's table.

use serde_json::{Value, json};

use crate::support::{Folder, alluvium, python, read};

#[test]
fn the_gold_table_is_profiled_evaluated_compared_and_shown() {
    let folder = Folder::new("quality");
    let lake = folder.text("lake");
    let call = |arguments: &[&str]| alluvium(arguments).env("LAKE", &lake);
    let missing = call(&["check", "pipelines/quality.yaml"]).run();
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains(&format!("there is no table at {lake}/gold")), "{}", missing.err);

    call(&["run", "pipelines/tweets.yaml"]).ok();
    let checked = call(&["check", "pipelines/quality.yaml"]).ok();
    assert!(checked.starts_with("quality: ok, 8 stages, 3 tables"), "{checked}");
    call(&["run", "pipelines/quality.yaml", "--workers", "2"]).ok();

    let (gold, columns) = (format!("{lake}/gold"), format!("{lake}/quality/columns"));
    let compared = python(&["tests/support/profile.py", &gold, &columns, "5", "about"]);
    assert_eq!(serde_json::from_slice::<u64>(&compared).unwrap(), 1);
    let gold = read(&gold);
    let rows = gold.rows.len();
    let label = |text: &Value| match text.as_str().unwrap() {
        "0" => "negative",
        "2" => "neutral",
        _ => "positive",
    };
    let labels = gold.select(&["sentiment", "predicted_sentiment"]);
    let right = labels.iter().filter(|row| row[1] == label(&row[0])).count();
    let measures = read(&format!("{lake}/quality/measures")).select(&["measure", "label", "value"]);
    assert!(
        measures.contains(&vec![json!("accuracy"), Value::Null, json!(right as f64 / rows as f64)]),
        "{measures:?}"
    );
    let drift = read(&format!("{lake}/quality/drift"));
    let compared: i64 = drift.select(&["column", "rows"]).iter().map(|row| row[1].as_i64().unwrap()).sum();
    assert_eq!(compared, 4 * rows as i64, "each row is in one week, for each of four columns");
    assert!(drift.select(&["baseline_rows"]).iter().all(|row| row[0] == json!(rows)));

    let (page, pictures) = (folder.text("report.html"), folder.text("pictures"));
    call(&["report", "pipelines/quality.yaml", "-o", &page]).ok();
    let views: Vec<Value> = serde_json::from_slice(&python(&["tests/support/browser.py", &page, &pictures])).unwrap();
    for view in &views {
        let place = format!("{} {} {}", view["width"], view["scheme"], view["media"]);
        assert_eq!((&view["overflow"], &view["scroll"]), (&json!([]), &json!(0)), "{place}");
        for title in ["Columns", "Labels and predictions", "Distance to the baseline", "Farthest from the baseline"] {
            assert!(view["headings"].as_array().unwrap().contains(&json!(title)), "{place}: no {title}");
        }
        let drawn = view["drawn"].as_array().unwrap();
        for word in ["negative", "neutral", "positive", "length", "confidence"] {
            assert!(drawn.contains(&json!(word)), "{place}: no {word} in {drawn:?}");
        }
    }
}

//! The reference job, against an independent computation of what it must give.

use crate::support::{Folder, alluvium, expected_tweets, history, read};

#[test]
fn the_shipped_pipeline_gives_exactly_the_reference_tables() {
    let folder = Folder::new("job");
    let lake = folder.text("lake");
    let out = alluvium(&["run", "pipelines/tweets.yaml", "--workers", "2"]).env("LAKE", &lake).ok();
    assert!(out.contains("2,000 rows in 1 epoch"), "{out}");
    assert!(!out.contains("rejected"), "no row was: {out}");
    let expected = expected_tweets("pipelines/data/tweets", &format!("{lake}/gold"));

    let bronze = read(&format!("{lake}/bronze"));
    let columns: Vec<(&str, &str)> = bronze.columns.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    assert_eq!(
        columns,
        [
            ("date", "string"),
            ("processing_time", "timestamp[us, tz=UTC]"),
            ("sentiment", "string"),
            ("source_file", "string"),
            ("text", "string"),
            ("user", "string")
        ]
    );
    assert_eq!(bronze.select(&["date", "user", "text", "sentiment", "source_file"]), expected.bronze);

    let silver = read(&format!("{lake}/silver"));
    assert_eq!(silver.columns["timestamp"], "timestamp[us, tz=UTC]");
    assert_eq!(silver.select(&["timestamp", "mention", "cleaned_text", "text", "sentiment"]), expected.silver);

    let gold = read(&format!("{lake}/gold"));
    assert_eq!(gold.columns["predicted_score"], "double");
    assert_eq!(gold.select(&["timestamp", "mention", "cleaned_text", "text", "sentiment"]), expected.silver);
    let place = |name: &str| gold.names.iter().position(|n| n == name).unwrap();
    let (score, label, id, truth, truth_id) = (
        place("predicted_score"),
        place("predicted_sentiment"),
        place("predicted_sentiment_id"),
        place("sentiment"),
        place("sentiment_id"),
    );
    for row in &gold.rows {
        let percent = row[score].as_f64().unwrap();
        assert!((100.0 / 3.0..=100.0).contains(&percent), "{row:?}");
        let predicted = row[label].as_str().unwrap();
        assert!(["negative", "neutral", "positive"].contains(&predicted), "{row:?}");
        assert_eq!(row[id].as_i64().unwrap(), i64::from(predicted != "negative"), "{row:?}");
        assert_eq!(row[truth_id].as_i64().unwrap(), i64::from(row[truth].as_str().unwrap() != "0"), "{row:?}");
    }

    let mentions = read(&format!("{lake}/mentions"));
    assert_eq!(
        mentions.select(&["mention", "positive", "negative", "total", "min_timestamp", "max_timestamp"]),
        expected.mentions
    );
    assert_eq!(read(&format!("{lake}/quarantine")).rows.len(), 0);

    for table in ["bronze", "silver", "gold", "mentions", "quarantine"] {
        let commit = &history(&format!("{lake}/{table}"))[0];
        assert_eq!(commit["pipeline"], "tweets", "{table}");
        assert_eq!(commit["epoch"], 1, "{table}");
        assert_eq!(commit["planHash"].as_str().unwrap().len(), 16, "{table}");
        let model = ["gold", "mentions"].contains(&table);
        assert_eq!(commit.get("modelHash").is_some(), model, "{table}: {commit}");
        if model {
            assert_eq!(commit["modelName"], "tweet-sentiment-mini");
            assert_eq!(commit["modelHash"].as_str().unwrap().len(), 64);
        }
    }
}

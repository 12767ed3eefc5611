//! `kind: evaluate`, against scikit-learn.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::{Folder, alluvium, epochs, python, read};

const SPEC: &str = r#"
pipeline: evaluation
state: ${LAKE}/_state
epoch: { splits: 1 }
stages:
  rows:    { kind: files, url: "${IN}", format: json, schema: { truth: string, predicted: string } }
  quality: { kind: evaluate, input: rows, truth: truth, predicted: predicted }
  table:   { kind: delta, input: quality, table: "${LAKE}/table", mode: upsert }
"#;

#[test]
fn measures_are_those_of_scikit_learn_after_every_epoch() {
    let folder = Folder::new("evaluate");
    let spec = folder.write("spec.yaml", SPEC).display().to_string();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut files: Vec<String> = Vec::new();
    for epoch in 0..5 {
        let mut lines = String::new();
        for _ in 0..40 {
            // One label is never right, one never predicted, and some rows have none.
            let label = |names: &[&str], random: &mut ChaCha8Rng| match random.random_range(0..10) {
                0 => Value::Null,
                n => json!(names[n % names.len()]),
            };
            let (truth, predicted) =
                (label(&["pos", "neg", "rare"], &mut random), label(&["pos", "neg", "new", "neu"], &mut random));
            lines.push_str(&format!("{}\n", json!({ "truth": truth, "predicted": predicted })));
        }
        files.push(folder.write(&format!("in/{epoch}.json"), &lines).display().to_string());
        if epoch % 2 == 0 {
            alluvium(&["run", &spec, "--workers", &(1 + epoch % 3).to_string()])
                .env("IN", &folder.text("in"))
                .env("LAKE", &folder.text("lake"))
                .ok();
        }
    }
    let found = epochs(&folder.text("lake/table"));
    assert_eq!(found.len(), 5);
    for (number, rows) in found {
        let arguments: Vec<&str> = ["tests/support/evaluation.py"]
            .into_iter()
            .chain(files[..number as usize].iter().map(String::as_str))
            .collect();
        let expected: Vec<Vec<Value>> = serde_json::from_slice(&python(&arguments)).unwrap();
        assert_eq!(rows.len(), expected.len(), "epoch {number}");
        for row in expected {
            let same = |r: &&Value| r["measure"] == row[0] && r["label"] == row[1] && r["predicted"] == row[2];
            let found = rows.iter().find(same).unwrap_or_else(|| panic!("epoch {number}: no {row:?}"));
            let (value, wanted) = (found["value"].as_f64().unwrap(), row[3].as_f64().unwrap());
            assert!((value - wanted).abs() < 1e-12, "epoch {number}: {found} and not {row:?}");
            assert_eq!(found["epoch"], json!(number));
            assert_eq!(found["model_name"], Value::Null);
        }
    }
}

#[test]
fn the_model_is_named() {
    let folder = Folder::new("evaluate-model");
    let spec = r#"
pipeline: evaluated-model
state: ${LAKE}/_state
stages:
  rows:    { kind: files, url: "${IN}", format: json, schema: { text: string, truth: string } }
  score:   { kind: classify, input: rows, text: text, model: builtin, label: guess }
  quality: { kind: evaluate, input: score, truth: truth, predicted: guess }
  table:   { kind: delta, input: quality, table: "${LAKE}/table", mode: upsert }
"#;
    let spec = folder.write("spec.yaml", spec).display().to_string();
    folder.write(
        "in/a.json",
        "{\"text\":\"I love it\",\"truth\":\"positive\"}\n{\"text\":\"I hate it\",\"truth\":\"negative\"}\n",
    );
    alluvium(&["run", &spec]).env("IN", &folder.text("in")).env("LAKE", &folder.text("lake")).ok();
    let rows = read(&folder.text("lake/table")).select(&["measure", "model_name", "model_version"]);
    assert!(rows.len() > 5);
    for row in rows {
        assert!(row[1].as_str().is_some_and(|name| !name.is_empty()), "{row:?}");
        assert!(row[2].as_str().is_some_and(|version| !version.is_empty()), "{row:?}");
    }
}

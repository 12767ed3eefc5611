//! Logits against those of Hugging Face transformers, which tests/reference/checkpoints.py computes when the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use alluvium_classify::{Model, Precision, instructions};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{builtin_directory, open};

/// All that the script writes.
const CHECKPOINTS: [&str; 7] = [
    "builtin",
    "bert",
    "bert-tanh-sharded-bfloat16",
    "roberta",
    "xlm-roberta-float16",
    "distilbert-multi-label",
    "distilbert-relu",
];
const TOLERANCE: f32 = 1e-4;
/// Where the references are, for a process that finds them made. It looks at one text of [`STEP`] only: code for plain
/// processors is slow in builds for tests.
const MADE: &str = "ALLUVIUM_TEST_REFERENCES";
const STEP: usize = 9;

#[derive(Deserialize)]
struct Reference {
    labels: Vec<String>,
    logits: Vec<Vec<f32>>,
    truncated: usize,
    parameters: usize,
}

/// The directory with the references, which are made once.
fn references() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(made) = std::env::var_os(MADE) {
            return made.into();
        }
        let python = std::env::var_os("ALLUVIUM_REFERENCE_PYTHON")
            .expect("no reference implementation: run the tests with `tests/run`, which installs it");
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("references");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/checkpoints.py");
        let done = Command::new(python).arg(script).arg(&directory).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        directory
    })
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    serde_json::from_slice(&std::fs::read(references().join(path)).unwrap()).unwrap()
}

fn opened(name: &str) -> (Model, Reference) {
    let directory = if name == "builtin" { builtin_directory() } else { references().join(name) };
    (open(&directory), read(&format!("{name}/logits.json")))
}

fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let rows = a.iter().zip(b).inspect(|(a, b)| assert_eq!(a.len(), b.len()));
    rows.flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs())).fold(0.0, f32::max)
}

#[test]
fn logits_are_those_of_the_reference() {
    let texts: Vec<String> = read("texts.json");
    assert_eq!(texts.len(), 1_000);
    let step = if std::env::var_os(MADE).is_some() { STEP } else { 1 };
    let texts: Vec<&str> = texts.iter().step_by(step).map(String::as_str).collect();
    for name in CHECKPOINTS {
        let (model, reference) = opened(name);
        assert_eq!(model.info.labels, reference.labels, "{name}");
        let found = model.logits(&texts).unwrap();
        let expected: Vec<Vec<f32>> = reference.logits.into_iter().step_by(step).collect();
        let worst = difference(&found, &expected);
        println!("{name}, {}: {worst:e}", model.info.instructions);
        assert!(worst <= TOLERANCE, "{name}: {worst}");
        // A text that tells nothing about the others: the numbers are spread.
        let spread = difference(&vec![found[1].clone(); found.len()], &found);
        assert!(spread > 0.1, "{name}: {spread}");
    }
}

#[test]
fn logits_are_those_of_the_reference_with_all_instructions() {
    let all = instructions();
    assert!(all.contains(&"plain") && all.contains(&"burn"), "{all:?}");
    for name in all {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["parity::logits_are_those_of_the_reference", "--exact", "--nocapture"])
            .env("ALLUVIUM_CPU", name)
            .env(MADE, references())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{name}: {out}{}", String::from_utf8_lossy(&done.stderr));
        assert!(out.contains(&format!("builtin, {name}: ")) && out.contains("1 passed"), "{name}: {out}");
    }
}

#[test]
fn logits_do_not_depend_on_the_texts_beside_them() {
    let texts: Vec<String> = read("texts.json");
    for name in ["bert", "roberta", "distilbert-multi-label"] {
        let (model, _) = opened(name);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = model.logits(&texts).unwrap();
        let alone: Vec<Vec<f32>> = texts.iter().flat_map(|text| model.logits(&[text]).unwrap()).collect();
        assert_eq!(together, alone, "{name}");
        // Steps that have no divisor in common with the number of texts put other neighbours together each time.
        for (size, step) in [(7, 37), (33, 3), (500, 77)] {
            let mixed: Vec<usize> = (0..texts.len()).map(|i| i * step % texts.len()).collect();
            for batch in mixed.chunks(size) {
                let batch_texts: Vec<&str> = batch.iter().map(|text| texts[*text]).collect();
                let expected: Vec<Vec<f32>> = batch.iter().map(|text| together[*text].clone()).collect();
                assert_eq!(model.logits(&batch_texts).unwrap(), expected, "{name}, batches of {size}");
            }
        }
    }
}

#[test]
fn truncated_texts_are_those_that_the_reference_truncates() {
    let texts: Vec<String> = read("texts.json");
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    for name in CHECKPOINTS {
        let (model, reference) = opened(name);
        let (predictions, usage) = model.classify(&texts).unwrap();
        assert_eq!(usage.truncated, reference.truncated, "{name}");
        assert_eq!(predictions.iter().flatten().filter(|p| p.truncated).count(), reference.truncated, "{name}");
        assert_eq!(model.info.parameters, reference.parameters, "{name}");
    }
}

#[test]
fn several_labels_may_be_true() {
    let (model, reference) = opened("distilbert-multi-label");
    assert!(model.info.multi_label);
    let texts: Vec<String> = read("texts.json");
    let (predictions, _) = model.classify(&[Some(&texts[7])]).unwrap();
    let probabilities = &predictions[0].as_ref().unwrap().probabilities;
    let expected = reference.logits[7].iter().map(|logit| 1.0 / (1.0 + (-logit).exp()));
    assert!(probabilities.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{probabilities:?}");
}

#[test]
fn rounded_weights_give_nearly_the_reference_logits() {
    let texts: Vec<String> = read("texts.json");
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reference: Reference = read("builtin/logits.json");
    for (precision, tolerance, same) in [(Precision::Bfloat16, 0.06, 0.99), (Precision::Int8, 0.3, 0.97)] {
        let options = alluvium_classify::Options { precision, ..Default::default() };
        let model = Model::builtin(options).unwrap();
        let found = model.logits(&texts).unwrap();
        let worst = difference(&found, &reference.logits);
        let best = |logits: &[f32]| (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
        let equal = found.iter().zip(&reference.logits).filter(|(a, b)| best(a) == best(b)).count();
        println!("{precision:?}: {worst}, {equal} of {} labels", texts.len());
        assert!(worst > TOLERANCE && worst <= tolerance, "{precision:?}: {worst}");
        assert!(equal as f64 >= same * texts.len() as f64, "{precision:?}: {equal}");
    }
}

//! The built-in model's logits against those of Hugging Face transformers: see tests/reference/logits.py.

use std::path::Path;

use alluvium_classify::Model;
use serde::Deserialize;

const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    model: String,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
struct Case {
    text: String,
    logits: Vec<f32>,
}

fn reference() -> Reference {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/builtin-logits.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Largest difference between the logits of the cases, computed in one call, and their reference.
fn difference(model: &Model, cases: &[Case]) -> f32 {
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let logits = model.logits(&texts).unwrap();
    assert_eq!(logits.len(), cases.len());
    let mut most = 0.0_f32;
    for (case, logits) in cases.iter().zip(&logits) {
        assert_eq!(logits.len(), case.logits.len());
        let differences = logits.iter().zip(&case.logits).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        let start: String = case.text.chars().take(40).collect();
        assert!(worst <= TOLERANCE, "{worst} for {start:?}: {logits:?}, expected {:?}", case.logits);
        most = most.max(worst);
    }
    most
}

#[test]
fn the_reference_is_of_this_model() {
    let reference = reference();
    assert_eq!(reference.model, Model::builtin().unwrap().info.name);
    assert_eq!(reference.cases.len(), 200);
}

#[test]
fn texts_alone_have_the_reference_logits() {
    let model = Model::builtin().unwrap();
    let most = reference().cases.chunks(1).map(|case| difference(&model, case)).fold(0.0, f32::max);
    println!("largest difference, alone: {most:e}");
}

#[test]
fn texts_in_batches_of_mixed_lengths_have_the_reference_logits() {
    let model = Model::builtin().unwrap();
    let cases = reference().cases;
    // Steps that have no divisor in common with the number of cases put other neighbours together each time.
    for (size, step) in [(7, 37), (33, 3), (200, 77)] {
        let mixed: Vec<Case> = (0..cases.len()).map(|i| cases[i * step % cases.len()].clone()).collect();
        let most = mixed.chunks(size).map(|batch| difference(&model, batch)).fold(0.0, f32::max);
        println!("largest difference, batches of {size} (step {step}): {most:e}");
    }
}

//! What a model says about texts.

use alluvium_classify::Model;

use crate::checkpoint::{builtin, predict};

fn label(model: &Model, text: &str) -> String {
    let prediction = predict(model, &[Some(text)]).remove(0).unwrap();
    model.info.labels[prediction.label].clone()
}

#[test]
fn the_builtin_model_tells_good_from_bad() {
    let model = builtin();
    assert_eq!(label(&model, "I love this, what a wonderful day!"), "positive");
    assert_eq!(label(&model, "this is the worst service I have ever had"), "negative");
    assert_eq!(label(&model, "The match starts at 7pm tomorrow."), "neutral");
}

#[test]
fn nulls_stay_null_in_their_places() {
    let model = builtin();
    let predictions = predict(&model, &[None, Some("great"), None, Some("awful"), None]);
    let present: Vec<bool> = predictions.iter().map(Option::is_some).collect();
    assert_eq!(present, [false, true, false, true, false]);
    let alone = |text| predict(&model, &[Some(text)]).remove(0).unwrap().label;
    assert_eq!(predictions[1].as_ref().unwrap().label, alone("great"));
    assert_eq!(predictions[3].as_ref().unwrap().label, alone("awful"));
}

#[test]
fn nothing_gives_nothing() {
    let model = builtin();
    assert!(predict(&model, &[]).is_empty());
    assert_eq!(predict(&model, &[None, None]), [None, None]);
    assert!(model.logits(&[]).unwrap().is_empty());
}

#[test]
fn probabilities_add_up_and_their_largest_is_the_label() {
    let model = builtin();
    let texts = ["", "ok", "so good \u{1f600}", "@user terrible, just terrible"].map(Some);
    for prediction in predict(&model, &texts) {
        let prediction = prediction.unwrap();
        assert_eq!(prediction.probabilities.len(), 3);
        assert!((prediction.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(prediction.probabilities.iter().all(|p| *p <= prediction.probabilities[prediction.label]));
    }
}

#[test]
fn a_text_is_truncated_only_beyond_the_models_maximum() {
    let model = builtin();
    let words = |count| "good ".repeat(count);
    // [CLS] and [SEP] take two of the 128.
    let (fitting, longer, much_longer) = (words(126), words(127), words(100_000));
    let predictions = predict(&model, &[Some(&fitting), Some(&longer), Some(&much_longer)]);
    let truncated: Vec<bool> = predictions.iter().map(|p| p.as_ref().unwrap().truncated).collect();
    assert_eq!(truncated, [false, true, true]);
    assert_eq!(predictions[0].as_ref().unwrap().label, predictions[2].as_ref().unwrap().label);
}

#[test]
fn a_large_batch_keeps_its_order() {
    let model = builtin();
    let texts: Vec<String> =
        (0..300).map(|i| format!("{} {}", ["awful", "great"][i % 2], "day ".repeat(i % 23))).collect();
    let rows: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = model.logits(&rows).unwrap();
    for (row, text) in rows.iter().enumerate().step_by(29) {
        let alone = model.logits(&[text]).unwrap().remove(0);
        let differences = alone.iter().zip(&together[row]).map(|(a, b)| (a - b).abs());
        assert!(differences.fold(0.0, f32::max) < 1e-5, "row {row}");
    }
}

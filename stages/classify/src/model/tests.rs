use super::*;

/// Gives the same rows whatever it is asked.
struct Fixed(Vec<Vec<f32>>);

impl Classifier for Fixed {
    fn logits(&self, _: &[Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        Ok(self.0.clone())
    }
}

fn model_giving(rows: &[[f32; 3]]) -> Model {
    let rows = rows.iter().map(|row| row.to_vec()).collect();
    let checkpoint = Checkpoint::builtin();
    let config = BertConfig::parse("config.json", &checkpoint.config).unwrap();
    let tokenizer = Tokenizer::parse("tokenizer.json", &checkpoint.tokenizer, &config).unwrap();
    Model { info: Model::builtin().unwrap().info.clone(), tokenizer, classifier: Box::new(Fixed(rows)) }
}

fn error(model: &Model, texts: &[Option<&str>]) -> String {
    model.classify(texts).unwrap_err().to_string()
}

#[test]
fn a_logit_that_is_not_finite_names_the_row_among_nulls() {
    let model = model_giving(&[[0.0, 1.0, 2.0], [0.0, f32::NAN, 2.0]]);
    let expected =
        "text 3: the logit of label \"neutral\" is NaN, expected a finite number; the weights overflow in float32";
    assert_eq!(error(&model, &[None, Some("a"), None, Some("b")]), expected);
}

#[test]
fn a_classifier_that_gives_too_little_is_caught() {
    let model = model_giving(&[[0.0; 3]]);
    assert_eq!(error(&model, &[Some("a"), Some("b")]), "the classifier failed: it gave 1 results, expected 2");
    let mut model = model_giving(&[[0.0; 3]]);
    model.info.labels.push("mixed".to_owned());
    assert_eq!(error(&model, &[Some("a")]), "the classifier failed: it gave 3 logits for text 0, expected 4");
}

#[test]
fn the_first_of_equal_labels_wins_and_large_logits_do_not_overflow() {
    let model = model_giving(&[[3e38, 3e38, -3e38]]);
    let prediction = model.classify(&[Some("a")]).unwrap().remove(0).unwrap();
    assert_eq!(prediction, Prediction { label: 0, probabilities: vec![0.5, 0.5, 0.0], truncated: false });
}

#[test]
fn softmax_is_the_known_one() {
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    let probabilities = softmax(&[1.0, 2.0, 3.0]);
    assert!(probabilities.iter().zip([0.090_030_57, 0.244_728_47, 0.665_240_96]).all(|(&a, b)| close(a, b)));
    assert!(close(probabilities.iter().sum(), 1.0));
}

#[test]
fn sequences_that_do_not_fit_are_refused_before_the_backend_sees_them() {
    let model = Model::builtin().unwrap();
    let problem = |ids: &[u32], type_ids: &[u32]| {
        let fitting = Tokens { ids: vec![2, 3], type_ids: vec![0, 0], truncated: false };
        let tokens = Tokens { ids: ids.to_vec(), type_ids: type_ids.to_vec(), truncated: false };
        model.classifier.logits(&[fitting, tokens]).unwrap_err().to_string()
    };
    assert_eq!(problem(&[], &[]), "text 1: it has 0 tokens, expected 1 to 128");
    assert_eq!(problem(&[5; 129], &[0; 129]), "text 1: it has 129 tokens, expected 1 to 128");
    assert_eq!(problem(&[2, 3], &[0]), "text 1: it has 1 token types, expected one for each of its 2 tokens");
    assert_eq!(problem(&[2, 12_288], &[0, 0]), "text 1: it has the token id 12288, expected less than 12288");
    assert_eq!(problem(&[2, 3], &[0, 2]), "text 1: it has the token type 2, expected less than 2");
}

//! The front of a model: texts in, predictions out.

mod compute;
mod info;
mod open;

pub use compute::Usage;
pub use info::{ModelInfo, Prediction};

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use compute::{Answer, Encoder};
use info::{largest, sigmoid, softmax};

use crate::{ModelError, Options};

/// A text classifier, ready to run; shared by all threads of a process.
pub struct Model {
    /// What the model is.
    pub info: ModelInfo,
    options: Options,
    encoder: Arc<Encoder>,
}

impl Model {
    /// Predictions for the texts, in their order; `None` stays `None`. Each distinct text is computed once, and not at all
    /// if it was not long ago.
    ///
    /// What a text gets does not depend on the texts beside it, nor on the number of threads. The work is done on the
    /// current rayon pool; the call returns when all of it is done.
    ///
    /// # Errors
    /// If the tokenizer fails on a text or a logit is not finite; the error has the text's index in `texts`.
    pub fn classify(&self, texts: &[Option<&str>]) -> Result<(Vec<Option<Prediction>>, Usage), ModelError> {
        let prepared: Vec<Option<Cow<'_, str>>> =
            texts.iter().map(|text| text.map(|text| self.options.preprocess.apply(text))).collect();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        // The first row of each distinct text.
        let mut distinct: Vec<(usize, &str)> = Vec::new();
        let numbered: Vec<Option<usize>> = prepared
            .iter()
            .enumerate()
            .map(|(row, text)| {
                text.as_deref().map(|text| {
                    *numbers.entry(text).or_insert_with(|| {
                        distinct.push((row, text));
                        distinct.len() - 1
                    })
                })
            })
            .collect();
        let (answers, mut usage) = self.encoder.answers(&distinct, &self.info.labels)?;
        usage.texts = numbered.iter().flatten().count();
        let predictions: Vec<Option<Prediction>> = numbered
            .iter()
            .map(|number| number.and_then(|number| answers.get(number)).map(|answer| self.prediction(answer)))
            .collect();
        usage.truncated = predictions.iter().flatten().filter(|prediction| prediction.truncated).count();
        Ok((predictions, usage))
    }

    /// The logits of each text: one per label, in the order of [`ModelInfo::labels`], finite. Nothing is kept.
    ///
    /// # Errors
    /// As for [`classify`](Self::classify).
    pub fn logits(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let prepared: Vec<Cow<'_, str>> = texts.iter().map(|text| self.options.preprocess.apply(text)).collect();
        let (answers, _) =
            self.encoder.compute(prepared.len(), |text| self.encoder.encode(text, prepared.get(text)))?;
        Ok(answers.into_iter().map(|answer| answer.logits).collect())
    }

    /// The logits of sequences of token ids, the special ones with them, for comparing the network alone.
    ///
    /// # Errors
    /// If a sequence is empty or longer than the model takes, or an id has no embedding.
    pub fn forward(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, ModelError> {
        let (answers, _) =
            self.encoder.compute(sequences.len(), |text| self.encoder.given(text, sequences.get(text)))?;
        Ok(answers.into_iter().map(|answer| answer.logits).collect())
    }

    fn prediction(&self, answer: &Answer) -> Prediction {
        let logits = &answer.logits;
        Prediction {
            label: largest(logits),
            probabilities: if self.info.multi_label { sigmoid(logits) } else { softmax(logits) },
            truncated: answer.truncated,
        }
    }
}

//! The front of a model: texts in, predictions out.

mod batching;
mod bert;
mod classifier;

pub use classifier::Classifier;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::checkpoint::{ARCHITECTURE, BertConfig, Checkpoint, Weights};
use crate::tokenize::Tokenizer;
use crate::{ModelError, Tokens};

/// What a model is: enough to say which one gave a prediction, and to judge what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name of the model's directory, or the name of the built-in model.
    pub name: String,
    /// `version` in config.json if it is there, otherwise the first 12 digits of `hash`.
    pub version: String,
    /// SHA-256 in hexadecimal over config.json, tokenizer.json and model.safetensors, one after the other.
    pub hash: String,
    /// Name of the architecture in Hugging Face's words.
    pub architecture: String,
    /// Number of encoder layers.
    pub layers: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Token ids that have an embedding.
    pub vocabulary: usize,
    /// Most tokens of a text, the special ones included; what is longer loses its end.
    pub max_tokens: usize,
    /// Label of each logit.
    pub labels: Vec<String>,
    /// Numbers in the weights.
    pub parameters: usize,
    /// Size of the three files together.
    pub bytes: usize,
}

/// What the model says about one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the most probable label in [`ModelInfo::labels`]; the first of equals.
    pub label: usize,
    /// Probability of each label, in the order of [`ModelInfo::labels`]; they add up to 1.
    pub probabilities: Vec<f32>,
    /// Whether the text was longer than [`ModelInfo::max_tokens`] and lost its end.
    pub truncated: bool,
}

/// A text classifier, ready to run; shared by all threads of a process.
pub struct Model {
    /// What the model is.
    pub info: ModelInfo,
    tokenizer: Tokenizer,
    classifier: Box<dyn Classifier>,
}

impl Model {
    /// The model inside the program. It is loaded once and then shared for the life of the process.
    ///
    /// # Errors
    /// None in a program that passed its tests.
    pub fn builtin() -> Result<Arc<Self>, ModelError> {
        static LOADED: Mutex<Option<Arc<Model>>> = Mutex::new(None);
        // The lock is held while loading, so that threads that start together do not all load.
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = &*loaded {
            return Ok(Arc::clone(model));
        }
        let model = Self::load(&Checkpoint::builtin())?;
        *loaded = Some(Arc::clone(&model));
        Ok(model)
    }

    /// Loads a Hugging Face directory: config.json, tokenizer.json and model.safetensors of a
    /// `BertForSequenceClassification`, with weights in float32, float16 or bfloat16.
    ///
    /// # Errors
    /// If a file is missing or damaged, if the files do not belong together, or if they describe a model that this
    /// crate would compute otherwise than transformers does.
    pub fn open(directory: &Path) -> Result<Arc<Self>, ModelError> {
        Self::load(&Checkpoint::read(directory)?)
    }

    fn load(checkpoint: &Checkpoint) -> Result<Arc<Self>, ModelError> {
        let config = BertConfig::parse(&checkpoint.config_file(), &checkpoint.config)?;
        let tokenizer = Tokenizer::parse(&checkpoint.tokenizer_file(), &checkpoint.tokenizer, &config)?;
        let tensors = bert::tensors(&config);
        let weights = Weights::open(checkpoint.weights_file(), &checkpoint.weights, &tensors, bert::IGNORED)?;
        let classifier = bert::Bert::load(&config, &weights)?;
        let hash = checkpoint.hash();
        let info = ModelInfo {
            name: checkpoint.name.clone(),
            version: config.version.unwrap_or_else(|| hash.chars().take(12).collect()),
            hash,
            architecture: ARCHITECTURE.to_owned(),
            layers: config.layers,
            hidden: config.hidden,
            heads: config.heads,
            vocabulary: config.vocabulary,
            max_tokens: config.positions,
            labels: config.labels,
            parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
            bytes: checkpoint.bytes(),
        };
        Ok(Arc::new(Self { info, tokenizer, classifier: Box::new(classifier) }))
    }

    /// Predictions for the texts, in their order; `None` stays `None`.
    ///
    /// What a text gets does not depend on the texts beside it, apart from the last digits of the probabilities.
    /// The work is done on the calling thread and the current rayon pool; the call returns when all of it is done.
    ///
    /// # Errors
    /// If the tokenizer fails on a text or a logit is not finite; the error has the text's index in `texts`.
    pub fn classify(&self, texts: &[Option<&str>]) -> Result<Vec<Option<Prediction>>, ModelError> {
        let (rows, present): (Vec<usize>, Vec<&str>) =
            texts.iter().enumerate().filter_map(|(row, text)| text.map(|text| (row, text))).unzip();
        let predicted = self.predict(&present).map_err(|error| error.at_rows(&rows))?;
        let mut predictions = vec![None; texts.len()];
        for (row, prediction) in rows.into_iter().zip(predicted) {
            if let Some(place) = predictions.get_mut(row) {
                *place = Some(prediction);
            }
        }
        Ok(predictions)
    }

    /// The logits of each text: one per label, in the order of [`ModelInfo::labels`], finite.
    ///
    /// # Errors
    /// As for [`classify`](Self::classify).
    pub fn logits(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.run(&self.tokenizer.encode(texts)?)
    }

    fn predict(&self, texts: &[&str]) -> Result<Vec<Prediction>, ModelError> {
        let tokens = self.tokenizer.encode(texts)?;
        let logits = self.run(&tokens)?;
        let prediction = |(tokens, logits): (Tokens, Vec<f32>)| Prediction {
            label: largest(&logits),
            probabilities: softmax(&logits),
            truncated: tokens.truncated,
        };
        Ok(tokens.into_iter().zip(logits).map(prediction).collect())
    }

    /// Runs the classifier and checks what it gave: an implementation is replaceable, so it is not trusted.
    fn run(&self, batch: &[Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        let logits = self.classifier.logits(batch)?;
        if logits.len() != batch.len() {
            let problem = format!("it gave {} results, expected {}", logits.len(), batch.len());
            return Err(ModelError::Classifier { problem });
        }
        let labels = &self.info.labels;
        for (text, logits) in logits.iter().enumerate() {
            if logits.len() != labels.len() {
                let problem = format!("it gave {} logits for text {text}, expected {}", logits.len(), labels.len());
                return Err(ModelError::Classifier { problem });
            }
            if let Some((&value, label)) = logits.iter().zip(labels).find(|(value, _)| !value.is_finite()) {
                return Err(ModelError::NotFinite { text, label: label.clone(), value });
            }
        }
        Ok(logits)
    }
}

/// Index of the largest value, the first of equals; 0 if there is none.
fn largest(values: &[f32]) -> usize {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in values.iter().enumerate() {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

/// Probabilities from finite logits; the largest is taken off first, so that no exponential overflows.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests;

//! config.json: the sizes and labels of a model, or what about it is not supported.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::ModelError;

/// The one architecture that is supported.
pub(crate) const ARCHITECTURE: &str = "BertForSequenceClassification";

/// No known model comes near these; they keep a damaged file from asking for all memory.
const MOST_LAYERS: usize = 1_000;
const MOST: usize = 10_000_000;

/// What config.json says about a `BertForSequenceClassification`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BertConfig {
    /// `version`, if the file has such a key; Hugging Face gives it no meaning.
    pub(crate) version: Option<String>,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// Width of the feed-forward part.
    pub(crate) intermediate: usize,
    /// Rows of the word embeddings.
    pub(crate) vocabulary: usize,
    /// Rows of the position embeddings: the longest sequence.
    pub(crate) positions: usize,
    /// Rows of the token type embeddings.
    pub(crate) types: usize,
    /// Epsilon of the layer norms.
    pub(crate) epsilon: f64,
    /// Label of each row of the classifier.
    pub(crate) labels: Vec<String>,
}

impl BertConfig {
    /// Reads the bytes of config.json; `file` is its name in messages.
    ///
    /// # Errors
    /// If it is no JSON object, if a size is missing or impossible, or if it describes a model that this crate
    /// would compute wrongly.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let map: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|source| ModelError::Json { file: file.to_owned(), source })?;
        let keys = Keys { file, map: &map };
        keys.supported()?;
        let config = Self {
            version: map.get("version").and_then(Value::as_str).map(str::to_owned),
            layers: keys.size("num_hidden_layers", MOST_LAYERS)?,
            hidden: keys.size("hidden_size", MOST)?,
            heads: keys.size("num_attention_heads", MOST)?,
            intermediate: keys.size("intermediate_size", MOST)?,
            vocabulary: keys.size("vocab_size", MOST)?,
            positions: keys.size("max_position_embeddings", MOST)?,
            types: keys.size("type_vocab_size", MOST)?,
            epsilon: keys.epsilon()?,
            labels: keys.labels()?,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let expected = format!("a divisor of `hidden_size` ({})", config.hidden);
            return Err(wrong(file, "num_attention_heads", config.heads, expected));
        }
        Ok(config)
    }
}

/// The object of config.json, asked key by key.
struct Keys<'a> {
    file: &'a str,
    map: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// Refuses what would run but give other numbers than transformers does.
    fn supported(&self) -> Result<(), ModelError> {
        match self.map.get("architectures") {
            Some(Value::Array(names)) if names.iter().any(|name| name == ARCHITECTURE) => {}
            other => {
                return Err(self.wrong(
                    "architectures",
                    other,
                    format!("[{ARCHITECTURE:?}], a classifier in BERT's layout"),
                ));
            }
        }
        self.one_of("model_type", None, &["bert"])?;
        // Both are the exact form with erf; `gelu_new` and others are approximations of it or other functions.
        self.one_of("hidden_act", Some("gelu"), &["gelu", "gelu_python"])?;
        self.one_of("position_embedding_type", Some("absolute"), &["absolute"])?;
        self.one_of("problem_type", Some("single_label_classification"), &["single_label_classification"])?;
        match self.present("is_decoder") {
            None | Some(Value::Bool(false)) => Ok(()),
            other => Err(self.wrong("is_decoder", other, "false".to_owned())),
        }
    }

    /// A key that may be left out if it has a default, and must otherwise be one of a few strings.
    fn one_of(&self, key: &str, default: Option<&str>, accepted: &[&str]) -> Result<(), ModelError> {
        let value = self.present(key);
        let text = match value {
            None => default,
            Some(value) => value.as_str(),
        };
        match text {
            Some(text) if accepted.contains(&text) => Ok(()),
            _ => {
                Err(self.wrong(key, value, accepted.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" or ")))
            }
        }
    }

    fn size(&self, key: &str, most: usize) -> Result<usize, ModelError> {
        let value = self.map.get(key);
        let number = value.and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(self.wrong(key, value, format!("a whole number from 1 to {most}"))),
        }
    }

    fn epsilon(&self) -> Result<f64, ModelError> {
        // Zero or less would divide by zero on a constant row.
        match self.present("layer_norm_eps") {
            None => Ok(1e-12),
            value => match value.and_then(Value::as_f64) {
                Some(epsilon) if epsilon > 0.0 && epsilon <= 1.0 => Ok(epsilon),
                _ => Err(self.wrong("layer_norm_eps", value, "a number above 0 and at most 1".to_owned())),
            },
        }
    }

    /// `id2label` in the order of the ids, or transformers' default labels where a file leaves them out.
    fn labels(&self) -> Result<Vec<String>, ModelError> {
        let value = self.present("id2label");
        let labels = match value {
            None => {
                let count = if self.map.contains_key("num_labels") { self.size("num_labels", MOST_LABELS)? } else { 2 };
                (0..count).map(|id| format!("LABEL_{id}")).collect()
            }
            Some(Value::Object(names)) => (0..names.len())
                .map(|id| match names.get(&id.to_string()) {
                    Some(Value::String(label)) if !label.is_empty() => Ok(label.clone()),
                    other => Err(self.wrong(
                        &format!("id2label.{id}"),
                        other,
                        "a label: ids count from \"0\" without gaps".to_owned(),
                    )),
                })
                .collect::<Result<Vec<_>, _>>()?,
            other => return Err(self.wrong("id2label", other, "an object from id to label".to_owned())),
        };
        if labels.len() < 2 {
            return Err(self.wrong(
                "id2label",
                value,
                "two labels or more: a model with one output is a regression".to_owned(),
            ));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = labels.iter().find(|label| !seen.insert(label.as_str())) {
            return Err(wrong(self.file, "id2label", format!("using {twice:?} twice"), "labels that differ"));
        }
        Ok(labels)
    }

    /// A key's value; `null` counts as left out, as transformers writes it so.
    fn present(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, found: Option<&Value>, expected: String) -> ModelError {
        wrong(self.file, key, found.map_or_else(|| "missing".to_owned(), Value::to_string), expected)
    }
}

const MOST_LABELS: usize = 100_000;

fn wrong(file: &str, key: &str, found: impl ToString, expected: impl Into<String>) -> ModelError {
    ModelError::Key { file: file.to_owned(), key: key.to_owned(), found: found.to_string(), expected: expected.into() }
}

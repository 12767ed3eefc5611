//! config.json: the architecture, sizes and labels of a model, or what about it is not supported.

mod keys;

use serde_json::{Map, Value};

use crate::ModelError;
use crate::kernels::Activation;
use crate::network::Positions;
use keys::Keys;

/// No known model comes near these; they keep a damaged file from asking for all memory.
const MOST_LAYERS: usize = 1_000;
const MOST: usize = 10_000_000;

/// The architectures that are supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    Bert,
    Roberta,
    XlmRoberta,
    DistilBert,
}

impl Architecture {
    const ALL: [Self; 4] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert];

    /// The name in `architectures`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bert => "BertForSequenceClassification",
            Self::Roberta => "RobertaForSequenceClassification",
            Self::XlmRoberta => "XLMRobertaForSequenceClassification",
            Self::DistilBert => "DistilBertForSequenceClassification",
        }
    }

    /// The name in `model_type`, which is also what its tensors' names begin with, apart from XLM-RoBERTa's.
    fn model_type(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
        }
    }

    /// What the architecture calls the sizes.
    pub(crate) fn sizes(self) -> Sizes {
        match self {
            Self::DistilBert => Sizes {
                layers: "n_layers",
                hidden: "dim",
                heads: "n_heads",
                intermediate: "hidden_dim",
                activation: "activation",
            },
            _ => Sizes {
                layers: "num_hidden_layers",
                hidden: "hidden_size",
                heads: "num_attention_heads",
                intermediate: "intermediate_size",
                activation: "hidden_act",
            },
        }
    }
}

/// Keys of config.json that differ between architectures.
pub(crate) struct Sizes {
    pub(crate) layers: &'static str,
    pub(crate) hidden: &'static str,
    pub(crate) heads: &'static str,
    pub(crate) intermediate: &'static str,
    activation: &'static str,
}

/// What config.json says about a sequence classifier.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) architecture: Architecture,
    /// `version`, if the file has such a key; Hugging Face gives it no meaning.
    pub(crate) version: Option<String>,
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// Width of the feed-forward part.
    pub(crate) intermediate: usize,
    pub(crate) activation: Activation,
    /// Rows of the word embeddings.
    pub(crate) vocabulary: usize,
    /// Rows of the position embeddings.
    pub(crate) positions: usize,
    /// Which of them a token has.
    pub(crate) numbering: Positions,
    /// Rows of the token type embeddings; none where the architecture has no such thing.
    pub(crate) types: Option<usize>,
    /// Epsilon of the layer norms.
    pub(crate) epsilon: f64,
    /// Label of each row of the classifier.
    pub(crate) labels: Vec<String>,
    /// Each label is true or false for itself (sigmoid); otherwise one of them is true (softmax).
    pub(crate) multi_label: bool,
}

impl Config {
    /// Reads the bytes of config.json; `file` is its name in messages.
    ///
    /// # Errors
    /// If it is no JSON object, if a size is missing or impossible, or if it describes a model that this crate
    /// would compute wrongly.
    pub(crate) fn parse(file: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let map: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|source| ModelError::Json { file: file.to_owned(), source })?;
        let keys = Keys { file, map: &map };
        let architecture = architecture(&keys)?;
        let sizes = architecture.sizes();
        // What would run but give other numbers than transformers does.
        keys.one_of("model_type", None, &[architecture.model_type()])?;
        keys.one_of("position_embedding_type", Some("absolute"), &["absolute"])?;
        keys.is_false("is_decoder")?;
        const PROBLEMS: [&str; 2] = ["single_label_classification", "multi_label_classification"];
        let multi_label = keys.one_of("problem_type", Some(PROBLEMS[0]), &PROBLEMS)? == 1;
        let config = Self {
            architecture,
            version: map.get("version").and_then(Value::as_str).map(str::to_owned),
            layers: keys.size(sizes.layers, MOST_LAYERS)?,
            hidden: keys.size(sizes.hidden, MOST)?,
            heads: keys.size(sizes.heads, MOST)?,
            intermediate: keys.size(sizes.intermediate, MOST)?,
            activation: activation(&keys, sizes.activation)?,
            vocabulary: keys.size("vocab_size", MOST)?,
            positions: keys.size("max_position_embeddings", MOST)?,
            numbering: numbering(&keys, architecture)?,
            types: match architecture {
                Architecture::DistilBert => None,
                _ => Some(keys.size("type_vocab_size", MOST)?),
            },
            epsilon: match architecture {
                Architecture::DistilBert => 1e-12,
                _ => keys.epsilon("layer_norm_eps", 1e-12)?,
            },
            labels: keys.labels(multi_label)?,
            multi_label,
        };
        if !config.hidden.is_multiple_of(config.heads) {
            let expected = format!("a divisor of `{}` ({})", sizes.hidden, config.hidden);
            return Err(keys.wrong_value(sizes.heads, config.heads, expected));
        }
        if config.max_tokens() == 0 {
            let expected = format!("more than {}, the positions that no token has", config.numbering.reserved());
            return Err(keys.wrong_value("max_position_embeddings", config.positions, expected));
        }
        Ok(config)
    }

    /// Longest sequence, the special tokens with it.
    pub(crate) fn max_tokens(&self) -> usize {
        self.positions.saturating_sub(self.numbering.reserved())
    }
}

fn architecture(keys: &Keys<'_>) -> Result<Architecture, ModelError> {
    let value = keys.map.get("architectures");
    let names = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Architecture::ALL.into_iter().find(|architecture| names.iter().any(|name| name == architecture.name())).ok_or_else(
        || {
            let known = Architecture::ALL.map(Architecture::name).join(", ");
            keys.wrong("architectures", value, format!("one of {known}"))
        },
    )
}

fn activation(keys: &Keys<'_>, key: &str) -> Result<Activation, ModelError> {
    // The first two are the exact form with erf, the others its approximation with tanh.
    const NAMES: [&str; 6] = ["gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "relu"];
    Ok(match keys.one_of(key, Some("gelu"), &NAMES)? {
        0 | 1 => Activation::Gelu,
        2..=4 => Activation::GeluTanh,
        _ => Activation::Relu,
    })
}

fn numbering(keys: &Keys<'_>, architecture: Architecture) -> Result<Positions, ModelError> {
    match architecture {
        Architecture::Bert | Architecture::DistilBert => Ok(Positions::FromZero),
        Architecture::Roberta | Architecture::XlmRoberta => {
            Ok(Positions::AfterPadding { padding: keys.token_id("pad_token_id", 1)? })
        }
    }
}

//! From the tensors of a checkpoint to the network.

use super::{Layer, Network};
use crate::ModelError;
use crate::checkpoint::{Architecture, Config, Expected, Weights};
use crate::kernels::Activation;
use crate::ops::{Backend, Dense, Norm};

/// What the tensors of an architecture are called.
pub(crate) struct Names {
    /// What all names of the encoder begin with.
    prefix: &'static str,
    /// Below the prefix: what a layer's names begin with, before its number.
    layers: &'static str,
    /// The parts of a layer.
    qkv: [&'static str; 3],
    attended: &'static str,
    attended_norm: &'static str,
    intermediate: &'static str,
    output: &'static str,
    output_norm: &'static str,
    /// What the first token goes through before the head, and what is applied to that.
    pooler: (&'static str, Activation),
    head: &'static str,
}

impl Names {
    pub(crate) fn of(architecture: Architecture) -> Self {
        let bert = Self {
            prefix: "bert",
            layers: "encoder.layer",
            qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
            attended: "attention.output.dense",
            attended_norm: "attention.output.LayerNorm",
            intermediate: "intermediate.dense",
            output: "output.dense",
            output_norm: "output.LayerNorm",
            pooler: ("bert.pooler.dense", Activation::Tanh),
            head: "classifier",
        };
        match architecture {
            Architecture::Bert => bert,
            Architecture::Roberta | Architecture::XlmRoberta => Self {
                prefix: "roberta",
                pooler: ("classifier.dense", Activation::Tanh),
                head: "classifier.out_proj",
                ..bert
            },
            Architecture::DistilBert => Self {
                prefix: "distilbert",
                layers: "transformer.layer",
                qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
                attended: "attention.out_lin",
                attended_norm: "sa_layer_norm",
                intermediate: "ffn.lin1",
                output: "ffn.lin2",
                output_norm: "output_layer_norm",
                pooler: ("pre_classifier", Activation::Relu),
                head: "classifier",
            },
        }
    }

    fn embeddings(&self, part: &str) -> String {
        format!("{}.embeddings.{part}", self.prefix)
    }

    fn in_layer(&self, number: usize, part: &str) -> String {
        format!("{}.{}.{number}.{part}", self.prefix, self.layers)
    }

    /// Tensors that may be there without a use: numbers that count 0, 1, 2, which older versions of transformers wrote,
    /// and the pooler of an encoder whose classifier has its own.
    pub(crate) fn ignored(&self, name: &str) -> bool {
        let below = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
        matches!(below, "embeddings.position_ids" | "embeddings.token_type_ids")
            || (self.pooler.0 == "classifier.dense" && below.starts_with("pooler."))
    }
}

/// The tensors that a checkpoint of this configuration has; dense weights are `[outputs, inputs]`.
pub(crate) fn tensors(config: &Config, names: &Names) -> Vec<Expected> {
    let keys = config.architecture.sizes();
    let (hidden, wide) = ((config.hidden, keys.hidden), (config.intermediate, keys.intermediate));
    let mut all = Vec::new();
    let mut table = |part: &str, (rows, key): (usize, &str)| {
        let name = names.embeddings(&format!("{part}.weight"));
        all.push(Expected { name, shape: vec![rows, hidden.0], keys: format!("{key} and {}", hidden.1) });
    };
    table("word_embeddings", (config.vocabulary, "vocab_size"));
    table("position_embeddings", (config.positions, "max_position_embeddings"));
    if let Some(types) = config.types {
        table("token_type_embeddings", (types, "type_vocab_size"));
    }
    let norm = |all: &mut Vec<Expected>, name: String| {
        for part in ["weight", "bias"] {
            let keys = hidden.1.to_owned();
            all.push(Expected { name: format!("{name}.{part}"), shape: vec![hidden.0], keys });
        }
    };
    let dense = |all: &mut Vec<Expected>, name: String, outputs: (usize, &str), inputs: (usize, &str)| {
        let keys = if outputs == inputs { inputs.1.to_owned() } else { format!("{} and {}", outputs.1, inputs.1) };
        let shape = vec![outputs.0, inputs.0];
        all.push(Expected { name: format!("{name}.weight"), shape, keys: keys.clone() });
        all.push(Expected { name: format!("{name}.bias"), shape: vec![outputs.0], keys });
    };
    norm(&mut all, names.embeddings("LayerNorm"));
    for number in 0..config.layers {
        for part in names.qkv.into_iter().chain([names.attended]) {
            dense(&mut all, names.in_layer(number, part), hidden, hidden);
        }
        norm(&mut all, names.in_layer(number, names.attended_norm));
        dense(&mut all, names.in_layer(number, names.intermediate), wide, hidden);
        dense(&mut all, names.in_layer(number, names.output), hidden, wide);
        norm(&mut all, names.in_layer(number, names.output_norm));
    }
    dense(&mut all, names.pooler.0.to_owned(), hidden, hidden);
    dense(&mut all, names.head.to_owned(), (config.labels.len(), "id2label"), hidden);
    all
}

impl Network {
    /// Builds the network from weights that were opened with [`tensors`] of the same configuration.
    ///
    /// # Errors
    /// If a weight is NaN or infinite, or a file cannot be read.
    pub(crate) fn load(
        config: &Config,
        names: &Names,
        weights: &Weights<'_>,
        backend: Backend,
    ) -> Result<Self, ModelError> {
        let loader = Loader { config, names, weights, backend: &backend };
        let exact = backend.exact();
        let exact = Loader { backend: &exact, ..loader };
        Ok(Self {
            heads: config.heads,
            words: loader.table("word_embeddings", config.vocabulary)?,
            positions: loader.table("position_embeddings", config.positions)?,
            types: config.types.map(|rows| loader.table("token_type_embeddings", rows)).transpose()?,
            norm: loader.norm(&names.embeddings("LayerNorm"))?,
            layers: (0..config.layers).map(|number| loader.layer(number)).collect::<Result<_, _>>()?,
            activation: config.activation,
            // Next to nothing to compute, and all that the layers have found out.
            pooler: exact.dense(&[names.pooler.0.to_owned()])?,
            pooled: names.pooler.1,
            head: exact.dense(&[names.head.to_owned()])?,
            numbering: config.numbering,
            backend,
        })
    }
}

#[derive(Clone, Copy)]
struct Loader<'a> {
    config: &'a Config,
    names: &'a Names,
    weights: &'a Weights<'a>,
    backend: &'a Backend,
}

impl Loader<'_> {
    fn layer(&self, number: usize) -> Result<Layer, ModelError> {
        let name = |part| self.names.in_layer(number, part);
        let dense = |part| self.dense(&[name(part)]);
        Ok(Layer {
            qkv: self.dense(&self.names.qkv.map(name))?,
            attended: dense(self.names.attended)?,
            attended_norm: self.norm(&name(self.names.attended_norm))?,
            intermediate: dense(self.names.intermediate)?,
            output: dense(self.names.output)?,
            output_norm: self.norm(&name(self.names.output_norm))?,
        })
    }

    /// Dense layers with the same input, as one whose outputs stand side by side.
    fn dense(&self, names: &[String]) -> Result<Dense, ModelError> {
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            // Row-major [outputs, inputs], so that one after the other is one matrix with more outputs.
            weight.extend(self.weights.values(&format!("{name}.weight"))?);
            bias.extend(self.weights.values(&format!("{name}.bias"))?);
        }
        Ok(self.backend.dense(weight, bias))
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let vector = |part| self.weights.values(&format!("{name}.{part}"));
        Ok(self.backend.norm(vector("weight")?, vector("bias")?, self.config.epsilon))
    }

    fn table(&self, name: &str, rows: usize) -> Result<burn::tensor::Tensor<2>, ModelError> {
        let values = self.weights.values(&self.names.embeddings(&format!("{name}.weight")))?;
        Ok(self.backend.tensor(values, [rows, self.config.hidden]))
    }
}

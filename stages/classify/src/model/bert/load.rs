//! From the tensors of a checkpoint to the network.

use burn::tensor::{Device, Tensor, TensorData};

use super::{Bert, Dense, Layer, Norm};
use crate::ModelError;
use crate::checkpoint::{BertConfig, Expected, Weights};

const EMBEDDINGS: &str = "bert.embeddings";
const POOLER: &str = "bert.pooler.dense";
const HEAD: &str = "classifier";

// The parts of a layer, below `bert.encoder.layer.N`.
const QKV: [&str; 3] = ["attention.self.query", "attention.self.key", "attention.self.value"];
const ATTENDED: &str = "attention.output.dense";
const ATTENDED_NORM: &str = "attention.output.LayerNorm";
const INTERMEDIATE: &str = "intermediate.dense";
const OUTPUT: &str = "output.dense";
const OUTPUT_NORM: &str = "output.LayerNorm";

/// Tensors without a weight in them that older versions of transformers wrote too: 0, 1, 2 and so on.
pub(in crate::model) const IGNORED: &[&str] = &["bert.embeddings.position_ids", "bert.embeddings.token_type_ids"];

fn in_layer(number: usize, part: &str) -> String {
    format!("bert.encoder.layer.{number}.{part}")
}

/// The tensors that a checkpoint of this configuration has; dense weights are `[outputs, inputs]`.
pub(in crate::model) fn tensors(config: &BertConfig) -> Vec<Expected> {
    let (hidden, wide) = (config.hidden, config.intermediate);
    let table = |name: &str, rows, keys| one(format!("{EMBEDDINGS}.{name}.weight"), [rows, hidden], keys);
    let norm = |name: &str| ["weight", "bias"].map(|part| one(format!("{name}.{part}"), [hidden], "hidden_size"));
    let dense = |name: &str, outputs, inputs, keys| {
        [one(format!("{name}.weight"), [outputs, inputs], keys), one(format!("{name}.bias"), [outputs], keys)]
    };

    let mut all = vec![
        table("word_embeddings", config.vocabulary, "vocab_size and hidden_size"),
        table("position_embeddings", config.positions, "max_position_embeddings and hidden_size"),
        table("token_type_embeddings", config.types, "type_vocab_size and hidden_size"),
    ];
    all.extend(norm(&format!("{EMBEDDINGS}.LayerNorm")));
    for number in 0..config.layers {
        for part in QKV.into_iter().chain([ATTENDED]) {
            all.extend(dense(&in_layer(number, part), hidden, hidden, "hidden_size"));
        }
        all.extend(norm(&in_layer(number, ATTENDED_NORM)));
        all.extend(dense(&in_layer(number, INTERMEDIATE), wide, hidden, "intermediate_size and hidden_size"));
        all.extend(dense(&in_layer(number, OUTPUT), hidden, wide, "hidden_size and intermediate_size"));
        all.extend(norm(&in_layer(number, OUTPUT_NORM)));
    }
    all.extend(dense(POOLER, hidden, hidden, "hidden_size"));
    all.extend(dense(HEAD, config.labels.len(), hidden, "id2label and hidden_size"));
    all
}

fn one<const D: usize>(name: String, shape: [usize; D], keys: &'static str) -> Expected {
    Expected { name, shape: shape.to_vec(), keys }
}

impl Bert {
    /// Builds the network from weights that were opened with [`tensors`] of the same configuration.
    ///
    /// # Errors
    /// If a weight is NaN or infinite.
    pub(in crate::model) fn load(config: &BertConfig, weights: &Weights<'_>) -> Result<Self, ModelError> {
        let device = Device::flex();
        let loader = Loader { config, weights, device: &device };
        Ok(Self {
            heads: config.heads,
            labels: config.labels.len(),
            words: loader.table("word_embeddings", config.vocabulary)?,
            positions: loader.table("position_embeddings", config.positions)?,
            types: loader.table("token_type_embeddings", config.types)?,
            norm: loader.norm(&format!("{EMBEDDINGS}.LayerNorm"))?,
            layers: (0..config.layers).map(|number| loader.layer(number)).collect::<Result<_, _>>()?,
            pooler: loader.dense(&[POOLER.to_owned()])?,
            head: loader.dense(&[HEAD.to_owned()])?,
            device,
        })
    }
}

struct Loader<'a> {
    config: &'a BertConfig,
    weights: &'a Weights<'a>,
    device: &'a Device,
}

impl Loader<'_> {
    fn layer(&self, number: usize) -> Result<Layer, ModelError> {
        let dense = |part| self.dense(&[in_layer(number, part)]);
        Ok(Layer {
            qkv: self.dense(&QKV.map(|part| in_layer(number, part)))?,
            attended: dense(ATTENDED)?,
            attended_norm: self.norm(&in_layer(number, ATTENDED_NORM))?,
            intermediate: dense(INTERMEDIATE)?,
            output: dense(OUTPUT)?,
            output_norm: self.norm(&in_layer(number, OUTPUT_NORM))?,
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
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        let weight = transposed(&weight, inputs);
        Ok(Dense { weight: self.tensor(weight, [inputs, outputs]), bias: self.tensor(bias, [outputs]) })
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let vector = |part| {
            let values = self.weights.values(&format!("{name}.{part}"))?;
            Ok(self.tensor(values, [self.config.hidden]))
        };
        Ok(Norm { gamma: vector("weight")?, beta: vector("bias")?, epsilon: self.config.epsilon })
    }

    fn table(&self, name: &str, rows: usize) -> Result<Tensor<2>, ModelError> {
        let values = self.weights.values(&format!("{EMBEDDINGS}.{name}.weight"))?;
        Ok(self.tensor(values, [rows, self.config.hidden]))
    }

    fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }
}

/// Row-major `[rows, columns]` as row-major `[columns, rows]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

//! BERT with a classification head, in Burn on its CPU backend.
//!
//! ```text
//! ids ─▶ embeddings ─▶ layer × n ─▶ first token ─▶ pooler, tanh ─▶ head ─▶ logits
//!                        │
//!                        ├─ q k v ─▶ attention ─▶ dense ─▶ + ─▶ norm
//!                        └─ dense ─▶ gelu ─▶ dense ─▶ + ─▶ norm
//! ```
//!
//! Between the layers the hidden states of a sub-batch are one matrix of (sequences × width) rows, so that each dense
//! layer is one matrix product. Only the first token of a sequence reaches the head, so the last layer computes its
//! keys and values for all tokens but the rest for the first token only.

mod load;

pub(super) use load::{IGNORED, tensors};

use burn::tensor::activation::{gelu, tanh};
use burn::tensor::module::{attention, embedding, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::batching::sub_batches;
use super::classifier::Classifier;
use crate::{ModelError, Tokens};

/// The network with its weights.
pub(super) struct Bert {
    device: Device,
    heads: usize,
    labels: usize,
    words: Tensor<2>,
    positions: Tensor<2>,
    types: Tensor<2>,
    norm: Norm,
    layers: Vec<Layer>,
    pooler: Dense,
    head: Dense,
}

/// One encoder layer.
struct Layer {
    /// Queries, keys and values side by side: `[hidden, 3 * hidden]`.
    qkv: Dense,
    attended: Dense,
    attended_norm: Norm,
    intermediate: Dense,
    output: Dense,
    output_norm: Norm,
}

/// `x · weight + bias`, with the weight as `[inputs, outputs]`.
struct Dense {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

impl Dense {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        linear(x, self.weight.clone(), Some(self.bias.clone()))
    }
}

struct Norm {
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f64,
}

impl Norm {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), self.epsilon)
    }
}

/// Sequences padded to one width.
struct Padded {
    sequences: usize,
    width: usize,
    /// Token ids, `[sequences, width]`.
    ids: Tensor<2, Int>,
    /// Token types, `[sequences, width]`.
    types: Tensor<2, Int>,
    /// Which keys are padding: `[sequences, 1, width, width]`, one row per query; `None` if nothing is padded.
    padding: Option<Tensor<4, Bool>>,
}

impl Padded {
    fn new(batch: &[&Tokens], device: &Device) -> Self {
        let sequences = batch.len();
        let width = batch.iter().map(|tokens| tokens.ids.len()).max().unwrap_or(0);
        let matrix = |part: fn(&Tokens) -> &[u32]| {
            // What is filled in does not matter: no real token looks at padding.
            let fill = std::iter::repeat(&0_u32);
            let values: Vec<i64> = batch
                .iter()
                .flat_map(|tokens| part(tokens).iter().chain(fill.clone()).take(width))
                .map(|&id| id.into())
                .collect();
            Tensor::from_data(TensorData::new(values, [sequences, width]), device)
        };
        let padding = batch.iter().any(|tokens| tokens.ids.len() < width).then(|| {
            let row = |tokens: &&Tokens| (0..width).map(|key| key >= tokens.ids.len()).collect::<Vec<_>>();
            let values: Vec<bool> = batch.iter().flat_map(|tokens| row(tokens).repeat(width)).collect();
            Tensor::from_data(TensorData::new(values, [sequences, 1, width, width]), device)
        });
        Self { sequences, width, ids: matrix(|tokens| &tokens.ids), types: matrix(|tokens| &tokens.type_ids), padding }
    }
}

impl Bert {
    /// Logits of a sub-batch: `[sequences, labels]`.
    fn forward(&self, batch: &Padded) -> Tensor<2> {
        let mut x = self.embed(batch);
        for (number, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, batch, self.heads, number + 1 == self.layers.len());
        }
        self.head.forward(tanh(self.pooler.forward(x)))
    }

    /// The first hidden states: `[sequences * width, hidden]`.
    fn embed(&self, batch: &Padded) -> Tensor<2> {
        let positions = self.positions.clone().narrow(0, 0, batch.width).unsqueeze::<3>();
        let types = embedding(self.types.clone(), batch.types.clone());
        let x = embedding(self.words.clone(), batch.ids.clone()) + types + positions;
        self.norm.forward(x.flatten(0, 1))
    }

    /// Refuses what would make the backend panic, or give a number for a text that has no token.
    fn check(&self, text: usize, tokens: &Tokens) -> Result<(), ModelError> {
        let ([ids, _], [positions, _], [types, _]) = (self.words.dims(), self.positions.dims(), self.types.dims());
        let length = tokens.ids.len();
        let too_large = |values: &[u32], rows: usize| values.iter().copied().find(|&id| id as usize >= rows);
        let problem = if length == 0 || length > positions {
            format!("it has {length} tokens, expected 1 to {positions}")
        } else if tokens.type_ids.len() != length {
            format!("it has {} token types, expected one for each of its {length} tokens", tokens.type_ids.len())
        } else if let Some(id) = too_large(&tokens.ids, ids) {
            format!("it has the token id {id}, expected less than {ids}")
        } else if let Some(id) = too_large(&tokens.type_ids, types) {
            format!("it has the token type {id}, expected less than {types}")
        } else {
            return Ok(());
        };
        Err(ModelError::Tokens { text, problem })
    }
}

impl Layer {
    /// From `[sequences * width, hidden]` to the same, or to `[sequences, hidden]` if only the first token is wanted.
    fn forward(&self, x: Tensor<2>, batch: &Padded, heads: usize, only_first: bool) -> Tensor<2> {
        let (sequences, width) = (batch.sequences, batch.width);
        let [_, hidden] = x.dims();
        // [q k v, sequences, heads, width, hidden / heads]
        let qkv = self.qkv.forward(x.clone());
        let qkv = qkv.reshape([sequences, width, 3, heads, hidden / heads]).permute([2, 0, 3, 1, 4]);
        let [query, key, value] = [0, 1, 2].map(|part| qkv.clone().narrow(0, part, 1).squeeze_dim::<4>(0));

        let queries = if only_first { 1 } else { width };
        let query = query.narrow(2, 0, queries);
        let padding = batch.padding.clone().map(|padding| padding.narrow(2, 0, queries));
        let x = x.reshape([sequences, width, hidden]).narrow(1, 0, queries).reshape([sequences * queries, hidden]);

        // Scaled by 1 / sqrt(hidden / heads) unless told otherwise, as BERT does.
        let context = attention(query, key, value, padding, None, AttentionModuleOptions::default());
        let context = context.swap_dims(1, 2).reshape([sequences * queries, hidden]);
        let x = self.attended_norm.forward(self.attended.forward(context) + x);
        let wide = gelu(self.intermediate.forward(x.clone()));
        self.output_norm.forward(self.output.forward(wide) + x)
    }
}

impl Classifier for Bert {
    fn logits(&self, batch: &[Tokens]) -> Result<Vec<Vec<f32>>, ModelError> {
        batch.iter().enumerate().try_for_each(|(text, tokens)| self.check(text, tokens))?;
        let lengths: Vec<usize> = batch.iter().map(|tokens| tokens.ids.len()).collect();
        let compute = |indices: &Vec<usize>| {
            let members: Vec<&Tokens> = indices.iter().filter_map(|&index| batch.get(index)).collect();
            let values = self.forward(&Padded::new(&members, &self.device)).into_data().try_into_vec::<f32>();
            values.map_err(|error| ModelError::Classifier { problem: error.to_string() })
        };

        let mut logits = vec![Vec::new(); batch.len()];
        // One sub-batch per thread at a time. If all were started at once, a thread that waits inside one would begin
        // the next, and the next inside that, and hold the memory of all of them.
        for wave in sub_batches(&lengths).chunks(rayon::current_num_threads().max(1)) {
            let computed = wave.par_iter().map(compute).collect::<Result<Vec<_>, _>>()?;
            for (indices, values) in wave.iter().zip(computed) {
                for (&index, row) in indices.iter().zip(values.chunks_exact(self.labels)) {
                    if let Some(place) = logits.get_mut(index) {
                        *place = row.to_vec();
                    }
                }
            }
        }
        Ok(logits)
    }
}

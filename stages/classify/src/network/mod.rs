//! The transformer: an encoder of the BERT family with a classification head.
//!
//! ```text
//! ids ─▶ embeddings ─▶ layer × n ─▶ first token ─▶ dense, tanh or relu ─▶ head ─▶ logits
//!                        │
//!                        ├─ q k v ─▶ attention ─▶ dense ─▶ + ─▶ norm
//!                        └─ dense ─▶ gelu ─▶ dense ─▶ + ─▶ norm
//! ```
//!
//! Between the layers the hidden states of a batch are one matrix of as many rows as it has tokens, so that each dense
//! layer is one matrix product. Only the first token of a sequence reaches the head, so the last layer computes its
//! keys and values for all tokens but the rest for the first token only.

mod load;
mod ragged;

pub(crate) use load::{Names, tensors};
pub(crate) use ragged::{Positions, Ragged};

use burn::tensor::Tensor;

use crate::ModelError;
use crate::kernels::Activation;
use crate::ops::{Backend, Batches, Dense, Norm};

/// The network with its weights.
pub(crate) struct Network {
    backend: Backend,
    heads: usize,
    words: Tensor<2>,
    positions: Tensor<2>,
    types: Option<Tensor<2>>,
    norm: Norm,
    layers: Vec<Layer>,
    /// Between the two dense layers of a layer's second half.
    activation: Activation,
    pooler: Dense,
    /// After the pooler.
    pooled: Activation,
    head: Dense,
    /// How tokens are numbered.
    pub(crate) numbering: Positions,
}

/// One encoder layer.
struct Layer {
    /// Queries, keys and values side by side.
    qkv: Dense,
    attended: Dense,
    attended_norm: Norm,
    intermediate: Dense,
    output: Dense,
    output_norm: Norm,
}

impl Network {
    /// Logits of each sequence, one after the other: `[sequences, labels]`. The ids must be those of embeddings.
    ///
    /// # Errors
    /// If the computation fails. Logits that are not finite are no error here: the caller looks for them.
    pub(crate) fn forward(&self, batch: &Ragged) -> Result<Vec<f32>, ModelError> {
        let mut x = self.embed(batch)?;
        for (number, layer) in self.layers.iter().enumerate() {
            x = self.layer(layer, x, batch, number + 1 == self.layers.len())?;
        }
        let x = self.pooler.forward(x, self.pooled, None, batch.threads)?;
        let logits = self.head.forward(x, Activation::None, None, batch.threads)?;
        let logits = logits.into_data().convert::<f32>().try_into_vec::<f32>();
        logits.map_err(|error| ModelError::Compute { problem: error.to_string() })
    }

    /// How texts are best put together for it.
    pub(crate) fn batches(&self) -> Batches {
        self.backend.batches()
    }

    /// Bytes of the weights in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let tables = [Some(&self.words), Some(&self.positions), self.types.as_ref()];
        let tables = tables.into_iter().flatten().map(|table| table.shape().num_elements() * table.dtype().size());
        let dense = self.layers.iter().flat_map(|l| [&l.qkv, &l.attended, &l.intermediate, &l.output]);
        let dense = dense.chain([&self.pooler, &self.head]).map(Dense::bytes);
        tables.chain(dense).sum::<usize>() as u64
    }

    /// The first hidden states: `[rows, hidden]`.
    fn embed(&self, batch: &Ragged) -> Result<Tensor<2>, ModelError> {
        let rows = |table: &Tensor<2>, numbers: &[u32]| {
            table.clone().select(0, self.backend.indices(numbers.iter().map(|number| *number as usize)))
        };
        let mut x = rows(&self.words, &batch.ids) + rows(&self.positions, &batch.positions);
        if let Some(types) = &self.types {
            x = x + rows(types, &batch.types);
        }
        self.norm.forward(x)
    }

    /// From `[rows, hidden]` to the same, or to `[sequences, hidden]` if only the first tokens are wanted.
    fn layer(&self, layer: &Layer, x: Tensor<2>, batch: &Ragged, only_first: bool) -> Result<Tensor<2>, ModelError> {
        let threads = batch.threads;
        let qkv = layer.qkv.forward(x.clone(), Activation::None, None, threads)?;
        let context = self.backend.attention(qkv, batch, self.heads, only_first)?;
        let x = if only_first {
            let firsts = batch.starts.iter().take(batch.sequences());
            x.select(0, self.backend.indices(firsts.copied()))
        } else {
            x
        };
        let x = layer.attended_norm.forward(layer.attended.forward(context, Activation::None, Some(x), threads)?)?;
        let wide = layer.intermediate.forward(x.clone(), self.activation, None, threads)?;
        layer.output_norm.forward(layer.output.forward(wide, Activation::None, Some(x), threads)?)
    }
}

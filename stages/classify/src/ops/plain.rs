//! The same operations of Burn's own: for other devices, and for the tests to compare with.

use burn::tensor::activation::{gelu, gelu_approximate, relu, tanh};
use burn::tensor::module::{attention as scaled_attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor, TensorData};

use super::Backend;
use crate::kernels::Activation;
use crate::network::Ragged;

/// A dense layer with its numbers on the device.
pub(crate) struct Dense {
    /// `[inputs, outputs]`.
    pub(super) weight: Tensor<2>,
    pub(super) bias: Tensor<1>,
}

impl Dense {
    pub(super) fn bytes(&self) -> usize {
        self.weight.shape().num_elements() * self.weight.dtype().size()
    }

    pub(super) fn forward(&self, x: Tensor<2>, activation: Activation, residual: Option<Tensor<2>>) -> Tensor<2> {
        let y = linear(x, self.weight.clone(), Some(self.bias.clone()));
        let y = match activation {
            Activation::None => y,
            Activation::Gelu => gelu(y),
            Activation::GeluTanh => gelu_approximate(y),
            Activation::Relu => relu(y),
            Activation::Tanh => tanh(y),
        };
        match residual {
            Some(residual) => y + residual,
            None => y,
        }
    }
}

/// A layer norm with its numbers on the device.
pub(crate) struct Norm {
    pub(super) gamma: Tensor<1>,
    pub(super) beta: Tensor<1>,
    pub(super) epsilon: f64,
}

impl Norm {
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        layer_norm(x, self.gamma.clone(), Some(self.beta.clone()), self.epsilon)
    }
}

/// Fills the sequences up to one width, since Burn's attention takes nothing else, and takes the filling out again.
pub(super) fn attention(
    backend: &Backend,
    qkv: Tensor<2>,
    batch: &Ragged,
    heads: usize,
    only_first: bool,
) -> Tensor<2> {
    let (sequences, width) = (batch.sequences(), batch.longest());
    let [_, columns] = qkv.dims();
    let hidden = columns / 3;
    let lengths: Vec<usize> = batch.lengths().collect();
    // What is filled in does not matter: no query that counts looks at it.
    let filled = batch
        .starts
        .iter()
        .zip(&lengths)
        .flat_map(|(start, length)| (0..width).map(move |at| if at < *length { start + at } else { *start }));
    // [q k v, sequences, heads, width, hidden / heads]
    let qkv = qkv.select(0, backend.indices(filled));
    let qkv = qkv.reshape([sequences, width, 3, heads, hidden / heads]).permute([2, 0, 3, 1, 4]);
    let [query, key, value] = [0, 1, 2].map(|part| qkv.clone().narrow(0, part, 1).squeeze_dim::<4>(0));

    let queries = if only_first { 1 } else { width };
    let padding: Option<Tensor<4, Bool>> = lengths.iter().any(|length| *length < width).then(|| {
        let row = |length: &usize| (0..width).map(|key| key >= *length).collect::<Vec<_>>().repeat(queries);
        let values: Vec<bool> = lengths.iter().flat_map(row).collect();
        Tensor::from_data(TensorData::new(values, [sequences, 1, queries, width]), &backend.device())
    });
    // Scaled by 1 / sqrt(hidden / heads) unless told otherwise.
    let options = AttentionModuleOptions::default();
    let context = scaled_attention(query.narrow(2, 0, queries), key, value, padding, None, options);
    let context = context.swap_dims(1, 2).reshape([sequences * queries, hidden]);
    if only_first || sequences * width == batch.rows() {
        return context;
    }
    let kept =
        lengths.iter().enumerate().flat_map(|(sequence, length)| (0..*length).map(move |at| sequence * width + at));
    context.select(0, backend.indices(kept))
}

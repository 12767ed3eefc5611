//! The operations of a transformer, over Burn tensors.
//!
//! On the CPU they are custom operators: Burn's extension mechanism hands out the numbers of a tensor, and the kernels
//! of this crate work on them (`custom`). Elsewhere they are put together from Burn's own operations (`plain`), which
//! is also what the tests compare the custom ones to. The network above does not know which of the two it uses.

pub(crate) mod cuda;
mod custom;
mod plain;
#[cfg(test)]
mod tests;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::kernels::{Activation, Level, Linear};
use crate::network::Ragged;
use crate::{ModelError, Precision};

/// Where and how a network computes.
#[derive(Clone)]
pub(crate) enum Backend {
    /// Custom operators on the CPU.
    Custom {
        /// Instructions.
        level: Level,
        /// Of the weights of dense layers.
        precision: Precision,
    },
    /// Burn's operations on a device of Burn's.
    Plain {
        /// The device.
        device: Device,
        /// Type of all numbers.
        float: DType,
        /// What is worth its overhead there.
        batches: Batches,
    },
}

impl Backend {
    /// The same without rounding to few bits.
    pub(crate) fn exact(&self) -> Self {
        match self {
            Self::Custom { level, .. } => Self::Custom { level: *level, precision: Precision::Float32 },
            plain @ Self::Plain { .. } => plain.clone(),
        }
    }

    /// How many tokens and texts make a batch that is worth its overhead.
    pub(crate) fn batches(&self) -> Batches {
        match self {
            Self::Custom { .. } => Batches::CPU,
            Self::Plain { batches, .. } => *batches,
        }
    }

    /// Where tensors live.
    pub(crate) fn device(&self) -> Device {
        match self {
            Self::Custom { .. } => Device::flex(),
            Self::Plain { device, .. } => device.clone(),
        }
    }

    /// A dense layer of a weight `[outputs, inputs]` and a bias `[outputs]`.
    pub(crate) fn dense(&self, weight: Vec<f32>, bias: Vec<f32>) -> Dense {
        match self {
            Self::Custom { level, precision } => {
                Dense::Custom(Box::new(Linear::new(*level, *precision, &weight, &bias)))
            }
            Self::Plain { .. } => {
                let outputs = bias.len();
                let inputs = weight.len() / outputs.max(1);
                let weight = self.tensor(weight, [outputs, inputs]).transpose();
                Dense::Plain(Box::new(plain::Dense { weight, bias: self.tensor(bias, [outputs]) }))
            }
        }
    }

    /// A layer norm.
    pub(crate) fn norm(&self, gamma: Vec<f32>, beta: Vec<f32>, epsilon: f64) -> Norm {
        match self {
            Self::Custom { level, .. } => {
                Norm::Custom(Box::new(custom::Norm { level: *level, gamma, beta, epsilon: epsilon as f32 }))
            }
            Self::Plain { .. } => {
                let width = gamma.len();
                let (gamma, beta) = (self.tensor(gamma, [width]), self.tensor(beta, [width]));
                Norm::Plain(Box::new(plain::Norm { gamma, beta, epsilon }))
            }
        }
    }

    /// Numbers in row-major order.
    pub(crate) fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        let tensor = Tensor::from_data(TensorData::new(values, shape), &self.device());
        match self {
            Self::Custom { .. } => tensor,
            Self::Plain { float, .. } => tensor.cast(*float),
        }
    }

    /// Row numbers, for [`Tensor::select`].
    pub(crate) fn indices(&self, values: impl IntoIterator<Item = usize>) -> Tensor<1, Int> {
        let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), (&self.device(), DType::I32))
    }

    /// Scaled dot-product attention within each sequence: from queries, keys and values side by side,
    /// `[rows, 3 * hidden]`, to `[rows, hidden]`, or to `[sequences, hidden]` if only the first token of each sequence
    /// is wanted.
    ///
    /// # Errors
    /// If the tensor is of another device.
    pub(crate) fn attention(
        &self,
        qkv: Tensor<2>,
        batch: &Ragged,
        heads: usize,
        only_first: bool,
    ) -> Result<Tensor<2>, ModelError> {
        match self {
            Self::Custom { level, .. } => custom::attention(*level, qkv, batch, heads, only_first),
            Self::Plain { .. } => Ok(plain::attention(self, qkv, batch, heads, only_first)),
        }
    }
}

/// How texts are put together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batches {
    /// Texts that a thread takes at a time.
    pub(crate) texts: usize,
    /// Tokens that go through the network at a time, if memory allows.
    pub(crate) tokens: usize,
    /// Memory for hidden states, of all threads together.
    pub(crate) bytes: usize,
    /// Memory for the widest matrix of a batch.
    pub(crate) widest_bytes: usize,
    /// Whether attention fills sequences up to the longest of the batch, so that neighbours should be of one length.
    pub(crate) padded: bool,
}

impl Batches {
    /// What keeps the hidden states of a layer in caches, and in blocks that an allocator uses again: jemalloc returns those
    /// from 8 MiB on to the system each time.
    pub(crate) const CPU: Self =
        Self { texts: 32, tokens: 1_024, bytes: 96 << 20, widest_bytes: 6 << 20, padded: false };
    /// What keeps thousands of small cores busy.
    pub(crate) const GPU: Self =
        Self { texts: 256, tokens: 16_384, bytes: 4 << 30, widest_bytes: 1 << 30, padded: true };
}

/// `activation(x · Wᵀ + bias) + residual`.
pub(crate) enum Dense {
    Custom(Box<Linear>),
    Plain(Box<plain::Dense>),
}

impl Dense {
    /// Bytes of the weights in memory.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Custom(linear) => linear.bytes(),
            Self::Plain(dense) => dense.bytes(),
        }
    }

    /// From `[rows, inputs]` to `[rows, outputs]`, on up to `threads` threads of the current rayon pool.
    ///
    /// # Errors
    /// If a tensor is of another device.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        activation: Activation,
        residual: Option<Tensor<2>>,
        threads: usize,
    ) -> Result<Tensor<2>, ModelError> {
        match self {
            Self::Custom(linear) => custom::dense(linear, x, activation, residual, threads),
            Self::Plain(dense) => Ok(dense.forward(x, activation, residual)),
        }
    }
}

/// Normalises each row to mean 0 and variance 1, then scales and shifts it.
pub(crate) enum Norm {
    Custom(Box<custom::Norm>),
    Plain(Box<plain::Norm>),
}

impl Norm {
    /// Keeps the shape `[rows, columns]`.
    ///
    /// # Errors
    /// If the tensor is of another device.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Result<Tensor<2>, ModelError> {
        match self {
            Self::Custom(norm) => norm.forward(x),
            Self::Plain(norm) => Ok(norm.forward(x)),
        }
    }
}

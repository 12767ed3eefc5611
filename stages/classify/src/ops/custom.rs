//! Custom operators on the CPU, through Burn's extension mechanism.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{Tensor, TensorData};

use crate::ModelError;
use crate::kernels::{self, Activation, Level, Linear, Shape};
use crate::network::Ragged;

pub(super) fn dense(
    linear: &Linear,
    x: Tensor<2>,
    activation: Activation,
    residual: Option<Tensor<2>>,
    threads: usize,
) -> Result<Tensor<2>, ModelError> {
    let [rows, inputs] = x.dims();
    let residual = residual.map(numbers).transpose()?;
    if inputs != linear.inputs {
        return Err(ModelError::Compute { problem: format!("{inputs} inputs for a layer of {}", linear.inputs) });
    }
    let x = numbers(x)?;
    let out = linear.forward(slice(&x)?, activation, residual.as_ref().map(slice).transpose()?, threads);
    Ok(tensor(out, [rows, linear.outputs]))
}

/// A layer norm with its numbers at hand.
pub(crate) struct Norm {
    pub(super) level: Level,
    /// Factors, one per column.
    pub(super) gamma: Vec<f32>,
    /// What is added, one per column.
    pub(super) beta: Vec<f32>,
    /// Added to the variance.
    pub(super) epsilon: f32,
}

impl Norm {
    pub(super) fn forward(&self, x: Tensor<2>) -> Result<Tensor<2>, ModelError> {
        let mut x = numbers(x)?;
        // In place if nobody else has the tensor, otherwise in a copy.
        kernels::layer_norm(self.level, x.storage_mut::<f32>(), &self.gamma, &self.beta, self.epsilon);
        Ok(Tensor::from_primitive::<Flex>(x))
    }
}

pub(super) fn attention(
    level: Level,
    qkv: Tensor<2>,
    batch: &Ragged,
    heads: usize,
    only_first: bool,
) -> Result<Tensor<2>, ModelError> {
    let [rows, width] = qkv.dims();
    let results = if only_first { batch.sequences() } else { rows };
    let shape = Shape { starts: &batch.starts, heads, only_first };
    let out = kernels::attention(level, slice(&numbers(qkv)?)?, &shape, batch.threads);
    Ok(tensor(out, [results, width / 3]))
}

fn tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape)))
}

fn numbers(tensor: Tensor<2>) -> Result<FlexTensor, ModelError> {
    let tensor =
        tensor.try_into_primitive::<Flex>().map_err(|error| ModelError::Compute { problem: format!("{error:?}") })?;
    Ok(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
}

fn slice(tensor: &FlexTensor) -> Result<&[f32], ModelError> {
    tensor.as_slice().ok_or_else(|| ModelError::Compute { problem: "a tensor is not contiguous".to_owned() })
}

//! model.safetensors: checked against the tensors that config.json implies, then read as float32.

use std::collections::HashSet;

use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::{ModelError, TensorProblem};

/// A tensor that config.json implies.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The keys of config.json that the shape comes from, for messages.
    pub(crate) keys: &'static str,
}

/// The tensors of one model.safetensors.
pub(crate) struct Weights<'a> {
    file: String,
    tensors: SafeTensors<'a>,
}

impl<'a> Weights<'a> {
    /// Reads the header and checks that the file holds exactly the expected tensors, in their shapes.
    ///
    /// `ignored` names tensors that may be there without a use. All problems are told at once.
    ///
    /// # Errors
    /// If the file is damaged, or if a tensor is missing, unexpected, of another shape or of another type.
    pub(crate) fn open(
        file: String,
        bytes: &'a [u8],
        expected: &[Expected],
        ignored: &[&str],
    ) -> Result<Self, ModelError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|source| ModelError::Safetensors {
            file: file.clone(),
            bytes: bytes.len(),
            source,
        })?;
        let mut problems: Vec<_> = expected.iter().filter_map(|tensor| problem(&tensors, tensor)).collect();
        let known: HashSet<_> =
            expected.iter().map(|tensor| tensor.name.as_str()).chain(ignored.iter().copied()).collect();
        let mut unexpected: Vec<_> = tensors.names().into_iter().filter(|name| !known.contains(name)).collect();
        unexpected.sort_unstable();
        problems.extend(unexpected.into_iter().map(|name| TensorProblem::Unexpected(name.to_owned())));
        if problems.is_empty() { Ok(Self { file, tensors }) } else { Err(ModelError::Tensors { file, problems }) }
    }

    /// The values of a tensor in row-major order, widened to float32.
    ///
    /// # Errors
    /// If there is no such tensor, or if a value is NaN or infinite.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let one = |problem| ModelError::Tensors { file: self.file.clone(), problems: vec![problem] };
        let view = self.tensors.tensor(name).map_err(|_| one(TensorProblem::Missing(name.to_owned())))?;
        let values = widen(name, &view).map_err(one)?;
        let mut bad = values.iter().enumerate().filter(|(_, value)| !value.is_finite()).map(|(position, _)| position);
        match bad.next() {
            None => Ok(values),
            Some(first) => {
                Err(one(TensorProblem::NotFinite { tensor: name.to_owned(), count: 1 + bad.count(), first }))
            }
        }
    }
}

fn problem(tensors: &SafeTensors<'_>, expected: &Expected) -> Option<TensorProblem> {
    let Ok(view) = tensors.tensor(&expected.name) else {
        return Some(TensorProblem::Missing(expected.name.clone()));
    };
    if view.shape() != expected.shape {
        return Some(TensorProblem::Shape {
            tensor: expected.name.clone(),
            found: view.shape().to_vec(),
            expected: expected.shape.clone(),
            keys: expected.keys,
        });
    }
    match view.dtype() {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => None,
        other => Some(TensorProblem::DataType { tensor: expected.name.clone(), found: other.to_string() }),
    }
}

/// Little-endian bytes as float32; every value of the three types has an exact float32.
fn widen(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, TensorProblem> {
    let (pairs, fours) = (view.data().as_chunks::<2>().0, view.data().as_chunks::<4>().0);
    match view.dtype() {
        Dtype::F32 => Ok(fours.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Ok(pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => Ok(pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
        other => Err(TensorProblem::DataType { tensor: name.to_owned(), found: other.to_string() }),
    }
}

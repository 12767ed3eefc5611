//! What can be wrong with a tensor.

use std::fmt;

/// What is wrong with one tensor of model.safetensors.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorProblem {
    /// config.json asks for a tensor that is not there.
    #[error("tensor {0} is missing")]
    Missing(
        /// Name of the tensor.
        String,
    ),
    /// A tensor is there that the architecture has no place for: it would be ignored silently.
    #[error("tensor {0} is not part of the model")]
    Unexpected(
        /// Name of the tensor.
        String,
    ),
    /// The shape is not the one that follows from config.json.
    #[error("tensor {tensor} has shape {found:?}, expected {expected:?} by {keys} of config.json")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by config.json.
        expected: Vec<usize>,
        /// The keys of config.json that the expected shape comes from.
        keys: String,
    },
    /// The numbers are stored in a type that is not supported.
    #[error("tensor {tensor} has type {found}, expected F32, F16 or BF16")]
    DataType {
        /// Name of the tensor.
        tensor: String,
        /// Type in the file.
        found: String,
    },
    /// Some numbers are NaN or infinite.
    #[error("tensor {tensor} has {count} values that are NaN or infinite, the first at position {first}")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// How many.
        count: usize,
        /// Position of the first, counted over the whole tensor from 0.
        first: usize,
    },
}

/// Problems in one line: a wrong `hidden_size` touches every tensor, so only the first few are spelled out.
pub(super) struct Listed<'a>(pub(super) &'a [TensorProblem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (number, problem) in self.0.iter().take(SHOWN).enumerate() {
            if number > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

//! Safetensors files: checked against the tensors that config.json implies, then read as float32.

use std::collections::{BTreeMap, HashSet};

use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata};

use super::Content;
use crate::{ModelError, TensorProblem};

/// Longest header that is believed; the library has the same limit.
const LONGEST_HEADER: u64 = 100_000_000;

/// A tensor that config.json implies.
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    /// The keys of config.json that the shape comes from, for messages.
    pub(crate) keys: String,
}

/// The tensors of a model.
pub(crate) struct Weights<'a> {
    files: &'a [Content],
    tensors: BTreeMap<String, Place>,
}

/// Where a tensor is.
struct Place {
    file: usize,
    at: u64,
    bytes: u64,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl<'a> Weights<'a> {
    /// Reads the headers and checks that the files together hold exactly the expected tensors, in their shapes.
    ///
    /// `ignored` tells tensors that may be there without a use. All problems are told at once. `architecture` is for
    /// messages.
    ///
    /// # Errors
    /// If a file is damaged, or if a tensor is missing, unexpected, of another shape or of another type.
    pub(crate) fn open(
        files: &'a [Content],
        architecture: &'static str,
        expected: &[Expected],
        ignored: impl Fn(&str) -> bool,
    ) -> Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for (file, content) in files.iter().enumerate() {
            let (start, header) = header(content)?;
            for (name, info) in header.tensors() {
                let (from, to) = info.data_offsets;
                let (at, bytes) = (start + from as u64, (to - from) as u64);
                tensors.insert(name, Place { file, at, bytes, dtype: info.dtype, shape: info.shape.clone() });
            }
        }
        let mut problems: Vec<_> = expected.iter().filter_map(|tensor| problem(&tensors, tensor)).collect();
        let known: HashSet<_> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
        let unexpected = tensors.keys().filter(|name| !known.contains(name.as_str()) && !ignored(name));
        problems.extend(unexpected.cloned().map(TensorProblem::Unexpected));
        let found = Self { files, tensors };
        if problems.is_empty() {
            Ok(found)
        } else {
            Err(ModelError::Tensors { file: found.names(), problems, architecture: Some(architecture) })
        }
    }

    /// The values of a tensor in row-major order, widened to float32.
    ///
    /// # Errors
    /// If there is no such tensor, or if a value is NaN or infinite.
    pub(crate) fn values(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        let one = |file, problem| ModelError::Tensors { file, problems: vec![problem], architecture: None };
        let Some(place) = self.tensors.get(name) else {
            return Err(one(self.names(), TensorProblem::Missing(name.to_owned())));
        };
        let Some(file) = self.files.get(place.file) else { return Ok(Vec::new()) };
        let mut values = Vec::with_capacity(place.shape.iter().product());
        // In parts, so that a large tensor is not in memory twice.
        file.parts(place.at, place.bytes, |bytes| widen(place.dtype, bytes, &mut values))?;
        let mut bad = values.iter().enumerate().filter(|(_, value)| !value.is_finite()).map(|(position, _)| position);
        match bad.next() {
            None => Ok(values),
            Some(first) => Err(one(
                file.file.clone(),
                TensorProblem::NotFinite { tensor: name.to_owned(), count: 1 + bad.count(), first },
            )),
        }
    }

    /// The files, for messages.
    fn names(&self) -> String {
        match self.files {
            [one] => one.file.clone(),
            [first, .., last] => format!("{} to {}", first.file, last.file),
            [] => String::new(),
        }
    }
}

/// The header of a safetensors file, and where the tensors begin.
fn header(content: &Content) -> Result<(u64, Metadata), ModelError> {
    let damaged = |problem: &str| ModelError::Safetensors {
        file: content.file.clone(),
        bytes: content.bytes,
        problem: problem.to_owned(),
    };
    if content.bytes < 8 {
        return Err(damaged("it has no header"));
    }
    let length = content.range(0, 8)?;
    let length = u64::from_le_bytes(length.as_chunks::<8>().0.first().copied().unwrap_or_default());
    if length > LONGEST_HEADER {
        return Err(damaged("its header would be longer than 100 MB"));
    }
    let start = 8 + length;
    if start > content.bytes {
        return Err(damaged("it ends within its header"));
    }
    let header = content.range(8, length as usize)?;
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|e| damaged(&format!("its header is wrong: {e}")))?;
    let expected = start + header.data_len() as u64;
    if expected != content.bytes {
        return Err(damaged(&format!("its header tells of {expected} bytes")));
    }
    Ok((start, header))
}

fn problem(tensors: &BTreeMap<String, Place>, expected: &Expected) -> Option<TensorProblem> {
    let Some(place) = tensors.get(&expected.name) else {
        return Some(TensorProblem::Missing(expected.name.clone()));
    };
    if place.shape != expected.shape {
        return Some(TensorProblem::Shape {
            tensor: expected.name.clone(),
            found: place.shape.clone(),
            expected: expected.shape.clone(),
            keys: expected.keys.clone(),
        });
    }
    match place.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => None,
        other => Some(TensorProblem::DataType { tensor: expected.name.clone(), found: other.to_string() }),
    }
}

/// Adds little-endian bytes as float32; every value of the three types has an exact float32.
fn widen(dtype: Dtype, bytes: &[u8], values: &mut Vec<f32>) {
    let (pairs, fours) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
    match dtype {
        Dtype::F16 => values.extend(pairs.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32())),
        Dtype::BF16 => values.extend(pairs.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32())),
        // Nothing else has passed `problem`.
        _ => values.extend(fours.iter().map(|bytes| f32::from_le_bytes(*bytes))),
    }
}

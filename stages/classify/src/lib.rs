//! Transformer text classification in Burn.
//!
//! - `config`, `stage`: the stage's YAML, and the running stage
//! - `inspect`: `alluvium model inspect`
//! - `checkpoint`: a Hugging Face directory, a URL, or the model inside the program, read and checked
//! - `tokenize`: texts to token ids
//! - `model`: the front ([`Model`]): texts in, predictions out; cache, threads
//! - `network`: the transformer, layer by layer
//! - `ops`: its operations over Burn tensors: custom ones for the CPU, and the same of Burn's own
//! - `kernels`: what the custom ones compute with; the only place with `unsafe` code

#![warn(missing_docs)]

mod checkpoint;
mod config;
mod error;
mod inspect;
mod kernels;
mod model;
mod network;
mod ops;
mod options;
mod stage;
mod tokenize;

pub use config::Classify;
pub use error::{ModelError, TensorProblem};
pub use inspect::ModelCommand;
pub use kernels::instructions;
pub use model::{Model, ModelInfo, Prediction, Usage};
pub use options::{Device, Options, Precision, Preprocess};

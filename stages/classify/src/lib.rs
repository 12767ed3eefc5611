//! Transformer text classification in Burn.
//!
//! - `config`: the stage
//! - `checkpoint`: a Hugging Face directory, or the model inside the program, read and checked
//! - `tokenize`: texts to token ids
//! - `model`: the front ([`Model`]), the seam ([`Classifier`]) and BERT behind it

#![warn(missing_docs)]

mod checkpoint;
mod config;
mod error;
mod model;
mod tokenize;

pub use config::Classify;
pub use error::{ModelError, TensorProblem};
pub use model::{Classifier, Model, ModelInfo, Prediction};
pub use tokenize::Tokens;

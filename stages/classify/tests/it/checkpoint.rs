//! Copies of the built-in model's directory, to be broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use alluvium_classify::{Model, ModelError, Options, Prediction};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

pub(crate) const WEIGHTS: &str = "model.safetensors";

pub(crate) fn builtin_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model")
}

/// The built-in model.
pub(crate) fn builtin() -> Model {
    Model::builtin(Options::default()).unwrap()
}

/// The model in a directory.
pub(crate) fn open(directory: &Path) -> Model {
    Model::open(directory, Options::default()).unwrap()
}

/// Predictions alone.
pub(crate) fn predict(model: &Model, texts: &[Option<&str>]) -> Vec<Option<Prediction>> {
    model.classify(texts).unwrap().0
}

/// A tensor with its own bytes.
pub(crate) struct Owned {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

/// A directory that is removed with the value.
pub(crate) struct Checkpoint {
    pub(crate) path: PathBuf,
}

impl Checkpoint {
    /// A copy of the built-in model.
    pub(crate) fn copy() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("alluvium-classify-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for file in ["config.json", "tokenizer.json", WEIGHTS] {
            fs::copy(builtin_directory().join(file), path.join(file)).unwrap();
        }
        Self { path }
    }

    pub(crate) fn remove(self, file: &str) -> Self {
        fs::remove_file(self.path.join(file)).unwrap();
        self
    }

    pub(crate) fn write(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path.join(file), content).unwrap();
        self
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path.join(file)).unwrap()
    }

    pub(crate) fn edit(self, file: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let mut json = serde_json::from_slice(&self.bytes(file)).unwrap();
        edit(&mut json);
        self.write(file, json.to_string())
    }

    pub(crate) fn config(self, edit: impl FnOnce(&mut Value)) -> Self {
        self.edit("config.json", edit)
    }

    /// Sets a key of config.json.
    pub(crate) fn key(self, key: &str, value: impl Into<Value>) -> Self {
        self.config(|config| config[key] = value.into())
    }

    pub(crate) fn tensors(self, edit: impl FnOnce(&mut Vec<Owned>)) -> Self {
        let bytes = self.bytes(WEIGHTS);
        let mut tensors: Vec<Owned> = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(name, view)| Owned {
                name: name.to_owned(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                data: view.data().to_vec(),
            })
            .collect();
        edit(&mut tensors);
        let views =
            tensors.iter().map(|t| (t.name.clone(), TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
        let bytes = safetensors::serialize(views, None).unwrap();
        self.write(WEIGHTS, bytes)
    }

    /// Edits one tensor.
    pub(crate) fn tensor(self, name: &str, edit: impl FnOnce(&mut Owned)) -> Self {
        self.tensors(|tensors| edit(tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()))
    }

    pub(crate) fn error(&self) -> ModelError {
        Model::open(&self.path, Options::default()).err().expect("the checkpoint is broken")
    }

    /// The message of the error, without the directory's own name.
    pub(crate) fn message(&self) -> String {
        self.error().to_string().replace(self.path.to_str().unwrap(), "DIR")
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

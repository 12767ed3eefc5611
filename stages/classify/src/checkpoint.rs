//! A checkpoint: the three files of a Hugging Face model directory, read and told apart from what is not supported.

mod config;
mod weights;

pub(crate) use config::{ARCHITECTURE, BertConfig};
pub(crate) use weights::{Expected, Weights};

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::ModelError;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

/// The bytes of a model's three files, and where they came from.
pub(crate) struct Checkpoint {
    /// Name of the model: the directory's own name.
    pub(crate) name: String,
    /// The directory, for messages; `None` for the model inside the program.
    directory: Option<PathBuf>,
    pub(crate) config: Cow<'static, [u8]>,
    pub(crate) tokenizer: Cow<'static, [u8]>,
    pub(crate) weights: Cow<'static, [u8]>,
}

impl Checkpoint {
    /// The model inside the program.
    pub(crate) fn builtin() -> Self {
        Self {
            name: "tweet-sentiment-mini".to_owned(),
            directory: None,
            config: Cow::Borrowed(include_bytes!("../model/config.json")),
            tokenizer: Cow::Borrowed(include_bytes!("../model/tokenizer.json")),
            weights: Cow::Borrowed(include_bytes!("../model/model.safetensors")),
        }
    }

    /// Reads the three files of a directory.
    ///
    /// # Errors
    /// If the directory or a file is missing or cannot be read. The content is looked at later.
    pub(crate) fn read(directory: &Path) -> Result<Self, ModelError> {
        if !directory.is_dir() {
            return Err(ModelError::NoDirectory { path: directory.to_owned() });
        }
        // A path such as `.` has no name of its own before it is made absolute.
        let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let name = absolute.file_name().unwrap_or(absolute.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            directory: Some(directory.to_owned()),
            config: Cow::Owned(read(directory, CONFIG)?),
            tokenizer: Cow::Owned(read(directory, TOKENIZER)?),
            weights: Cow::Owned(read(directory, WEIGHTS)?),
        })
    }

    /// SHA-256 in hexadecimal over config.json, tokenizer.json and model.safetensors, one after the other:
    /// what `cat config.json tokenizer.json model.safetensors | sha256sum` prints.
    pub(crate) fn hash(&self) -> String {
        let digest = self.files().into_iter().fold(Sha256::new(), Sha256::chain_update).finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Size of the three files together.
    pub(crate) fn bytes(&self) -> usize {
        self.files().into_iter().map(<[u8]>::len).sum()
    }

    pub(crate) fn config_file(&self) -> String {
        self.path(CONFIG)
    }

    pub(crate) fn tokenizer_file(&self) -> String {
        self.path(TOKENIZER)
    }

    pub(crate) fn weights_file(&self) -> String {
        self.path(WEIGHTS)
    }

    fn files(&self) -> [&[u8]; 3] {
        [&self.config, &self.tokenizer, &self.weights]
    }

    /// A file's name as messages show it.
    fn path(&self, file: &str) -> String {
        match &self.directory {
            Some(directory) => directory.join(file).display().to_string(),
            None => format!("builtin/{file}"),
        }
    }
}

fn read(directory: &Path, file: &str) -> Result<Vec<u8>, ModelError> {
    let path = directory.join(file);
    let bytes = fs::read(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ModelError::MissingFile { hint: hint(directory, file), path: path.clone() },
        _ => ModelError::Read { path: path.clone(), source },
    })?;
    if bytes.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(ModelError::LfsPointer { path });
    }
    Ok(bytes)
}

/// How to get a file that is missing, judged by what else is in the directory.
fn hint(directory: &Path, file: &str) -> String {
    let there = |name: &str| directory.join(name).exists();
    let convert = format!(
        "convert it once with `python3 -c \"from transformers import AutoModelForSequenceClassification as M; \
         d = '{}'; M.from_pretrained(d).save_pretrained(d, max_shard_size='100GB')\"`",
        directory.display()
    );
    match file {
        WEIGHTS if there("model.safetensors.index.json") => {
            format!("the weights are split into several files, which is not supported: {convert}")
        }
        WEIGHTS if there("pytorch_model.bin") => {
            format!(
                "pytorch_model.bin is a pickle, which can run any code when it is opened, so it is refused: {convert}"
            )
        }
        TOKENIZER if there("vocab.txt") => format!(
            "make it from vocab.txt with `python3 -c \"from transformers import AutoTokenizer as T; \
             d = '{}'; T.from_pretrained(d).save_pretrained(d)\"`",
            directory.display()
        ),
        _ => format!("expected a Hugging Face model directory with {CONFIG}, {TOKENIZER} and {WEIGHTS}"),
    }
}

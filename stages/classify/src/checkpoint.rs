//! A checkpoint: the files of a Hugging Face model directory, told apart from what is not supported.

mod config;
mod content;
mod fetch;
mod weights;

pub(crate) use config::{Architecture, Config};
pub(crate) use content::Content;
pub(crate) use fetch::{cache, fetch};
pub(crate) use weights::{Expected, Weights};

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::ModelError;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
/// Says which of several files a tensor is in.
const INDEX: &str = "model.safetensors.index.json";

/// The files of a model, opened.
pub(crate) struct Checkpoint {
    /// Name of the model: the directory's own name.
    pub(crate) name: String,
    pub(crate) config: Content,
    pub(crate) tokenizer: Content,
    /// One file, or several that share the tensors between them.
    pub(crate) weights: Vec<Content>,
}

impl Checkpoint {
    /// The model inside the program.
    pub(crate) fn builtin() -> Self {
        Self {
            name: "tweet-sentiment-mini".to_owned(),
            config: Content::embedded("builtin/config.json", include_bytes!("../model/config.json")),
            tokenizer: Content::embedded("builtin/tokenizer.json", include_bytes!("../model/tokenizer.json")),
            weights: vec![Content::embedded("builtin/model.safetensors", include_bytes!("../model/model.safetensors"))],
        }
    }

    /// Opens the files of a directory.
    ///
    /// # Errors
    /// If the directory or a file is missing or cannot be read. The content is looked at later.
    pub(crate) fn open(directory: &Path) -> Result<Self, ModelError> {
        if !directory.is_dir() {
            return Err(ModelError::NoDirectory { path: directory.to_owned() });
        }
        // A path such as `.` has no name of its own before it is made absolute.
        let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
        let name = absolute.file_name().unwrap_or(absolute.as_os_str());
        let weights = if !directory.join(WEIGHTS).exists() && directory.join(INDEX).exists() {
            shards(directory)?.iter().map(|file| open(directory, file)).collect::<Result<_, _>>()?
        } else {
            vec![open(directory, WEIGHTS)?]
        };
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            config: open(directory, CONFIG)?,
            tokenizer: open(directory, TOKENIZER)?,
            weights,
        })
    }

    /// SHA-256 in hexadecimal over config.json, tokenizer.json and the weights, one after the other:
    /// what `cat config.json tokenizer.json model*.safetensors | sha256sum` prints.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn hash(&self) -> Result<String, ModelError> {
        let mut digest = Sha256::new();
        self.files().try_for_each(|file| file.chunks(|bytes| digest.update(bytes)))?;
        Ok(hexadecimal(&digest.finalize()))
    }

    /// Size of the files together.
    pub(crate) fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    fn files(&self) -> impl Iterator<Item = &Content> {
        [&self.config, &self.tokenizer].into_iter().chain(&self.weights)
    }
}

pub(crate) fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open(directory: &Path, file: &str) -> Result<Content, ModelError> {
    let path = directory.join(file);
    if !path.exists() {
        return Err(ModelError::MissingFile { hint: hint(directory, file), path });
    }
    Content::open(path)
}

/// The files that an index names, in their order.
fn shards(directory: &Path) -> Result<Vec<String>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let index = open(directory, INDEX)?;
    let json = |source| ModelError::Json { file: index.file.clone(), source };
    let files: BTreeSet<String> =
        serde_json::from_slice::<Index>(&index.all()?).map_err(json)?.weight_map.into_values().collect();
    let outside = files.iter().find(|file| Path::new(file).file_name().is_none_or(|name| name != file.as_str()));
    match outside {
        _ if files.is_empty() => Err(wrong_shard(&index, "{}".to_owned())),
        Some(file) => Err(wrong_shard(&index, format!("naming {file:?}"))),
        None => Ok(files.into_iter().collect()),
    }
}

fn wrong_shard(index: &Content, found: String) -> ModelError {
    let expected = "names of safetensors files in the same directory".to_owned();
    ModelError::Key { file: index.file.clone(), key: "weight_map".to_owned(), found, expected }
}

/// The files that an index in memory names, for a directory that is not here yet.
pub(crate) fn needed(there: &BTreeSet<String>) -> Vec<String> {
    let weights: Vec<String> = if there.contains(WEIGHTS) {
        vec![WEIGHTS.to_owned()]
    } else {
        // An index names those of its directory that count; the others do no harm.
        there.iter().filter(|file| *file == INDEX || file.ends_with(".safetensors")).cloned().collect()
    };
    [CONFIG, TOKENIZER]
        .iter()
        .filter(|file| there.contains(**file))
        .map(|file| (*file).to_owned())
        .chain(weights)
        .collect()
}

/// How to get a file that is missing, judged by what else is in the directory.
fn hint(directory: &Path, file: &str) -> String {
    let there = |name: &&str| directory.join(name).exists();
    let shown = directory.display();
    if file == WEIGHTS
        && let Some(pickle) = pickles(directory).into_iter().next()
    {
        return format!(
            "{pickle} is a pickle, which can run any code when it is opened, so it is refused: convert it once with \
             `python3 -c \"from transformers import AutoModelForSequenceClassification as M; d = '{shown}'; \
             M.from_pretrained(d).save_pretrained(d)\"`"
        );
    }
    // What tokenizers are saved as that are not one file.
    const VOCABULARIES: [&str; 4] = ["vocab.txt", "vocab.json", "sentencepiece.bpe.model", "tokenizer.model"];
    if file == TOKENIZER
        && let Some(vocabulary) = VOCABULARIES.iter().find(|name| there(name))
    {
        return format!(
            "make it from {vocabulary} with `python3 -c \"from transformers import AutoTokenizer as T; d = '{shown}'; \
             T.from_pretrained(d).save_pretrained(d)\"`"
        );
    }
    format!("expected a Hugging Face model directory with {CONFIG}, {TOKENIZER} and {WEIGHTS}")
}

/// Names of files that PyTorch pickles weights into.
fn pickles(directory: &Path) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| PathBuf::from(entry.file_name()))
        .filter(|name| name.extension().is_some_and(|e| ["bin", "pt", "pth", "ckpt", "pkl"].iter().any(|p| e == *p)))
        .map(|name| name.display().to_string())
        .collect();
    found.sort();
    found
}

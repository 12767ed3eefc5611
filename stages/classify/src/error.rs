//! What can be wrong with a model or with a text given to it.

mod tensor;

pub use tensor::TensorProblem;

use std::path::{Path, PathBuf};

use tensor::Listed;

/// Why a model cannot be opened, or why a text cannot be classified.
///
/// Each message names the file and the key or tensor, says what was expected and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The path of the model is no directory.
    #[error(
        "{}: no such directory; expected a directory with config.json, tokenizer.json and model.safetensors, the URL of one, \
         or `builtin`{}",
        path.display(),
        hub(path)
    )]
    NoDirectory {
        /// The path as given.
        path: PathBuf,
    },

    /// One of the three files is not there.
    #[error("{}: no such file; {hint}", path.display())]
    MissingFile {
        /// The file that is missing.
        path: PathBuf,
        /// How to make it.
        hint: String,
    },

    /// A file is there but cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file holds the three lines that Git LFS leaves in place of the content.
    #[error("{}: is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },

    /// config.json is no JSON object.
    #[error("{file}: not a JSON object: {source}; copy the file again")]
    Json {
        /// The file.
        file: String,
        /// The parser's words, with line and column.
        source: serde_json::Error,
    },

    /// A key of config.json is missing or holds something that is not supported.
    #[error("{file}: `{key}` is {found}, expected {expected}")]
    Key {
        /// The file.
        file: String,
        /// The key, with its path where it is nested.
        key: String,
        /// What is there: the JSON text, or "missing".
        found: String,
        /// What should be there.
        expected: String,
    },

    /// A safetensors file is damaged or of another format.
    #[error("{file}: not a complete safetensors file ({bytes} bytes): {problem}; copy or download it again")]
    Safetensors {
        /// The file.
        file: String,
        /// Its size.
        bytes: u64,
        /// What is wrong with it.
        problem: String,
    },

    /// The weights are not those that config.json describes.
    #[error(
        "{file}: {}; {}",
        Listed(problems),
        architecture.map_or_else(
            || "the weights are damaged: copy or download them again".to_owned(),
            |name| format!("expected the weights that `{name}.save_pretrained` writes for this config.json")
        )
    )]
    Tensors {
        /// The file.
        file: String,
        /// All that is wrong, in the order of the model's layers.
        problems: Vec<TensorProblem>,
        /// Name of the architecture, if the tensors are not its own.
        architecture: Option<&'static str>,
    },

    /// tokenizer.json cannot be used.
    #[error("{file}: not a tokenizer of the `tokenizers` library: {source}; {RESAVE_TOKENIZER}")]
    Tokenizer {
        /// The file.
        file: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The tokenizer knows ids that the embeddings do not.
    #[error(
        "{file}: token {token:?} has id {id}, but the model has embeddings for {rows} ids (`vocab_size` in config.json); \
         tokenizer and weights are of different models"
    )]
    Vocabulary {
        /// The file.
        file: String,
        /// The token with the highest id.
        token: String,
        /// Its id.
        id: u32,
        /// Rows of the word embeddings.
        rows: usize,
    },

    /// The tokenizer adds no `[CLS]` and `[SEP]`, or too many tokens, or token types that the model has not.
    #[error("{file}: {problem}; {RESAVE_TOKENIZER}")]
    SpecialTokens {
        /// The file.
        file: String,
        /// What it does, and what was expected.
        problem: String,
    },

    /// The tokenizer failed on a text.
    #[error("text {text}: the tokenizer failed: {source}")]
    Tokenize {
        /// Index of the text in the batch.
        text: usize,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A token sequence does not fit the model.
    #[error("text {text}: {problem}")]
    Tokens {
        /// Index of the text in the batch.
        text: usize,
        /// What does not fit, and what was expected.
        problem: String,
    },

    /// The model gave NaN or an infinity for a text.
    #[error("text {text}: the logit of label {label:?} is {value}, expected a finite number; the weights overflow")]
    NotFinite {
        /// Index of the text in the batch.
        text: usize,
        /// The label.
        label: String,
        /// The logit.
        value: f32,
    },

    /// The spec has other labels than the model.
    #[error("{given} labels are given, but the model has {}: {}", labels.len(), labels.join(", "))]
    Labels {
        /// How many there are in the spec.
        given: usize,
        /// The model's own.
        labels: Vec<String>,
    },

    /// The environment asks for instructions that the processor has not.
    #[error("ALLUVIUM_CPU is {wanted:?}, but this processor has {available}; unset it, or take one of these")]
    Instructions {
        /// What it asks for.
        wanted: String,
        /// What there is.
        available: String,
    },

    /// The device cannot be used.
    #[error("device `cuda` cannot be used: {problem}; take `device: cpu`, or see the README's section on GPUs")]
    Device {
        /// Why.
        problem: String,
    },

    /// The objects at a URL are no model.
    #[error(
        "{url}: expected objects named config.json, tokenizer.json and model.safetensors, found {}",
        if found.is_empty() { "nothing".to_owned() } else { found.join(", ") }
    )]
    NothingToFetch {
        /// The URL.
        url: String,
        /// Names of the objects there.
        found: Vec<String>,
    },

    /// The objects at a URL cannot be read.
    #[error("{url}: cannot be fetched: {problem}")]
    Fetch {
        /// The URL.
        url: String,
        /// What the store said.
        problem: String,
    },

    /// The cache cannot be written.
    #[error("{}: cannot be written: {source}; fetched models are kept there, ALLUVIUM_CACHE names another directory", path.display())]
    Cache {
        /// File or directory of the cache.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// The network could not be computed.
    #[error("the model cannot be computed: {problem}")]
    Compute {
        /// What the backend said.
        problem: String,
    },
}

impl ModelError {
    /// The same error with the index of its text looked up in `rows`, and that of its label in `labels`: for texts
    /// picked out of a larger batch.
    pub(crate) fn at_rows(mut self, rows: &[usize], labels: &[String]) -> Self {
        if let Self::Tokenize { text, .. } | Self::Tokens { text, .. } | Self::NotFinite { text, .. } = &mut self
            && let Some(row) = rows.get(*text)
        {
            *text = *row;
        }
        if let Self::NotFinite { label, .. } = &mut self
            && let Some(name) = label.parse().ok().and_then(|index: usize| labels.get(index))
        {
            label.clone_from(name);
        }
        self
    }
}

/// What to do with what may be a name on the Hugging Face hub, such as `owner/model`.
fn hub(path: &Path) -> String {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [owner, model] if !model.is_empty() && !owner.is_empty() && !owner.starts_with('.') => {
            format!("; if it is a name on the Hugging Face hub, get it with `hf download {text} --local-dir {model}`")
        }
        _ => String::new(),
    }
}

const RESAVE_TOKENIZER: &str = "save it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`";

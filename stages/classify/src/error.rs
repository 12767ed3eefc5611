//! What can be wrong with a model or with a text given to it.

use std::fmt;
use std::path::PathBuf;

/// Why a model cannot be opened, or why a text cannot be classified.
///
/// Each message names the file and the key or tensor, says what was expected and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The path of the model is no directory.
    #[error(
        "{}: no such directory; expected a directory with config.json, tokenizer.json and model.safetensors \
         (a model is never downloaded: give a path on this machine, or `builtin`)",
        path.display()
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

    /// model.safetensors is damaged or of another format.
    #[error("{file}: not a complete safetensors file ({bytes} bytes): {source}; copy or download it again")]
    Safetensors {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },

    /// The weights are not those that config.json describes.
    #[error(
        "{file}: {}; expected the weights that `BertForSequenceClassification.save_pretrained` writes for this config.json",
        Listed(problems)
    )]
    Tensors {
        /// The file.
        file: String,
        /// All that is wrong, in the order of the model's layers.
        problems: Vec<TensorProblem>,
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
    #[error(
        "text {text}: the logit of label {label:?} is {value}, expected a finite number; the weights overflow in float32"
    )]
    NotFinite {
        /// Index of the text in the batch.
        text: usize,
        /// The label.
        label: String,
        /// The logit.
        value: f32,
    },

    /// An implementation of [`Classifier`](crate::Classifier) gave something else than it was asked for, or failed.
    #[error("the classifier failed: {problem}")]
    Classifier {
        /// What it gave, and what was expected.
        problem: String,
    },
}

impl ModelError {
    /// The same error with the index of its text looked up in `rows`: for texts picked out of a larger batch.
    pub(crate) fn at_rows(mut self, rows: &[usize]) -> Self {
        if let Self::Tokenize { text, .. } | Self::Tokens { text, .. } | Self::NotFinite { text, .. } = &mut self
            && let Some(row) = rows.get(*text)
        {
            *text = *row;
        }
        self
    }
}

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
        keys: &'static str,
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

const RESAVE_TOKENIZER: &str = "save it again with `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`";

/// Problems in one line: a wrong `hidden_size` touches every tensor, so only the first few are spelled out.
struct Listed<'a>(&'a [TensorProblem]);

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

//! Texts to token ids.

use tokenizers::{PostProcessor, TruncationParams};

use crate::ModelError;
use crate::checkpoint::Config;

/// One text as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    /// Ids of the tokens, the special ones with them; one at least, the model's maximum at most.
    pub(crate) ids: Vec<u32>,
    /// Token type of each id; as long as `ids`, and 0 everywhere in ordinary models.
    pub(crate) type_ids: Vec<u32>,
    /// Whether the text was longer than the model's maximum and lost its end.
    pub(crate) truncated: bool,
}

/// A tokenizer.json made ready for one model: it truncates to the model's maximum and never pads.
pub(crate) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The kind of its model, in the library's words.
    pub(crate) kind: &'static str,
}

impl Tokenizer {
    /// Reads the bytes of tokenizer.json; `file` is its name in messages.
    ///
    /// # Errors
    /// If the library cannot read it, or if it gives ids or token types that the model has no embeddings for.
    pub(crate) fn parse(file: &str, bytes: &[u8], config: &Config) -> Result<Self, ModelError> {
        let tokenizer = |source| ModelError::Tokenizer { file: file.to_owned(), source };
        let special = |problem: String| ModelError::SpecialTokens { file: file.to_owned(), problem };
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(tokenizer)?;

        let vocabulary = inner.get_vocab(true);
        if let Some((token, id)) = vocabulary.into_iter().max_by_key(|(_, id)| *id)
            && id as usize >= config.vocabulary
        {
            return Err(ModelError::Vocabulary { file: file.to_owned(), token, id, rows: config.vocabulary });
        }

        // The library subtracts the special tokens from the maximum without looking.
        let added = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if added == 0 {
            return Err(special(
                "adds no special tokens, expected a `post_processor` that adds one before and one after the text \
                 ([CLS] and [SEP], or <s> and </s>)"
                    .to_owned(),
            ));
        }
        let most = config.max_tokens();
        if added >= most {
            return Err(special(format!(
                "adds {added} special tokens, but the model takes {most} tokens by `max_position_embeddings` in config.json"
            )));
        }
        let truncation = TruncationParams { max_length: most, ..TruncationParams::default() };
        inner.with_padding(None).with_truncation(Some(truncation)).map_err(tokenizer)?;

        // Token types come from a template that is the same for every text, so one text tells.
        let probe = inner.encode_fast("a", true).map_err(tokenizer)?;
        if let (Some(types), Some(&most)) = (config.types, probe.get_type_ids().iter().max())
            && most as usize >= types
        {
            return Err(special(format!(
                "gives token type {most}, expected less than `type_vocab_size` in config.json ({types})"
            )));
        }
        let kind = match inner.get_model() {
            tokenizers::ModelWrapper::BPE(_) => "BPE",
            tokenizers::ModelWrapper::WordPiece(_) => "WordPiece",
            tokenizers::ModelWrapper::WordLevel(_) => "WordLevel",
            tokenizers::ModelWrapper::Unigram(_) => "Unigram",
        };
        Ok(Self { inner, kind })
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// If the library fails on it, with `text` as its index.
    pub(crate) fn encode(&self, text: usize, content: &str) -> Result<Tokens, ModelError> {
        let encoding = self.inner.encode_fast(content, true).map_err(|source| ModelError::Tokenize { text, source })?;
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated: !encoding.get_overflowing().is_empty(),
        })
    }
}

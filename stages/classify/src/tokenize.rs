//! Texts to token ids.

use rayon::prelude::*;
use tokenizers::{PostProcessor, TruncationParams};

use crate::ModelError;
use crate::checkpoint::BertConfig;

/// One text as the model reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// Ids of the tokens, `[CLS]` and `[SEP]` with them; one at least, the model's maximum at most.
    pub ids: Vec<u32>,
    /// Token type of each id; as long as `ids`, and 0 everywhere in ordinary models.
    pub type_ids: Vec<u32>,
    /// Whether the text was longer than the model's maximum and lost its end.
    pub truncated: bool,
}

/// A tokenizer.json made ready for one model: it truncates to the model's maximum and never pads.
pub(crate) struct Tokenizer {
    inner: tokenizers::Tokenizer,
}

impl Tokenizer {
    /// Reads the bytes of tokenizer.json; `file` is its name in messages.
    ///
    /// # Errors
    /// If the library cannot read it, or if it gives ids or token types that the model has no embeddings for.
    pub(crate) fn parse(file: &str, bytes: &[u8], config: &BertConfig) -> Result<Self, ModelError> {
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
                "adds no special tokens, expected a `post_processor` that adds [CLS] and [SEP]".to_owned(),
            ));
        }
        if added >= config.positions {
            return Err(special(format!(
                "adds {added} special tokens, expected fewer than `max_position_embeddings` in config.json ({})",
                config.positions
            )));
        }
        let truncation = TruncationParams { max_length: config.positions, ..TruncationParams::default() };
        inner.with_padding(None).with_truncation(Some(truncation)).map_err(tokenizer)?;

        // Token types come from a template that is the same for every text, so one text tells.
        let probe = inner.encode_fast("a", true).map_err(tokenizer)?;
        match probe.get_type_ids().iter().max() {
            Some(&most) if most as usize >= config.types => Err(special(format!(
                "gives token type {most}, expected less than `type_vocab_size` in config.json ({})",
                config.types
            ))),
            _ => Ok(Self { inner }),
        }
    }

    /// The tokens of each text, on all threads of the current rayon pool.
    ///
    /// # Errors
    /// If the library fails on a text; the error has the text's index.
    pub(crate) fn encode(&self, texts: &[&str]) -> Result<Vec<Tokens>, ModelError> {
        let encode = |(text, content): (usize, &&str)| {
            let encoding =
                self.inner.encode_fast(*content, true).map_err(|source| ModelError::Tokenize { text, source })?;
            Ok(Tokens {
                ids: encoding.get_ids().to_vec(),
                type_ids: encoding.get_type_ids().to_vec(),
                truncated: !encoding.get_overflowing().is_empty(),
            })
        };
        texts.par_iter().enumerate().map(encode).collect()
    }
}

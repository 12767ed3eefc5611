//! Sequences that lie one after the other.

use crate::tokenize::Tokens;

/// Token sequences of different lengths in one batch, without padding: what is computed per token is computed for all
/// tokens of the batch at once, and only attention looks at where a sequence begins and ends.
pub(crate) struct Ragged {
    /// Tokens of sequence `i`: `starts[i]..starts[i + 1]`.
    pub(crate) starts: Vec<usize>,
    /// Token ids of all sequences.
    pub(crate) ids: Vec<u32>,
    /// Row of the position embeddings for each token.
    pub(crate) positions: Vec<u32>,
    /// Row of the type embeddings for each token.
    pub(crate) types: Vec<u32>,
    /// Threads to compute with.
    pub(crate) threads: usize,
}

/// How tokens are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Positions {
    /// From 0.
    FromZero,
    /// As RoBERTa does: from `padding` + 1, where tokens that are `padding` themselves do not count and have position
    /// `padding` (`create_position_ids_from_input_ids` in transformers).
    AfterPadding {
        /// Token id of the padding.
        padding: u32,
    },
}

impl Positions {
    /// Rows of the position embeddings that no ordinary token has.
    pub(crate) fn reserved(self) -> usize {
        match self {
            Self::FromZero => 0,
            Self::AfterPadding { padding } => padding as usize + 1,
        }
    }
}

impl Ragged {
    /// The sequences in this order.
    pub(crate) fn new<'a>(
        sequences: impl IntoIterator<Item = &'a Tokens>,
        positions: Positions,
        threads: usize,
    ) -> Self {
        let mut batch = Self { starts: vec![0], ids: vec![], positions: vec![], types: vec![], threads };
        for tokens in sequences {
            match positions {
                Positions::FromZero => batch.positions.extend((0_u32..).take(tokens.ids.len())),
                Positions::AfterPadding { padding } => {
                    let mut last = padding;
                    batch.positions.extend(tokens.ids.iter().map(|id| {
                        if *id == padding {
                            return padding;
                        }
                        last += 1;
                        last
                    }));
                }
            }
            batch.ids.extend(&tokens.ids);
            batch.types.extend(&tokens.type_ids);
            batch.starts.push(batch.ids.len());
        }
        batch
    }

    /// Number of sequences.
    pub(crate) fn sequences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Tokens of all sequences.
    pub(crate) fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Tokens of each sequence.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|bounds| bounds[1] - bounds[0])
    }

    /// Tokens of the longest sequence.
    pub(crate) fn longest(&self) -> usize {
        self.lengths().max().unwrap_or(0)
    }
}

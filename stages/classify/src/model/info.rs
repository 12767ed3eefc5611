//! What a model is, and what it says.

use crate::{Device, Precision};

/// What a model is: enough to say which one gave a prediction, and to judge what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name of the model's directory, or the name of the built-in model.
    pub name: String,
    /// `version` in config.json if it is there, otherwise the first 12 digits of `hash`.
    pub version: String,
    /// SHA-256 in hexadecimal over config.json, tokenizer.json and the weights, one after the other.
    pub hash: String,
    /// Name of the architecture in Hugging Face's words.
    pub architecture: String,
    /// Number of encoder layers.
    pub layers: usize,
    /// Width of the hidden state.
    pub hidden: usize,
    /// Attention heads of a layer.
    pub heads: usize,
    /// Width of the feed-forward part.
    pub intermediate: usize,
    /// Token ids that have an embedding.
    pub vocabulary: usize,
    /// The tokenizer's kind: WordPiece, BPE, Unigram or WordLevel.
    pub tokenizer: String,
    /// Most tokens of a text, the special ones included; what is longer loses its end.
    pub max_tokens: usize,
    /// Label of each logit.
    pub labels: Vec<String>,
    /// Several labels may be true of a text (sigmoid); otherwise one is (softmax).
    pub multi_label: bool,
    /// Numbers in the weights.
    pub parameters: usize,
    /// Size of the files together.
    pub bytes: u64,
    /// Bytes that the weights take in memory.
    pub memory: u64,
    /// How exactly dense layers are computed.
    pub precision: Precision,
    /// Where the model runs.
    pub device: Device,
    /// Instructions of the processor that are used, or `cuda`.
    pub instructions: String,
}

/// What the model says about one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Index of the most probable label in [`ModelInfo::labels`]; the first of equals.
    pub label: usize,
    /// Probability of each label, in the order of [`ModelInfo::labels`]; they add up to 1 unless several labels may be
    /// true.
    pub probabilities: Vec<f32>,
    /// Whether the text was longer than [`ModelInfo::max_tokens`] and lost its end.
    pub truncated: bool,
}

/// Index of the largest number; the first of equals.
pub(super) fn largest(values: &[f32]) -> usize {
    let best = values.iter().enumerate().fold(None, |best: Option<(usize, f32)>, (index, value)| match best {
        Some((_, most)) if *value <= most => best,
        _ => Some((index, *value)),
    });
    best.map_or(0, |(index, _)| index)
}

/// Probabilities that add up to 1; differences to the largest are taken first, so that nothing overflows.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f32 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// A probability for each.
pub(super) fn sigmoid(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn softmax_is_the_known_one() {
        let probabilities = softmax(&[1.0, 2.0, 3.0]);
        assert!(probabilities.iter().zip([0.090_030_57, 0.244_728_47, 0.665_240_96]).all(|(&a, b)| close(a, b)));
        assert!(close(probabilities.iter().sum(), 1.0));
    }

    #[test]
    fn large_logits_do_not_overflow_and_the_first_of_equals_wins() {
        assert_eq!(softmax(&[3e38, 3e38, -3e38]), [0.5, 0.5, 0.0]);
        assert_eq!(largest(&[3e38, 3e38, -3e38]), 0);
        assert_eq!(largest(&[-1.0, 2.0, 2.0]), 1);
        assert_eq!(sigmoid(&[-3e38, 0.0, 3e38]), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn sigmoid_is_the_known_one() {
        assert!(sigmoid(&[1.0, -2.0]).iter().zip([0.731_058_6, 0.119_202_92]).all(|(&a, b)| close(a, b)));
    }
}

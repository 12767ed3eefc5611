//! Choices that a spec makes about a model.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How exactly dense layers are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As the reference does.
    #[default]
    Float32,
    /// Weights and inputs rounded to bfloat16; sums in float32. Faster on processors with AVX-512 BF16.
    Bfloat16,
    /// Weights rounded to 8 bits per output, inputs to 8 bits per token; sums are exact. The fastest on the CPU.
    Int8,
}

/// Where the model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// On the processor.
    #[default]
    Cpu,
    /// On an NVIDIA GPU; needs a program built with the feature `cuda`.
    Cuda,
}

/// What is done to a text before the tokenizer sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Preprocess {
    /// Nothing.
    #[default]
    None,
    /// Users become `@user` and links `http`, as models that were trained on TweetEval expect.
    Tweet,
}

impl Preprocess {
    /// The text as the tokenizer gets it. `tweet` is the function that the cards of the cardiffnlp models give: words are
    /// what stands between single spaces.
    pub(crate) fn apply(self, text: &str) -> Cow<'_, str> {
        let is_user = |word: &str| word.len() > 1 && word.starts_with('@');
        let replaced = |word: &str| is_user(word) || word.starts_with("http");
        if self == Self::None || !text.split(' ').any(replaced) {
            return Cow::Borrowed(text);
        }
        let words = text.split(' ').map(|word| match word {
            _ if is_user(word) => "@user",
            _ if word.starts_with("http") => "http",
            _ => word,
        });
        Cow::Owned(words.collect::<Vec<_>>().join(" "))
    }
}

/// How a model is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How exactly dense layers are computed.
    pub precision: Precision,
    /// Where the model runs.
    pub device: Device,
    /// What is done to a text before the tokenizer sees it.
    pub preprocess: Preprocess,
    /// Names to use instead of the model's own labels, in the order of its ids.
    pub labels: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_links_are_replaced_word_by_word() {
        let cases = [
            ("", ""),
            ("@", "@"),
            ("@bob hi", "@user hi"),
            ("hi @bob: look", "hi @user look"),
            ("RT @a @b http://t.co/x https://y", "RT @user @user http http"),
            ("mail me@home, (@bob)  twice", "mail me@home, (@bob)  twice"),
            ("line\n@bob stays, httpd goes", "line\n@bob stays, http goes"),
            ("@\u{1f600}", "@user"),
        ];
        for (text, expected) in cases {
            assert_eq!(Preprocess::Tweet.apply(text), expected);
            assert_eq!(Preprocess::None.apply(text), text);
        }
    }
}

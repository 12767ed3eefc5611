//! Texts through tokenizer and network, on all threads.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use rayon::prelude::*;

use crate::ModelError;
use crate::network::{Network, Ragged};
use crate::ops::Batches;
use crate::tokenize::{Tokenizer, Tokens};

/// Fewer are not worth a thread of their own: their layers are computed by several threads instead.
const SMALLEST_CHUNK: usize = 8;
/// Memory for answers that are kept.
const CACHE_BYTES: u64 = 16 << 20;

/// What it took to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Texts that were given.
    pub texts: usize,
    /// Texts among them that lost their end.
    pub truncated: usize,
    /// Distinct texts that were answered from the cache.
    pub cached: usize,
    /// Distinct texts that were computed.
    pub computed: usize,
    /// Tokens of the texts that were computed.
    pub tokens: usize,
    /// Tokens that attention was filled up with.
    pub padding: usize,
    /// Batches that went through the network.
    pub batches: usize,
    /// Time spent in the tokenizer, added up over threads.
    pub tokenizing: Duration,
    /// Time spent in the network, added up over threads.
    pub computing: Duration,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.texts += other.texts;
        self.truncated += other.truncated;
        self.cached += other.cached;
        self.computed += other.computed;
        self.tokens += other.tokens;
        self.padding += other.padding;
        self.batches += other.batches;
        self.tokenizing += other.tokenizing;
        self.computing += other.computing;
    }
}

/// What was found for a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) logits: Vec<f32>,
    pub(super) truncated: bool,
}

/// Counts what an answer takes in memory, roughly.
#[derive(Clone)]
struct Bytes;

impl Weighter<Box<str>, Arc<Answer>> for Bytes {
    fn weight(&self, text: &Box<str>, answer: &Arc<Answer>) -> u64 {
        const OVERHEAD: usize = 128;
        (text.len() + answer.logits.len() * size_of::<f32>() + OVERHEAD) as u64
    }
}

/// Tokenizer and network, which several stages may share.
pub(super) struct Encoder {
    tokenizer: Tokenizer,
    network: Network,
    sizes: Sizes,
    answered: Cache<Box<str>, Arc<Answer>, Bytes>,
}

/// Sizes that texts and memory are held against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) labels: usize,
    pub(super) max_tokens: usize,
    pub(super) vocabulary: usize,
    /// Bytes that a token takes while it is computed, above 0.
    pub(super) bytes_per_token: usize,
    /// Bytes that a token takes in the widest matrix, above 0.
    pub(super) widest_bytes_per_token: usize,
}

impl Encoder {
    pub(super) fn new(tokenizer: Tokenizer, network: Network, sizes: Sizes) -> Self {
        const TYPICAL_BYTES: u64 = 256;
        let answered = Cache::with_weighter((CACHE_BYTES / TYPICAL_BYTES) as usize, CACHE_BYTES, Bytes);
        Self { tokenizer, network, sizes, answered }
    }

    /// Answers for distinct texts, each with its row for errors: from the cache, or computed.
    pub(super) fn answers(
        &self,
        texts: &[(usize, &str)],
        labels: &[String],
    ) -> Result<(Vec<Arc<Answer>>, Usage), ModelError> {
        let mut answers: Vec<Option<Arc<Answer>>> = texts.iter().map(|(_, text)| self.answered.get(*text)).collect();
        let missing: Vec<(usize, &str)> =
            texts.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(text, _)| *text).collect();
        let rows: Vec<usize> = missing.iter().map(|(row, _)| *row).collect();
        let encode = |text| self.encode(text, missing.get(text).map(|(_, text)| text));
        let (computed, mut usage) =
            self.compute(missing.len(), encode).map_err(|error| error.at_rows(&rows, labels))?;
        usage.cached = texts.len() - missing.len();
        let gaps = answers.iter_mut().filter(|answer| answer.is_none());
        for ((gap, (_, text)), answer) in gaps.zip(&missing).zip(computed) {
            let answer = Arc::new(answer);
            self.answered.insert((*text).into(), answer.clone());
            *gap = Some(answer);
        }
        Ok((answers.into_iter().flatten().collect(), usage))
    }

    /// The tokens of a text.
    pub(super) fn encode(&self, text: usize, content: Option<&impl AsRef<str>>) -> Result<Tokens, ModelError> {
        self.tokenizer.encode(text, content.map_or("", AsRef::as_ref))
    }

    /// Token ids as they are given.
    pub(super) fn given(&self, text: usize, ids: Option<&Vec<u32>>) -> Result<Tokens, ModelError> {
        let ids = ids.cloned().unwrap_or_default();
        let (most, rows) = (self.sizes.max_tokens, self.sizes.vocabulary);
        let problem = match ids.iter().find(|id| **id as usize >= rows) {
            _ if ids.is_empty() || ids.len() > most => format!("it has {} tokens, expected 1 to {most}", ids.len()),
            Some(id) => format!("it has the token id {id}, expected less than {rows}"),
            None => return Ok(Tokens { type_ids: vec![0; ids.len()], ids, truncated: false }),
        };
        Err(ModelError::Tokens { text, problem })
    }

    /// Computes `count` texts, whose tokens `encode` gives. Each thread takes some texts, tokenizes and then computes
    /// them, so that tokenizer and network are at work at the same time.
    pub(super) fn compute(
        &self,
        count: usize,
        encode: impl Fn(usize) -> Result<Tokens, ModelError> + Sync,
    ) -> Result<(Vec<Answer>, Usage), ModelError> {
        let pool = rayon::current_num_threads().max(1);
        let Batches { texts, tokens, bytes, widest_bytes, .. } = self.network.batches();
        let chunks = count.div_ceil(texts).next_multiple_of(pool).min(count.div_ceil(SMALLEST_CHUNK)).max(1);
        let threads = if chunks == 1 { pool } else { 1 };
        let fitting = (bytes / pool / self.sizes.bytes_per_token).min(widest_bytes / self.sizes.widest_bytes_per_token);
        let budget = fitting.clamp(64, tokens);
        let chunk = |number: usize| {
            let texts = (number * count / chunks)..((number + 1) * count / chunks);
            self.chunk(texts.collect(), &encode, budget, threads)
        };
        let computed: Vec<_> = (0..chunks).into_par_iter().with_max_len(1).map(chunk).collect::<Result<_, _>>()?;
        let mut usage = Usage { computed: count, ..Usage::default() };
        let mut answers = Vec::with_capacity(count);
        for (chunk, used) in computed {
            answers.extend(chunk);
            usage += used;
        }
        Ok((answers, usage))
    }

    fn chunk(
        &self,
        texts: Vec<usize>,
        encode: &impl Fn(usize) -> Result<Tokens, ModelError>,
        budget: usize,
        threads: usize,
    ) -> Result<(Vec<Answer>, Usage), ModelError> {
        let started = Instant::now();
        let tokens: Vec<Tokens> = texts.iter().map(|text| encode(*text)).collect::<Result<_, _>>()?;
        let tokenizing = started.elapsed();
        let started = Instant::now();
        let mut usage = Usage { tokenizing, ..Usage::default() };
        let padded = self.network.batches().padded;
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        if padded {
            order.sort_by_key(|text| tokens.get(*text).map(|tokens| tokens.ids.len()));
        }
        let ordered: Vec<&Tokens> = order.iter().filter_map(|text| tokens.get(*text)).collect();
        let mut answers = vec![Answer::default(); texts.len()];
        let mut places = order.iter();
        for batch in within(&ordered, budget, padded) {
            let ragged = Ragged::new(batch.iter().copied(), self.network.numbering, threads);
            usage.tokens += ragged.rows();
            usage.batches += 1;
            if padded {
                usage.padding += ragged.sequences() * ragged.longest() - ragged.rows();
            }
            let logits = self.network.forward(&ragged)?;
            for ((tokens, logits), place) in batch.iter().zip(logits.chunks_exact(self.sizes.labels)).zip(&mut places) {
                if let Some(answer) = answers.get_mut(*place) {
                    *answer = Answer { logits: logits.to_vec(), truncated: tokens.truncated };
                }
            }
        }
        for (text, answer) in texts.iter().zip(&answers) {
            if let Some((label, value)) = answer.logits.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(ModelError::NotFinite { text: *text, label: label.to_string(), value: *value });
            }
        }
        usage.computing = started.elapsed();
        Ok((answers, usage))
    }
}

/// Neighbours that have no more tokens than the budget, with what they are filled up with if they are `padded`; or single
/// ones with more.
fn within<'a>(tokens: &'a [&'a Tokens], budget: usize, padded: bool) -> impl Iterator<Item = &'a [&'a Tokens]> {
    let mut rest = tokens;
    std::iter::from_fn(move || {
        let (mut count, mut sum, mut longest) = (0, 0, 0);
        let fitting = rest.iter().take_while(|tokens| {
            count += 1;
            sum += tokens.ids.len();
            longest = longest.max(tokens.ids.len());
            (if padded { count * longest } else { sum }) <= budget
        });
        let (batch, after) = rest.split_at_checked(fitting.count().max(1))?;
        rest = after;
        Some(batch)
    })
}

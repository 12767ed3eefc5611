//! Scaled dot-product attention over sequences of different lengths that lie one after the other, without padding.

use pulp::{Simd, WithSimd};
use std::ops::Range;

use super::math::{self, fma};
use super::{Level, Out, parts};

/// Queries that are computed together.
const TILE: usize = 4;

/// Sequences and heads.
pub(crate) struct Shape<'a> {
    /// Rows of sequence `i`: `starts[i]..starts[i + 1]`.
    pub(crate) starts: &'a [usize],
    /// Heads; each has an equal part of a query, key or value.
    pub(crate) heads: usize,
    /// Only the first query of each sequence is wanted.
    pub(crate) only_first: bool,
}

/// From queries, keys and values side by side, `[rows, 3 * hidden]`, to `[rows, hidden]`, or to
/// `[sequences, hidden]` if only the first queries are wanted. On `threads` threads of the current rayon pool.
pub(crate) fn attention(level: Level, qkv: &[f32], shape: &Shape<'_>, threads: usize) -> Vec<f32> {
    let rows = shape.starts.last().copied().unwrap_or(0);
    let sequences = shape.starts.len().saturating_sub(1);
    if rows == 0 {
        return Vec::new();
    }
    let hidden = qkv.len() / rows / 3;
    let results = if shape.only_first { sequences } else { rows };
    assert!(qkv.len() == rows * 3 * hidden && hidden.is_multiple_of(shape.heads));
    assert!(shape.starts.first() == Some(&0) && shape.starts.windows(2).all(|bounds| bounds[0] < bounds[1]));
    let count = threads.clamp(1, shape.heads);
    let write = |out: Out| {
        parts(count, |part| {
            let heads = (part * shape.heads / count)..((part + 1) * shape.heads / count);
            level.run(Heads { qkv, shape, hidden, heads, out });
        });
    };
    // SAFETY: the parts have all heads between them, which have all columns; each goes through all sequences, which are
    // not empty and have all rows.
    unsafe { Out::fill(results * hidden, write) }
}

/// Some heads of all sequences.
struct Heads<'a> {
    qkv: &'a [f32],
    shape: &'a Shape<'a>,
    hidden: usize,
    heads: Range<usize>,
    /// No two write the same heads.
    out: Out,
}

impl WithSimd for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut memory = Vec::new();
        for (sequence, bounds) in self.shape.starts.windows(2).enumerate() {
            for head in self.heads.clone() {
                self.head(simd, sequence, bounds[0]..bounds[1], head, &mut memory);
            }
        }
    }
}

impl Heads<'_> {
    #[inline(always)]
    fn head<S: Simd>(&self, simd: S, sequence: usize, rows: Range<usize>, head: usize, memory: &mut Vec<f32>) {
        let size = self.hidden / self.shape.heads;
        let lanes = S::F32_LANES;
        let (keys, wide) = (rows.len().next_multiple_of(lanes), size.next_multiple_of(lanes));
        let part = |row: usize, which: usize| {
            &self.qkv[(rows.start + row) * 3 * self.hidden + which * self.hidden + head * size..][..size]
        };
        memory.resize(size * keys + rows.len() * wide + TILE * keys, 0.0);
        let (transposed, rest) = memory.split_at_mut(size * keys);
        let (values, scores) = rest.split_at_mut(rows.len() * wide);
        // Keys as columns, filled up with zeros; their scores are left out below.
        for row in 0..keys {
            if row < rows.len() {
                for (d, value) in part(row, 1).iter().enumerate() {
                    transposed[d * keys + row] = *value;
                }
            } else {
                transposed.iter_mut().skip(row).step_by(keys).for_each(|v| *v = 0.0);
            }
        }
        for (row, slot) in values.chunks_exact_mut(wide).enumerate() {
            slot[..size].copy_from_slice(part(row, 2));
            slot[size..].fill(0.0);
        }
        let scale = simd.splat_f32s(1.0 / (size as f32).sqrt());
        let queries = if self.shape.only_first { 1 } else { rows.len() };
        let mut first = 0;
        while first < queries {
            let tile: [&[f32]; TILE] = std::array::from_fn(|t| part((first + t).min(queries - 1), 0));
            products(simd, tile, transposed, keys, scale, scores);
            let mut sums = [0.0; TILE];
            for (row, sum) in scores.chunks_exact_mut(keys).zip(&mut sums) {
                *sum = softmax(simd, row, rows.len());
            }
            for at in (0..size).step_by(lanes) {
                let mixed = mix(simd, scores, keys, values, wide, at, rows.len());
                for (t, mixed) in mixed.into_iter().enumerate().take(queries - first) {
                    let row = if self.shape.only_first { sequence } else { rows.start + first + t };
                    let count = lanes.min(size - at);
                    let mixed = simd.mul_f32s(mixed, simd.splat_f32s(1.0 / sums[t]));
                    // SAFETY: this head's part of a row of this sequence is written by this call alone, and `attention`,
                    // which has the matrix, waits for all calls.
                    unsafe { self.out.store(simd, row * self.hidden + head * size + at, count, mixed) };
                }
            }
            first += TILE;
        }
    }
}

/// Scaled products of a tile of queries with all keys.
#[inline(always)]
fn products<S: Simd>(
    simd: S,
    tile: [&[f32]; TILE],
    transposed: &[f32],
    keys: usize,
    scale: S::f32s,
    scores: &mut [f32],
) {
    for at in (0..keys).step_by(S::F32_LANES) {
        let mut sums = [simd.splat_f32s(0.0); TILE];
        for (d, column) in transposed.chunks_exact(keys).enumerate() {
            let column = S::as_simd_f32s(&column[at..][..S::F32_LANES]).0[0];
            for (sum, query) in sums.iter_mut().zip(tile) {
                *sum = fma(simd, simd.splat_f32s(query[d]), column, *sum);
            }
        }
        for (row, sum) in scores.chunks_exact_mut(keys).zip(sums) {
            S::as_mut_simd_f32s(&mut row[at..][..S::F32_LANES]).0[0] = simd.mul_f32s(sum, scale);
        }
    }
}

/// Exponentials of the scores against the largest; 0 behind the first `count`. Returns their sum.
#[inline(always)]
fn softmax<S: Simd>(simd: S, row: &mut [f32], count: usize) -> f32 {
    row[count..].fill(f32::NEG_INFINITY);
    let vectors = S::as_mut_simd_f32s(row).0;
    let mut most = simd.splat_f32s(f32::NEG_INFINITY);
    for v in &*vectors {
        most = simd.max_f32s(most, *v);
    }
    let most = simd.splat_f32s(simd.reduce_max_f32s(most));
    for v in &mut *vectors {
        *v = math::exp(simd, simd.sub_f32s(*v, most));
    }
    row[count..].fill(0.0);
    let mut sum = simd.splat_f32s(0.0);
    for v in S::as_simd_f32s(row).0 {
        sum = simd.add_f32s(sum, *v);
    }
    simd.reduce_sum_f32s(sum)
}

/// Values weighted by the scores of each query: one vector of their columns.
#[inline(always)]
fn mix<S: Simd>(
    simd: S,
    scores: &[f32],
    keys: usize,
    values: &[f32],
    wide: usize,
    at: usize,
    count: usize,
) -> [S::f32s; TILE] {
    let mut sums = [simd.splat_f32s(0.0); TILE];
    let rows: [&[f32]; TILE] = std::array::from_fn(|t| &scores[t * keys..][..count]);
    for (j, value) in values.chunks_exact(wide).enumerate().take(count) {
        let value = S::as_simd_f32s(&value[at..][..S::F32_LANES]).0[0];
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = fma(simd, simd.splat_f32s(row[j]), value, *sum);
        }
    }
    sums
}

//! Rows as words, in the form that the weights are multiplied with.

use std::borrow::Cow;

use crate::kernels::Multiplies;

/// Rows of words.
pub(super) struct Rows<'a> {
    words: Cow<'a, [u32]>,
    /// Words from one row to the next.
    pub(super) stride: usize,
    /// What the integers of each row stand for; empty for floats.
    pub(super) scales: Vec<Scale>,
}

/// An integer `q` of a row stands for `step * (q - zero)`.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) step: f32,
    pub(super) zero: i32,
}

impl<'a> Rows<'a> {
    /// Rows of `inputs` numbers. To be compiled for the instructions at hand: that is why all of it is inlined.
    #[inline(always)]
    pub(super) fn prepare(x: &'a [f32], inputs: usize, multiplies: Multiplies) -> Self {
        let groups = inputs.div_ceil(multiplies.inputs_per_word());
        let stride = stride(groups);
        let count = x.len() / inputs;
        match multiplies {
            Multiplies::Floats => {
                let words: &[u32] = bytemuck::cast_slice(x);
                let words =
                    if stride == groups { Cow::Borrowed(words) } else { Cow::Owned(spread(words, groups, stride)) };
                Self { words, stride, scales: Vec::new() }
            }
            Multiplies::Pairs => {
                let (words, scales) = integers::<i16>(x, inputs, stride);
                Self { words: Cow::Owned(words), stride, scales }
            }
            #[cfg(target_arch = "x86_64")]
            Multiplies::Vnni(_) => {
                let (words, scales) = integers::<u8>(x, inputs, stride);
                Self { words: Cow::Owned(words), stride, scales }
            }
            #[cfg(target_arch = "x86_64")]
            Multiplies::Bf16(_) => {
                let mut words = zeros(count * stride);
                for (row, words) in x.chunks_exact(inputs).zip(words.chunks_exact_mut(stride)) {
                    for (slot, value) in bytemuck::cast_slice_mut::<u32, u16>(words).iter_mut().zip(row) {
                        *slot = round_to_bf16(*value);
                    }
                }
                Self { words: Cow::Owned(words), stride, scales: Vec::new() }
            }
        }
    }

    /// The words of some rows, `stride` apart.
    #[inline(always)]
    pub(super) fn tile(&self, first: usize) -> &[u32] {
        &self.words[first * self.stride..]
    }
}

/// Words from one row to the next. Rows that begin at the same place of a page would take each other's place in the
/// first-level cache, which has room for 8 or 12 lines of each such place; a tile has up to 14 rows.
fn stride(groups: usize) -> usize {
    const PAGE: usize = 4_096 / size_of::<u32>();
    const LINE: usize = 64 / size_of::<u32>();
    if groups.is_multiple_of(PAGE) { groups + LINE } else { groups }
}

/// The same rows with room between them.
fn spread(words: &[u32], groups: usize, stride: usize) -> Vec<u32> {
    let mut wider = Vec::with_capacity(words.len() / groups * stride);
    for row in words.chunks_exact(groups) {
        wider.extend_from_slice(row);
        wider.resize(wider.len() + stride - groups, 0);
    }
    wider
}

/// Rounds each row to integers from 0 to 255, so that its least and its largest number, and zero, are met.
#[inline(always)]
fn integers<T: From<u8> + bytemuck::Pod>(x: &[f32], inputs: usize, stride: usize) -> (Vec<u32>, Vec<Scale>) {
    // Adding this leaves a whole number in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let count = x.len() / inputs;
    let mut words = zeros(count * stride);
    let mut scales = Vec::with_capacity(count);
    for (row, words) in x.chunks_exact(inputs).zip(words.chunks_exact_mut(stride)) {
        let (least, most) = extremes(row);
        let step = if most > least { (most - least) / 255.0 } else { 1.0 };
        let zero = (-least / step).round();
        let inverse = 1.0 / step;
        for (slot, value) in bytemuck::cast_slice_mut::<u32, T>(words).iter_mut().zip(row) {
            let integer = (value * inverse + zero).clamp(0.0, 255.0) + MAGIC;
            *slot = T::from(integer.to_bits() as u8);
        }
        scales.push(Scale { step, zero: zero as i32 });
    }
    (words, scales)
}

/// Zeros. `vec![0; n]` would ask for fresh pages, which costs more than writing to used ones.
#[allow(clippy::slow_vector_initialization, reason = "see above")]
fn zeros(count: usize) -> Vec<u32> {
    let mut words = Vec::with_capacity(count);
    words.resize(count, 0);
    words
}

/// Least and largest number of a row; zero is between them.
#[inline(always)]
fn extremes(row: &[f32]) -> (f32, f32) {
    // Several at a time, which a compiler does not do by itself where the order could matter.
    let (mut least, mut most) = ([0.0_f32; 16], [0.0_f32; 16]);
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for ((least, most), value) in least.iter_mut().zip(&mut most).zip(chunk) {
            *least = if *value < *least { *value } else { *least };
            *most = if *value > *most { *value } else { *most };
        }
    }
    let lowest = least.iter().chain(rest).fold(0.0, |a: f32, b| a.min(*b));
    let highest = most.iter().chain(rest).fold(0.0, |a: f32, b| a.max(*b));
    (lowest, highest)
}

/// The upper half of a float32, rounded to the nearest, to even between two.
#[inline(always)]
pub(super) fn round_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

//! What is done with a word of a row and a vector of words of weights.

use pulp::Simd;

use super::rows::Scale;
use crate::kernels::math::fma;

/// A way to multiply and add words.
pub(super) trait Arithmetic<S: Simd> {
    /// Sums, one for each column of a vector.
    type Sums: Copy;

    /// No sums yet.
    fn zero(simd: S) -> Self::Sums;

    /// Adds the products of a row's word with the weights.
    fn add(simd: S, sums: Self::Sums, word: u32, weights: S::u32s) -> Self::Sums;

    /// What the sums stand for. Columns' scales and sums of weights are those of [`Panels`](super::pack::Panels).
    fn value(simd: S, sums: Self::Sums, row: Option<Scale>, scales: &[f32], weights: &[i32]) -> S::f32s;
}

/// A word is a float32.
pub(super) struct Floats;

impl<S: Simd> Arithmetic<S> for Floats {
    type Sums = S::f32s;

    #[inline(always)]
    fn zero(simd: S) -> S::f32s {
        simd.splat_f32s(0.0)
    }

    #[inline(always)]
    fn add(simd: S, sums: S::f32s, word: u32, weights: S::u32s) -> S::f32s {
        fma(simd, simd.splat_f32s(f32::from_bits(word)), simd.transmute_f32s_u32s(weights), sums)
    }

    #[inline(always)]
    fn value(_: S, sums: S::f32s, _: Option<Scale>, _: &[f32], _: &[i32]) -> S::f32s {
        sums
    }
}

/// A word is two integers of 16 bits.
pub(super) struct Pairs;

impl<S: Simd> Arithmetic<S> for Pairs {
    type Sums = S::i32s;

    #[inline(always)]
    fn zero(simd: S) -> S::i32s {
        simd.splat_i32s(0)
    }

    #[inline(always)]
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "the portable sum needs no token"))]
    fn add(simd: S, sums: S::i32s, word: u32, weights: S::u32s) -> S::i32s {
        #[cfg(target_arch = "x86_64")]
        {
            use std::any::TypeId;
            use std::arch::x86_64::{_mm256_madd_epi16, _mm512_madd_epi16};
            let words = simd.splat_u32s(word);
            if TypeId::of::<S>() == TypeId::of::<pulp::x86::V4>() {
                // SAFETY: a `V4` is only there on a processor with AVX-512 BW; the vectors are as wide as the types.
                let products: S::i32s = unsafe { wide(_mm512_madd_epi16(wide(words), wide(weights))) };
                return simd.add_i32s(sums, products);
            }
            if TypeId::of::<S>() == TypeId::of::<pulp::x86::V3>() {
                // SAFETY: a `V3` is only there on a processor with AVX2; the vectors are as wide as the types.
                let products: S::i32s = unsafe { wide(_mm256_madd_epi16(wide(words), wide(weights))) };
                return simd.add_i32s(sums, products);
            }
        }
        let half = |word: u32, upper: bool| i32::from(((word >> (16 * u32::from(upper))) as u16).cast_signed());
        let (first, second) = (half(word, false), half(word, true));
        let mut sums = sums;
        let weights: &[u32] = bytemuck::cast_slice(std::slice::from_ref(&weights));
        for (sum, pair) in
            bytemuck::cast_slice_mut::<S::i32s, i32>(std::slice::from_mut(&mut sums)).iter_mut().zip(weights)
        {
            *sum += first * half(*pair, false) + second * half(*pair, true);
        }
        sums
    }

    #[inline(always)]
    fn value(simd: S, sums: S::i32s, row: Option<Scale>, scales: &[f32], weights: &[i32]) -> S::f32s {
        integers(simd, sums, row, scales, weights)
    }
}

/// From sums of integers to numbers.
#[inline(always)]
fn integers<S: Simd>(simd: S, sums: S::i32s, row: Option<Scale>, scales: &[f32], weights: &[i32]) -> S::f32s {
    let Scale { step, zero } = row.unwrap_or(Scale { step: 1.0, zero: 0 });
    let mut values = simd.splat_f32s(0.0);
    let sums: &[i32] = bytemuck::cast_slice(std::slice::from_ref(&sums));
    let numbers: &mut [f32] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut values));
    for (((number, sum), scale), weights) in numbers.iter_mut().zip(sums).zip(scales).zip(weights) {
        *number = (sum - zero * weights) as f32 * (step * scale);
    }
    values
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Bf16, Vnni};

#[cfg(target_arch = "x86_64")]
use x86::wide;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m512bh, __m512i, _mm512_dpbf16_ps, _mm512_dpbusd_epi32};

    use pulp::Simd;
    use pulp::x86::V4;

    use super::{Arithmetic, Scale, integers};

    /// The same bits as another type of the same width.
    #[inline(always)]
    pub(super) fn wide<A: bytemuck::NoUninit, B: bytemuck::AnyBitPattern>(a: A) -> B {
        bytemuck::cast(a)
    }

    /// A word is four integers of 8 bits: those of rows without, those of weights with a sign.
    /// Only for functions that are compiled for AVX-512 VNNI.
    pub(in super::super) struct Vnni;

    impl Arithmetic<V4> for Vnni {
        type Sums = <V4 as Simd>::i32s;

        #[inline(always)]
        fn zero(simd: V4) -> Self::Sums {
            simd.splat_i32s(0)
        }

        #[inline(always)]
        fn add(simd: V4, sums: Self::Sums, word: u32, weights: <V4 as Simd>::u32s) -> Self::Sums {
            let words: __m512i = wide(simd.splat_u32s(word));
            // SAFETY: the caller is compiled for these instructions, see above, and runs where they are.
            wide::<__m512i, _>(unsafe { _mm512_dpbusd_epi32(wide(sums), words, wide(weights)) })
        }

        #[inline(always)]
        fn value(
            simd: V4,
            sums: Self::Sums,
            row: Option<Scale>,
            scales: &[f32],
            weights: &[i32],
        ) -> <V4 as Simd>::f32s {
            integers(simd, sums, row, scales, weights)
        }
    }

    /// A word is two bfloat16. Only for functions that are compiled for AVX-512 BF16.
    pub(in super::super) struct Bf16;

    impl Arithmetic<V4> for Bf16 {
        type Sums = <V4 as Simd>::f32s;

        #[inline(always)]
        fn zero(simd: V4) -> Self::Sums {
            simd.splat_f32s(0.0)
        }

        #[inline(always)]
        fn add(simd: V4, sums: Self::Sums, word: u32, weights: <V4 as Simd>::u32s) -> Self::Sums {
            let pairs = |words: <V4 as Simd>::u32s| -> __m512bh {
                // SAFETY: both are 64 bytes in which every pattern is valid.
                unsafe { std::mem::transmute(wide::<_, __m512i>(words)) }
            };
            // SAFETY: the caller is compiled for these instructions, see above, and runs where they are.
            wide(unsafe { _mm512_dpbf16_ps(wide(sums), pairs(simd.splat_u32s(word)), pairs(weights)) })
        }

        #[inline(always)]
        fn value(_: V4, sums: Self::Sums, _: Option<Scale>, _: &[f32], _: &[i32]) -> <V4 as Simd>::f32s {
            sums
        }
    }
}

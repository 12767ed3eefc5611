//! What a transformer spends its time on, for the processor at hand.
//!
//! Each computation is written once, over vectors of any width, and compiled for AVX-512, AVX2 and plain code (NEON on
//! aarch64); which one runs is decided when a model is opened. [`VARIABLE`] takes a lower one than the processor has.
//!
//! What comes out for a row does not depend on the rows beside it, on their number or on the number of threads: sums are
//! always taken in the same order.
//!
//! This is the only place of the crate with `unsafe` code.
#![allow(unsafe_code, reason = "kernels write disjoint parts of one matrix from several threads, and use intrinsics")]

mod attention;
mod linear;
mod math;
mod norm;

pub(crate) use attention::{Shape, attention};
pub(crate) use linear::{Activation, Linear};
pub(crate) use norm::layer_norm;

use pulp::{Simd, WithSimd};

use crate::{ModelError, Precision};

/// The environment variable that names the instructions to use: `avx512`, `avx2`, `neon` or `plain`; `burn` stands for
/// none of these kernels.
pub(crate) const VARIABLE: &str = "ALLUVIUM_CPU";

/// Instructions to compute with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
    Plain,
}

impl Level {
    /// What this processor can do, the best first.
    pub(crate) fn available() -> Vec<Self> {
        let mut levels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(pulp::x86::V4::try_new().map(Self::Avx512));
            levels.extend(pulp::x86::V3::try_new().map(Self::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        levels.extend(pulp::aarch64::Neon::try_new().map(Self::Neon));
        levels.push(Self::Plain);
        levels
    }

    /// The level that the environment asks for, or the best; none if it asks for Burn's own operations.
    ///
    /// # Errors
    /// If it asks for one that there is not.
    pub(crate) fn choose() -> Result<Option<Self>, ModelError> {
        let levels = Self::available();
        let wanted = match std::env::var(VARIABLE) {
            Ok(name) if !name.is_empty() => name,
            _ => return Ok(levels.first().copied()),
        };
        match levels.iter().find(|level| level.name() == wanted) {
            Some(level) => Ok(Some(*level)),
            None if wanted == "burn" => Ok(None),
            None => Err(ModelError::Instructions { wanted, available: instructions().join(", ") }),
        }
    }

    /// The word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            Self::Plain => "plain",
        }
    }

    /// Numbers (f32) in a vector.
    pub(crate) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => 8,
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => 4,
            Self::Plain => 4,
        }
    }

    /// How weights of a precision are held and multiplied here.
    pub(crate) fn multiplies(self, precision: Precision) -> Multiplies {
        #[cfg(target_arch = "x86_64")]
        if let Self::Avx512(simd) = self {
            return match precision {
                Precision::Int8 if is_x86_feature_detected!("avx512vnni") => Multiplies::Vnni(simd),
                Precision::Bfloat16 if is_x86_feature_detected!("avx512bf16") => Multiplies::Bf16(simd),
                Precision::Int8 => Multiplies::Pairs,
                Precision::Float32 | Precision::Bfloat16 => Multiplies::Floats,
            };
        }
        match precision {
            Precision::Int8 => Multiplies::Pairs,
            Precision::Float32 | Precision::Bfloat16 => Multiplies::Floats,
        }
    }

    #[inline(always)]
    pub(crate) fn run<W: WithSimd>(self, work: W) -> W::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => Simd::vectorize(simd, work),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => Simd::vectorize(simd, work),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => Simd::vectorize(simd, work),
            Self::Plain => Simd::vectorize(pulp::Scalar128b, work),
        }
    }
}

/// What `ALLUVIUM_CPU` can be on this processor, the best first; `burn` stands for Burn's own operations.
pub fn instructions() -> Vec<&'static str> {
    Level::available().into_iter().map(Level::name).chain(["burn"]).collect()
}

/// How weights are held and multiplied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Multiplies {
    /// As float32; weights may have been rounded to bfloat16 before.
    Floats,
    /// As integers of 8 bits, two and two of them as integers of 16 bits.
    Pairs,
    /// As integers of 8 bits, four at a time.
    #[cfg(target_arch = "x86_64")]
    Vnni(pulp::x86::V4),
    /// As bfloat16, two at a time.
    #[cfg(target_arch = "x86_64")]
    Bf16(pulp::x86::V4),
}

/// A new matrix that several threads write to, each its own part. It is not set to zero before: that would cost as much
/// as the smaller computations.
#[derive(Clone, Copy)]
struct Out {
    start: *mut f32,
    length: usize,
}

// SAFETY: the pointer is only used through `store`, whose callers keep to parts of their own.
unsafe impl Send for Out {}
// SAFETY: as above.
unsafe impl Sync for Out {}

impl Out {
    /// A matrix of `length` numbers, written by `write`.
    ///
    /// # Safety
    /// `write` must store every number.
    unsafe fn fill(length: usize, write: impl FnOnce(Self)) -> Vec<f32> {
        let mut values: Vec<f32> = Vec::with_capacity(length);
        write(Self { start: values.as_mut_ptr(), length });
        // SAFETY: there is room for so many, and all have been stored, says the caller.
        unsafe { values.set_len(length) };
        values
    }

    /// Stores the first `count` numbers of a vector.
    ///
    /// # Safety
    /// The matrix must be alive, and nobody else may use these numbers meanwhile.
    #[inline(always)]
    unsafe fn store<S: Simd>(self, simd: S, at: usize, count: usize, values: S::f32s) {
        assert!(count <= S::F32_LANES && at + count <= self.length);
        // SAFETY: within the matrix, see above.
        let place = unsafe { self.start.add(at) };
        if count == S::F32_LANES {
            // SAFETY: as many numbers as the vector has are within the matrix, see above.
            unsafe { place.cast::<S::f32s>().write_unaligned(values) };
        } else {
            // SAFETY: only the first `count` are written, see above.
            unsafe { simd.mask_store_ptr_f32s(simd.mask_between_m32s(0, count as u32), place, values) };
        }
    }
}

/// Runs parts of a computation, on several threads of the current rayon pool if there are several.
fn parts(count: usize, run: impl Fn(usize) + Sync) {
    let run = &run;
    if count == 1 { run(0) } else { rayon::scope(|s| (0..count).for_each(|part| s.spawn(move |_| run(part)))) }
}

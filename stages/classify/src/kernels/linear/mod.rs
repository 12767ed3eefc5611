//! x · Wᵀ + bias, with what follows it: an activation, or the residual.
//!
//! The weights are packed once, in panels of two vectors' width, so that the inner loop reads them one after the other.
//! A tile of rows times a panel is computed in registers; the rows are read as they lie. Panels are taken in groups that
//! stay in the second-level cache while all rows pass. (Goto and van de Geijn, Anatomy of High-Performance Matrix
//! Multiplication, 2008, without the packing of rows: broadcasting a number of a row costs nothing beside the products.)
//!
//! Everything is counted in words of 32 bits, which hold one float32, two bfloat16 or 16-bit integers, or four 8-bit
//! integers of neighbouring inputs: the loops are the same, only the arithmetic on a word differs.

mod arithmetic;
mod pack;
mod product;
mod rows;

pub(crate) use product::Activation;

use pulp::{Simd, WithSimd};

use super::{Level, Multiplies, Out, parts};
use crate::Precision;
use arithmetic::{Floats, Pairs};
use pack::Panels;
use product::{Epilogue, Product};
use rows::Rows;

/// A dense layer.
pub(crate) struct Linear {
    level: Level,
    multiplies: Multiplies,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    panels: Panels,
    /// As wide as the panels.
    bias: Vec<f32>,
}

impl Linear {
    /// Packs a weight `[outputs, inputs]` and a bias `[outputs]`.
    pub(crate) fn new(level: Level, precision: Precision, weight: &[f32], bias: &[f32]) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        let multiplies = level.multiplies(precision);
        let panels = Panels::pack(weight, inputs, 2 * level.lanes(), multiplies, precision);
        let mut padded = bias.to_vec();
        padded.resize(panels.columns(), 0.0);
        Self { level, multiplies, inputs, outputs, panels, bias: padded }
    }

    /// Bytes of the packed weights.
    pub(crate) fn bytes(&self) -> usize {
        self.panels.bytes()
    }

    /// `activation(x · Wᵀ + bias) + residual`, on `threads` threads of the current rayon pool.
    ///
    /// `x` is `[rows, inputs]`, the residual and what comes out are `[rows, outputs]`.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        activation: Activation,
        residual: Option<&[f32]>,
        threads: usize,
    ) -> Vec<f32> {
        let count = x.len() / self.inputs;
        let length = count * self.outputs;
        assert!(x.len() == count * self.inputs && residual.is_none_or(|r| r.len() == length));
        let rows = self.level.run(Prepare { x, inputs: self.inputs, multiplies: self.multiplies });
        let panels = self.panels.count();
        let threads = threads.clamp(1, panels.max(1));
        let write = |out: Out| {
            let epilogue = Epilogue { bias: &self.bias, activation, residual, outputs: self.outputs, out };
            parts(threads, |part| {
                let range = (part * panels / threads)..((part + 1) * panels / threads);
                self.multiply(Product { panels: &self.panels, rows: &rows, count, epilogue: &epilogue, range });
            });
        };
        // SAFETY: the parts have all panels between them, which have all columns, and each goes through all rows.
        unsafe { Out::fill(length, write) }
    }

    fn multiply(&self, product: Product<'_>) {
        match self.multiplies {
            Multiplies::Floats => self.level.run(WithFloats(product)),
            Multiplies::Pairs => self.level.run(WithPairs(product)),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Level::multiplies` gives this only where the processor has both instruction sets.
            Multiplies::Vnni(simd) => unsafe { with_vnni(simd, &product) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Multiplies::Bf16(simd) => unsafe { with_bf16(simd, &product) },
        }
    }
}

struct Prepare<'a> {
    x: &'a [f32],
    inputs: usize,
    multiplies: Multiplies,
}

impl<'a> WithSimd for Prepare<'a> {
    type Output = Rows<'a>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Rows<'a> {
        Rows::prepare(self.x, self.inputs, self.multiplies)
    }
}

struct WithFloats<'a>(Product<'a>);

impl WithSimd for WithFloats<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, Floats>(simd);
    }
}

struct WithPairs<'a>(Product<'a>);

impl WithSimd for WithPairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run::<S, Pairs>(simd);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn with_vnni(simd: pulp::x86::V4, product: &Product<'_>) {
    product.run::<_, arithmetic::Vnni>(simd);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
fn with_bf16(simd: pulp::x86::V4, product: &Product<'_>) {
    product.run::<_, arithmetic::Bf16>(simd);
}

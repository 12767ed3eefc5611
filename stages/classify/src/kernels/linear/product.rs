//! The loops: tiles of rows times panels of weights, and what is applied to the sums.

use std::ops::Range;

use pulp::Simd;

use super::arithmetic::Arithmetic;
use super::pack::Panels;
use super::rows::Rows;
use crate::kernels::{Out, math};

/// Bytes of packed weights that are used on all rows before the next are.
const GROUP_BYTES: usize = 384 * 1024;

/// What is applied to the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// Nothing.
    None,
    /// x / 2 * (1 + erf(x / sqrt 2)).
    Gelu,
    /// The same with tanh in place of erf.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// tanh(x).
    Tanh,
}

/// Some panels times all rows.
pub(super) struct Product<'a> {
    pub(super) panels: &'a Panels,
    pub(super) rows: &'a Rows<'a>,
    /// Number of rows.
    pub(super) count: usize,
    pub(super) epilogue: &'a Epilogue<'a>,
    /// Which panels. No two products have the same.
    pub(super) range: Range<usize>,
}

/// What becomes of the sums.
pub(super) struct Epilogue<'a> {
    pub(super) bias: &'a [f32],
    pub(super) activation: Activation,
    pub(super) residual: Option<&'a [f32]>,
    /// Columns of `out` and `residual`.
    pub(super) outputs: usize,
    pub(super) out: Out,
}

impl Product<'_> {
    #[inline(always)]
    pub(super) fn run<S: Simd, A: Arithmetic<S>>(&self, simd: S) {
        // As many rows as leave registers for two vectors of weights and one number: of 32 registers, or of 16.
        let tile = match S::F32_LANES {
            16 => 14,
            4 if cfg!(target_arch = "aarch64") => 12,
            _ => 6,
        };
        let blocks = self.count.div_ceil(tile).max(1);
        let (base, extra) = (self.count / blocks, self.count % blocks);
        let panel_bytes = self.panels.groups * self.panels.width * size_of::<u32>();
        let group = (GROUP_BYTES / panel_bytes.max(1)).max(1);
        let mut first = self.range.start;
        while first < self.range.end {
            let last = (first + group).min(self.range.end);
            let mut row = 0;
            for block in 0..blocks {
                let rows = base + usize::from(block < extra);
                for panel in first..last {
                    self.dispatch::<S, A>(simd, rows, row, panel);
                }
                row += rows;
            }
            first = last;
        }
    }

    #[inline(always)]
    fn dispatch<S: Simd, A: Arithmetic<S>>(&self, simd: S, rows: usize, row: usize, panel: usize) {
        match rows {
            1 => self.tile::<S, A, 1>(simd, row, panel),
            2 => self.tile::<S, A, 2>(simd, row, panel),
            3 => self.tile::<S, A, 3>(simd, row, panel),
            4 => self.tile::<S, A, 4>(simd, row, panel),
            5 => self.tile::<S, A, 5>(simd, row, panel),
            6 => self.tile::<S, A, 6>(simd, row, panel),
            _ if S::F32_LANES == 8 => {}
            7 => self.tile::<S, A, 7>(simd, row, panel),
            8 => self.tile::<S, A, 8>(simd, row, panel),
            9 => self.tile::<S, A, 9>(simd, row, panel),
            10 => self.tile::<S, A, 10>(simd, row, panel),
            11 => self.tile::<S, A, 11>(simd, row, panel),
            12 => self.tile::<S, A, 12>(simd, row, panel),
            13 => self.tile::<S, A, 13>(simd, row, panel),
            14 => self.tile::<S, A, 14>(simd, row, panel),
            _ => {}
        }
    }

    #[inline(always)]
    fn tile<S: Simd, A: Arithmetic<S>, const ROWS: usize>(&self, simd: S, row: usize, panel: usize) {
        let Panels { groups, width, .. } = *self.panels;
        let weights = S::as_simd_u32s(self.panels.panel(panel)).0.as_chunks::<2>().0;
        let (words, stride) = (self.rows.tile(row), self.rows.stride);
        assert!(weights.len() == groups && width == 2 * S::F32_LANES);
        assert!(groups <= stride && words.len() >= (ROWS - 1) * stride + groups);
        let mut sums = [[A::zero(simd); 2]; ROWS];
        for (group, [left, right]) in weights.iter().enumerate() {
            for (r, sum) in sums.iter_mut().enumerate() {
                // SAFETY: r < ROWS and group < groups, and there are words of so many rows, see above.
                let word = unsafe { *words.get_unchecked(r * stride + group) };
                sum[0] = A::add(simd, sum[0], word, *left);
                sum[1] = A::add(simd, sum[1], word, *right);
            }
        }
        let column = panel * width;
        for half in 0..2 {
            let at = column + half * S::F32_LANES;
            let scales = self.panels.scales.get(at..at + S::F32_LANES).unwrap_or_default();
            let weights = self.panels.sums.get(at..at + S::F32_LANES).unwrap_or_default();
            for (r, sum) in sums.iter().enumerate() {
                let scale = self.rows.scales.get(row + r).copied();
                let value = A::value(simd, sum[half], scale, scales, weights);
                self.epilogue.apply(simd, row + r, at, value);
            }
        }
    }
}

impl Epilogue<'_> {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, row: usize, column: usize, sums: S::f32s) {
        let count = S::F32_LANES.min(self.outputs.saturating_sub(column));
        if count == 0 {
            return;
        }
        let value = simd.add_f32s(sums, S::as_simd_f32s(&self.bias[column..][..S::F32_LANES]).0[0]);
        let value = match self.activation {
            Activation::None => value,
            Activation::Gelu => math::gelu(simd, value),
            Activation::GeluTanh => math::gelu_tanh(simd, value),
            Activation::Relu => simd.max_f32s(value, simd.splat_f32s(0.0)),
            Activation::Tanh => math::tanh(simd, value),
        };
        let at = row * self.outputs + column;
        let value = match self.residual.map(|residual| &residual[at..][..count]) {
            Some(residual) if count == S::F32_LANES => simd.add_f32s(value, S::as_simd_f32s(residual).0[0]),
            Some(residual) => simd.add_f32s(value, simd.partial_load_f32s(residual)),
            None => value,
        };
        // SAFETY: rows and columns of this tile belong to this product alone, and `Linear::forward`, which has the
        // matrix, waits for all products.
        unsafe { self.out.store(simd, at, count, value) };
    }
}

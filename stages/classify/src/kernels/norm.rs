//! Layer normalisation.

use pulp::{Simd, WithSimd};

use super::Level;
use super::math::fma;

/// Normalises each row of `x` (rows of `gamma.len()` numbers) to mean 0 and variance 1, then scales and shifts it.
pub(crate) fn layer_norm(level: Level, x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    level.run(LayerNorm { x, gamma, beta, epsilon });
}

struct LayerNorm<'a> {
    x: &'a mut [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.gamma.len();
        let (gamma, gamma_rest) = S::as_simd_f32s(self.gamma);
        let (beta, beta_rest) = S::as_simd_f32s(self.beta);
        for row in self.x.chunks_exact_mut(width) {
            let (vectors, rest) = S::as_mut_simd_f32s(row);
            let mut sum = simd.splat_f32s(0.0);
            for v in &*vectors {
                sum = simd.add_f32s(sum, *v);
            }
            let mean = (simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()) / width as f32;
            let means = simd.splat_f32s(mean);
            let mut squares = simd.splat_f32s(0.0);
            for v in &*vectors {
                let d = simd.sub_f32s(*v, means);
                squares = fma(simd, d, d, squares);
            }
            let squares = simd.reduce_sum_f32s(squares) + rest.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>();
            let scale = 1.0 / (squares / width as f32 + self.epsilon).sqrt();
            let scales = simd.splat_f32s(scale);
            for ((v, g), b) in vectors.iter_mut().zip(gamma).zip(beta) {
                let d = simd.mul_f32s(simd.sub_f32s(*v, means), scales);
                *v = fma(simd, d, *g, *b);
            }
            for ((v, g), b) in rest.iter_mut().zip(gamma_rest).zip(beta_rest) {
                *v = (*v - mean) * scale * g + b;
            }
        }
    }
}

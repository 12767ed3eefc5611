//! Functions of a vector of numbers.

use std::any::TypeId;

use pulp::Simd;

/// a * b + c; in plain code in two steps, since one is a call of the C library there.
#[inline(always)]
pub(super) fn fma<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if TypeId::of::<S>() == TypeId::of::<pulp::Scalar128b>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// e^x to about 1 ulp for x <= 0 down to -87, below that 0 or nearly so. (Cephes' `expf`.)
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let c = |v: f32| simd.splat_f32s(v);
    let x = simd.max_f32s(x, c(-87.0));
    let x = simd.min_f32s(x, c(88.0));
    // Adding and taking off 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    let magic = c(12_582_912.0);
    let shifted = fma(simd, x, c(std::f32::consts::LOG2_E), magic);
    let n = simd.sub_f32s(shifted, magic);
    let r = fma(simd, n, c(-0.693_359_4), x);
    let r = fma(simd, n, c(2.121_944_4e-4), r);
    let mut p = c(1.987_569_1e-4);
    for k in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1] {
        p = fma(simd, p, r, c(k));
    }
    let y = simd.add_f32s(fma(simd, p, simd.mul_f32s(r, r), r), c(1.0));
    // Times 2^n: the exponent of y is between 126 and 127, that of the product not below 0.
    let n = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(y), n))
}

/// x / 2 * (1 + erf(x / sqrt 2)), with a rational erf whose error stays below 1e-6 (coefficients as in Eigen).
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let c = |v: f32| simd.splat_f32s(v);
    let z = simd.mul_f32s(x, c(std::f32::consts::FRAC_1_SQRT_2));
    let z = simd.max_f32s(simd.min_f32s(z, c(4.0)), c(-4.0));
    let z2 = simd.mul_f32s(z, z);
    let mut a = c(-2.726_142_3e-10);
    for k in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2] {
        a = fma(simd, a, z2, c(k));
    }
    let mut b = c(-1.456_607_2e-5);
    for k in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        b = fma(simd, b, z2, c(k));
    }
    let erf = simd.div_f32s(simd.mul_f32s(z, a), b);
    let half = simd.mul_f32s(x, c(0.5));
    fma(simd, half, erf, half)
}

/// tanh(x) from e^-2|x|.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let c = |v: f32| simd.splat_f32s(v);
    let sign = simd.and_f32s(x, c(-0.0));
    let e = exp(simd, simd.mul_f32s(simd.abs_f32s(x), c(-2.0)));
    let t = simd.div_f32s(simd.sub_f32s(c(1.0), e), simd.add_f32s(c(1.0), e));
    simd.or_f32s(t, sign)
}

/// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
#[inline(always)]
pub(super) fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let c = |v: f32| simd.splat_f32s(v);
    let cube = simd.mul_f32s(simd.mul_f32s(x, x), x);
    let inner = simd.mul_f32s(fma(simd, cube, c(0.044_715), x), c(0.797_884_6));
    let half = simd.mul_f32s(x, c(0.5));
    fma(simd, half, tanh(simd, inner), half)
}

//! Sums of floating point numbers that do not depend on the order: exact until they are rounded once.
//!
//! A double is an integer of 53 bits times a power of two. Such integers are added up in buckets of 32 binary places,
//! each 128 bits wide, so up to 2^43 numbers cannot overflow one. Taking a number away again leaves nothing behind.
//! The idea is that of the long accumulator (Kulisch), kept sparse: most columns touch two or three buckets.

use num_bigint::{BigInt, Sign};
use serde::{Deserialize, Serialize};

/// Places per bucket.
const BUCKET_BITS: u32 = 32;
/// The least exponent of a double's last bit.
const LEAST_EXPONENT: i32 = -1074;

/// An exact sum.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ExactSum {
    /// Bucket number and content, by number; none is zero.
    buckets: Vec<(u8, i128)>,
    not_a_number: i64,
    infinite: i64,
    minus_infinite: i64,
}

impl ExactSum {
    pub(crate) fn of(value: f64) -> Self {
        let mut sum = Self::default();
        if value.is_nan() {
            sum.not_a_number = 1;
        } else if value == f64::INFINITY {
            sum.infinite = 1;
        } else if value == f64::NEG_INFINITY {
            sum.minus_infinite = 1;
        } else if value != 0.0 {
            let (mantissa, exponent) = parts(value);
            // Exponents begin at the least one, so the place is not negative and below 2100.
            let place = u32::try_from(exponent - LEAST_EXPONENT).unwrap_or(0);
            let bucket = u8::try_from(place / BUCKET_BITS).unwrap_or(u8::MAX);
            sum.buckets.push((bucket, i128::from(mantissa) << (place % BUCKET_BITS)));
        }
        sum
    }

    /// The sum of the square, exact: what a double loses of it is added as well.
    pub(crate) fn of_square(value: f64) -> Self {
        let square = value * value;
        let mut sum = Self::of(square);
        if square.is_finite() {
            sum.add(&Self::of(value.mul_add(value, -square)));
        }
        sum
    }

    /// The sum of so many of these.
    #[must_use]
    pub(crate) fn times(&self, n: i64) -> Self {
        if n == 0 {
            return Self::default();
        }
        Self {
            buckets: self.buckets.iter().map(|(bucket, content)| (*bucket, content * i128::from(n))).collect(),
            not_a_number: self.not_a_number * n,
            infinite: self.infinite * n,
            minus_infinite: self.minus_infinite * n,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (bucket, content) in &other.buckets {
            match self.buckets.binary_search_by_key(bucket, |b| b.0) {
                Ok(at) => {
                    self.buckets[at].1 += content;
                    if self.buckets[at].1 == 0 {
                        self.buckets.remove(at);
                    }
                }
                Err(at) => self.buckets.insert(at, (*bucket, *content)),
            }
        }
        self.not_a_number += other.not_a_number;
        self.infinite += other.infinite;
        self.minus_infinite += other.minus_infinite;
    }

    /// The nearest double.
    pub(crate) fn value(&self) -> f64 {
        self.special().unwrap_or_else(|| round(&self.total()))
    }

    /// Infinite, or no number.
    fn special(&self) -> Option<f64> {
        if self.not_a_number != 0 || (self.infinite != 0 && self.minus_infinite != 0) {
            return Some(f64::NAN);
        }
        if self.infinite != 0 {
            return Some(f64::INFINITY);
        }
        (self.minus_infinite != 0).then_some(f64::NEG_INFINITY)
    }

    /// In units of the least exponent.
    fn total(&self) -> BigInt {
        let bucket = |(bucket, content): &(u8, i128)| BigInt::from(*content) << (u32::from(*bucket) * BUCKET_BITS);
        self.buckets.iter().map(bucket).sum()
    }
}

/// The sample variance of `n` numbers with this sum and sum of squares: without cancellation, as everything is exact up to
/// the last division.
pub(crate) fn variance(sum: &ExactSum, squares: &ExactSum, n: i64) -> f64 {
    if let (None, Some(infinite)) = (sum.special(), squares.special()) {
        return infinite;
    }
    if sum.special().is_some() {
        return f64::NAN;
    }
    let total = sum.total();
    // n * sum of squares - square of the sum, in units of the square of the least exponent.
    let deviation: BigInt = (squares.total() << LEAST_EXPONENT.unsigned_abs()) * n - &total * &total;
    ratio(&deviation, &(BigInt::from(n) * (n - 1)))
}

/// `a * 2^(2 * least exponent) / b`, to 60 places.
fn ratio(a: &BigInt, b: &BigInt) -> f64 {
    let bits = |n: &BigInt| i64::try_from(n.bits()).unwrap_or(i64::MAX);
    let shift = 60 + bits(b) - bits(a);
    let quotient = if shift >= 0 { (a << shift) / b } else { (a >> -shift) / b };
    let places = 2 * i64::from(LEAST_EXPONENT) - shift;
    let exp2 = |e: i64| 2.0_f64.powi(i32::try_from(e).unwrap_or(i32::MIN));
    // In steps, as no double holds such a power of two.
    i64::try_from(&quotient).map_or(f64::NAN, |q| {
        let first = places.clamp(-1000, 1000);
        let second = (places - first).clamp(-1000, 1000);
        q as f64 * exp2(first) * exp2(second) * exp2(places - first - second)
    })
}

/// Mantissa with sign, and the exponent of its last bit.
fn parts(value: f64) -> (i64, i32) {
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or(0);
    let fraction = (bits & 0x000f_ffff_ffff_ffff).cast_signed();
    let (mantissa, exponent) =
        if exponent == 0 { (fraction, LEAST_EXPONENT) } else { (fraction | 1 << 52, exponent - 1075) };
    (if value < 0.0 { -mantissa } else { mantissa }, exponent)
}

/// `total * 2^-1074`, rounded to the nearest double, ties to even.
fn round(total: &BigInt) -> f64 {
    let magnitude = total.magnitude();
    let bits = i64::try_from(magnitude.bits()).unwrap_or(i64::MAX);
    // 53 bits are kept; a double has no places below the least exponent, which is place 0 here.
    let drop = (bits - 53).max(0);
    let mut kept = (magnitude >> drop).iter_u64_digits().next().unwrap_or(0);
    if drop > 0 {
        let half = num_bigint::BigUint::from(1_u8) << (drop - 1);
        let rest = magnitude - ((magnitude >> drop) << drop);
        if rest > half || (rest == half && kept % 2 == 1) {
            kept += 1;
        }
    }
    let exponent = drop + i64::from(LEAST_EXPONENT);
    let sign = if total.sign() == Sign::Minus { -1.0 } else { 1.0 };
    // Powers of two are exact; in two steps, as 2^1074 is no double.
    let first = exponent.clamp(-1000, 1000);
    let exp2 = |e: i64| 2.0_f64.powi(i32::try_from(e).unwrap_or(i32::MAX));
    sign * (kept as f64) * exp2(first) * exp2(exponent - first)
}

#[cfg(test)]
mod tests {
    use super::{ExactSum, variance};

    fn sum(values: &[f64]) -> f64 {
        let mut total = ExactSum::default();
        values.iter().for_each(|v| total.add(&ExactSum::of(*v)));
        total.value()
    }

    #[test]
    fn single_values_come_back() {
        for value in
            [0.0, 1.0, -1.5, 0.1, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -5e-324, 1e300, 123_456_789.123_456_79]
        {
            assert_eq!(sum(&[value]).to_bits(), (value + 0.0).to_bits(), "{value}");
        }
        assert!(sum(&[f64::NAN, 1.0]).is_nan());
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn nothing_is_lost_and_order_does_not_matter() {
        assert_eq!(sum(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        let mut values: Vec<f64> = (1..1000).map(|i| 1.0 / f64::from(i)).collect();
        let forward = sum(&values);
        values.reverse();
        assert_eq!(forward.to_bits(), sum(&values).to_bits());
    }

    #[test]
    fn the_variance_of_numbers_far_from_zero_is_exact() {
        let of = |values: &[f64]| {
            let (mut sum, mut squares) = (ExactSum::default(), ExactSum::default());
            values.iter().for_each(|v| sum.add(&ExactSum::of(*v)));
            values.iter().for_each(|v| squares.add(&ExactSum::of_square(*v)));
            variance(&sum, &squares, values.len() as i64)
        };
        assert_eq!(of(&[1.0, 2.0, 3.0, 4.0]), 5.0 / 3.0);
        assert_eq!(of(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0]), 1.0);
        assert_eq!(of(&[0.1; 7]), 0.0);
        assert_eq!(of(&[1e-170, 3e-170]), 0.0, "below the least double");
        assert_eq!(of(&[1e150, -1e150]), 2.0 * (1e150 * 1e150));
        assert!(of(&[1.0, f64::INFINITY]).is_nan());
    }

    #[test]
    fn taking_away_leaves_nothing() {
        let mut total = ExactSum::of(0.1);
        total.add(&ExactSum::of(1e-300));
        total.add(&ExactSum::of(-0.1));
        total.add(&ExactSum::of(-1e-300));
        assert_eq!(total, ExactSum::default());
    }
}

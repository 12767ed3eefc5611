//! Numbers in buckets: for histograms, and for quantiles that may be off by a hundredth.

use super::definition::Function;

/// Into which bucket a number falls.
#[derive(Debug, Clone)]
pub(crate) enum Buckets {
    /// Between neighbouring bounds; 0 is below the first.
    Between(Vec<f64>),
    /// Buckets that grow with the size of the number, so that the middle of one is off by a hundredth at most (the mapping
    /// of DDSketch: Masson, Rim, Lee, VLDB 2019).
    Logarithmic,
}

/// `ln((1 + a) / (1 - a))` for a relative error `a` of 0.01.
const LOG_GAMMA: f64 = 0.020_000_666_706_669_435;
/// Makes the bucket of the least double positive: its logarithm is -744.4.
const SHIFT: i32 = 40_000;
const NOT_A_NUMBER: i32 = i32::MAX;
const INFINITE: i32 = i32::MAX - 1;

impl Buckets {
    pub(crate) fn of(function: &Function) -> Self {
        match function {
            Function::Histogram { bounds } => Self::Between(bounds.clone()),
            _ => Self::Logarithmic,
        }
    }

    pub(crate) fn bucket(&self, value: f64) -> i32 {
        match self {
            Self::Between(bounds) => {
                let below = if value.is_nan() { bounds.len() } else { bounds.partition_point(|b| *b <= value) };
                i32::try_from(below).unwrap_or(i32::MAX)
            }
            Self::Logarithmic if value.is_nan() => NOT_A_NUMBER,
            Self::Logarithmic if value == 0.0 => 0,
            Self::Logarithmic => {
                let size =
                    if value.is_infinite() { INFINITE } else { (value.abs().ln() / LOG_GAMMA).ceil() as i32 + SHIFT };
                if value < 0.0 { -size } else { size }
            }
        }
    }
}

/// The middle of a logarithmic bucket.
fn middle(bucket: i32) -> f64 {
    match bucket.abs() {
        0 => 0.0,
        NOT_A_NUMBER => f64::NAN,
        INFINITE => f64::INFINITY.copysign(f64::from(bucket)),
        size => {
            (f64::from(size - SHIFT) * LOG_GAMMA).exp() * (2.0 / (LOG_GAMMA.exp() + 1.0)) * f64::from(bucket.signum())
        }
    }
}

/// The value below which the share `at` of all values lies; counts by logarithmic bucket, ascending.
pub(crate) fn quantile(counts: &[(i32, i64)], at: f64) -> Option<f64> {
    let all: i64 = counts.iter().map(|(_, n)| n).sum();
    let rank = (at * (all - 1) as f64).round() as i64;
    let mut before = 0;
    let found = counts.iter().find(|(_, n)| {
        before += n;
        before > rank
    });
    found.filter(|_| all > 0).map(|(bucket, _)| middle(*bucket))
}

#[cfg(test)]
mod tests {
    use super::{Buckets, middle, quantile};

    #[test]
    fn the_middle_of_a_bucket_is_within_a_hundredth() {
        let mut value = 1e-300;
        while value < 1e308 {
            for signed in [value, -value] {
                let found = middle(Buckets::Logarithmic.bucket(signed));
                assert!((found - signed).abs() <= signed.abs() * 0.010_001, "{signed} {found}");
            }
            value *= 1.37;
        }
        for value in [0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(middle(Buckets::Logarithmic.bucket(value)), value);
        }
        assert!(middle(Buckets::Logarithmic.bucket(f64::NAN)).is_nan());
    }

    #[test]
    fn quantiles_of_buckets() {
        let mut counts: Vec<(i32, i64)> = (1..=1000).map(|v| (Buckets::Logarithmic.bucket(f64::from(v)), 1)).collect();
        counts.dedup_by(|b, a| {
            a.0 == b.0 && {
                a.1 += b.1;
                true
            }
        });
        for at in [0.0, 0.1, 0.5, 0.9, 0.99, 1.0] {
            let exact = 1.0 + at * 999.0;
            let found = quantile(&counts, at).unwrap();
            assert!((found - exact).abs() <= exact * 0.011 + 0.5, "{at}: {found} {exact}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_bound_belongs_to_what_lies_above_it() {
        let between = Buckets::Between(vec![0.0, 10.0, 20.0]);
        let buckets = [-1.0, 0.0, 9.9, 10.0, 20.0, f64::NAN].map(|v| between.bucket(v));
        assert_eq!(buckets, [0, 1, 1, 2, 3, 3]);
    }
}

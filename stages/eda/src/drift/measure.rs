//! How far two distributions over the same bins are apart.

/// Shares are taken for at least this in the population stability index, which has no value for an empty bin.
pub(super) const LEAST_SHARE: f64 = 1e-4;

/// Parts of the whole.
pub(super) fn shares(counts: &[i64]) -> Vec<f64> {
    let all: i64 = counts.iter().sum();
    counts.iter().map(|n| if all == 0 { 0.0 } else { *n as f64 / all as f64 }).collect()
}

/// Population stability index: the sum over bins of `(a - b) * ln(a / b)`.
pub(super) fn psi(now: &[f64], before: &[f64]) -> f64 {
    let floor = |share: &f64| share.max(LEAST_SHARE);
    now.iter().map(floor).zip(before.iter().map(floor)).map(|(a, b)| (a - b) * (a / b).ln()).sum()
}

/// Jensen-Shannon distance: the root of the divergence with logarithms to base 2, from 0 to 1.
pub(super) fn js_distance(now: &[f64], before: &[f64]) -> f64 {
    let part = |a: f64, middle: f64| if a > 0.0 { a * (a / middle).log2() } else { 0.0 };
    let both = |(a, b): (&f64, &f64)| {
        let middle = f64::midpoint(*a, *b);
        f64::midpoint(part(*a, middle), part(*b, middle))
    };
    now.iter().zip(before).map(both).sum::<f64>().clamp(0.0, 1.0).sqrt()
}

/// The bin whose share has moved most; of several the first.
pub(super) fn largest(now: &[f64], before: &[f64]) -> Option<usize> {
    let moved = now.iter().zip(before).map(|(a, b)| (a - b).abs()).enumerate();
    moved.reduce(|most, next| if next.1 > most.1 { next } else { most }).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_distributions_are_not_apart_and_disjoint_ones_are_all_apart() {
        let (a, b) = ([0.5, 0.5, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!((psi(&a, &a), js_distance(&a, &a), largest(&a, &a)), (0.0, 0.0, Some(0)));
        assert!((js_distance(&a, &b) - 1.0).abs() < 1e-12);
        assert_eq!(largest(&a, &b), Some(2));
        let expected =
            2.0 * (0.5 - LEAST_SHARE) * (0.5 / LEAST_SHARE).ln() + (1.0 - LEAST_SHARE) * (1.0 / LEAST_SHARE).ln();
        assert!((psi(&a, &b) - expected).abs() < 1e-12);
    }
}

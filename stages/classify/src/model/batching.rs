//! Which sequences are computed together.

/// Most tokens of a sub-batch, padding included: enough rows for the matrix products to run at full speed, few enough
/// that what lies between two layers stays near the caches.
const BUDGET: usize = 1_024;

/// Below this many tokens padding costs less than one more pass over the weights.
const SMALL: usize = 128;

/// Splits sequences of the given lengths into sub-batches of similar length.
///
/// Returns indices into `lengths`, each exactly once. A sub-batch is padded to its longest sequence; its padded size is
/// at most `BUDGET` tokens unless a single sequence is longer, and unless it is small at most a quarter of it is padding.
/// The same lengths always give the same sub-batches.
pub(crate) fn sub_batches(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<(usize, usize)> = lengths.iter().copied().zip(0..).collect();
    order.sort_unstable();
    let mut done = Vec::new();
    let mut current = Vec::new();
    let mut tokens = 0;
    for (length, index) in order {
        // Lengths ascend, so this sequence would be the longest and set the width.
        let padded = length * (current.len() + 1);
        let waste = padded - tokens - length;
        if !current.is_empty() && (padded > BUDGET || (padded > SMALL && waste * 4 > padded)) {
            done.push(std::mem::take(&mut current));
            tokens = 0;
        }
        tokens += length;
        current.push(index);
    }
    if !current.is_empty() {
        done.push(current);
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(batch: &[usize], lengths: &[usize]) -> usize {
        batch.len() * batch.iter().map(|&i| lengths[i]).max().unwrap()
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(sub_batches(&[]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn every_sequence_is_in_one_sub_batch_within_the_budget() {
        let lengths: Vec<usize> = (0..1_000).map(|i| 2 + (i * 7_919) % 127).collect();
        let batches = sub_batches(&lengths);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1_000).collect::<Vec<_>>());
        for batch in &batches {
            let (padded, real) = (padded(batch, &lengths), batch.iter().map(|&i| lengths[i]).sum::<usize>());
            assert!(padded <= BUDGET);
            assert!(padded <= SMALL || (padded - real) * 4 <= padded);
        }
        // Padding stays a small part of the whole, and sub-batches are well filled.
        let all: usize = batches.iter().map(|batch| padded(batch, &lengths)).sum();
        assert!(all < lengths.iter().sum::<usize>() * 21 / 20, "{all}");
        assert!(batches.len() < 2 * all / BUDGET + 2, "{}", batches.len());
    }

    #[test]
    fn a_sequence_above_the_budget_stands_alone() {
        assert_eq!(sub_batches(&[BUDGET + 1, 3, BUDGET + 1]), [vec![1], vec![0], vec![2]]);
    }

    #[test]
    fn equal_lengths_keep_their_order() {
        assert_eq!(sub_batches(&[5, 5, 5]), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_long_one_does_not_stretch_many_short_ones() {
        let mut lengths = vec![4; 40];
        lengths.push(128);
        assert_eq!(sub_batches(&lengths), [(0..40).collect::<Vec<_>>(), vec![40]]);
    }
}

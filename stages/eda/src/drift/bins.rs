//! Values in bins: how a baseline is cut, and in which bin a row falls.

use std::cmp::Reverse;
use std::collections::HashMap;

use alluvium_engine::arrow::array::{ArrayRef, AsArray};
use alluvium_engine::arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};

use crate::aggregate::Definition;

/// So many categories have a bin of their own.
const MOST_CATEGORIES: usize = 20;

/// What values are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measured {
    Category,
    Number,
}

impl Measured {
    /// By their type; nothing if they are neither.
    pub(super) fn of(found: &DataType) -> Option<Self> {
        match found {
            DataType::Utf8 | DataType::Boolean => Some(Self::Category),
            number if number.is_numeric() => Some(Self::Number),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Category => "categories",
            Self::Number => "numbers",
        }
    }

    /// An expression in the type in which its values are put into bins. What is no number is NULL.
    pub(super) fn cast(self, expression: &str) -> String {
        match self {
            Self::Category => format!("CAST(({expression}) AS VARCHAR)"),
            Self::Number => format!("nullif(CAST(({expression}) AS DOUBLE), CAST('NaN' AS DOUBLE))"),
        }
    }
}

/// The bins of a column. After them come NULLs, which have a bin of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bins {
    /// One for each of these texts, one for all others.
    Categories(Vec<String>),
    /// Below the first of these ascending numbers, between neighbours, from the last one on. As texts: some readers of JSON
    /// do not give back every digit.
    Bounds(Vec<String>),
}

/// All values of a column of the baseline.
pub(super) enum Values {
    Categories(HashMap<String, i64>),
    Numbers(Vec<f64>),
}

impl Values {
    pub(super) fn new(measured: Measured) -> Self {
        match measured {
            Measured::Category => Self::Categories(HashMap::new()),
            Measured::Number => Self::Numbers(Vec::new()),
        }
    }

    /// Takes a column that was made by [`Measured::cast`].
    pub(super) fn add(&mut self, column: &ArrayRef) {
        match self {
            Self::Categories(counts) => {
                for text in column.as_string::<i32>().iter().flatten() {
                    match counts.get_mut(text) {
                        Some(n) => *n += 1,
                        None => drop(counts.insert(text.to_owned(), 1)),
                    }
                }
            }
            Self::Numbers(numbers) => numbers.extend(column.as_primitive::<Float64Type>().iter().flatten()),
        }
    }

    /// The bins, and how many values of `rows` rows fall into each.
    pub(super) fn binned(self, rows: i64) -> (Bins, Vec<i64>) {
        let (bins, mut counts) = match self {
            Self::Categories(all) => categories(all),
            Self::Numbers(numbers) => deciles(numbers),
        };
        counts.push(rows - counts.iter().sum::<i64>());
        (bins, counts)
    }
}

fn categories(all: HashMap<String, i64>) -> (Bins, Vec<i64>) {
    let mut all: Vec<(Reverse<i64>, String)> = all.into_iter().map(|(text, n)| (Reverse(n), text)).collect();
    all.sort_unstable();
    let others = all.split_off(all.len().min(MOST_CATEGORIES));
    let mut counts: Vec<i64> = all.iter().map(|(n, _)| n.0).collect();
    counts.push(others.iter().map(|(n, _)| n.0).sum());
    (Bins::Categories(all.into_iter().map(|(_, text)| text).collect()), counts)
}

fn deciles(mut numbers: Vec<f64>) -> (Bins, Vec<i64>) {
    numbers.sort_unstable_by(f64::total_cmp);
    let mut bounds: Vec<f64> = (1..10).filter_map(|tenth| quantile(&numbers, f64::from(tenth) / 10.0)).collect();
    bounds.dedup();
    match bounds.as_slice() {
        // No number at all: where later ones fall is of no importance, as each is a difference.
        [] => bounds = vec![0.0, 1.0],
        // One number: it, what is less, and what is more.
        [only] => bounds.push(only.next_up()),
        _ => {}
    }
    let starts: Vec<usize> = bounds.iter().map(|b| numbers.partition_point(|n| n < b)).collect();
    let ends = starts.iter().copied().chain([numbers.len()]);
    let counts = std::iter::once(0).chain(starts.iter().copied()).zip(ends);
    let counts = counts.map(|(start, end)| i64::try_from(end - start).unwrap_or(i64::MAX)).collect();
    (Bins::Bounds(bounds.iter().map(f64::to_string).collect()), counts)
}

/// Between the two nearest of ascending numbers, in proportion; nothing where that is infinite.
fn quantile(numbers: &[f64], at: f64) -> Option<f64> {
    let rank = at * numbers.len().checked_sub(1)? as f64;
    let (low, high) = (*numbers.get(rank.floor() as usize)?, *numbers.get(rank.ceil() as usize)?);
    // Zero has one sign.
    let found = if low == high { low } else { low + (high - low) * rank.fract() } + 0.0;
    found.is_finite().then_some(found)
}

impl Bins {
    pub(super) fn measured(&self) -> Measured {
        match self {
            Self::Categories(_) => Measured::Category,
            Self::Bounds(_) => Measured::Number,
        }
    }

    /// The number of bins without that of NULL.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Categories(texts) => texts.len() + 1,
            Self::Bounds(bounds) => bounds.len() + 1,
        }
    }

    /// Counts the rows of each bin but that of NULL, in the first entries of a histogram.
    pub(super) fn counting(&self, expression: &str) -> Definition {
        let cast = self.measured().cast(expression);
        let (histogram, bounds) = match self {
            Self::Bounds(bounds) => (cast, bounds.iter().filter_map(|b| b.parse().ok()).collect()),
            Self::Categories(texts) => {
                let whens =
                    texts.iter().enumerate().map(|(at, text)| format!("WHEN '{}' THEN {at}", text.replace('\'', "''")));
                let whens: Vec<String> = whens.collect();
                let bin = match texts.len() {
                    0 => "0".to_owned(),
                    others => format!("CASE {cast} {} ELSE {others} END", whens.join(" ")),
                };
                // A histogram has two bounds or more.
                let bounds = (1..=texts.len().max(2)).map(|n| n as f64).collect();
                (format!("CASE WHEN {cast} IS NOT NULL THEN {bin} END"), bounds)
            }
        };
        Definition { histogram: Some(histogram), bounds, ..Definition::default() }
    }

    /// What a bin is called.
    pub(super) fn label(&self, at: usize) -> String {
        match self {
            _ if at >= self.len() => "(NULL)".into(),
            Self::Categories(texts) => texts.get(at).cloned().unwrap_or_else(|| "(other)".into()),
            Self::Bounds(bounds) => match (at.checked_sub(1).and_then(|b| bounds.get(b)), bounds.get(at)) {
                (Some(from), Some(to)) => format!("[{from}, {to})"),
                (None, Some(to)) => format!("< {to}"),
                (Some(from), None) => format!(">= {from}"),
                (None, None) => String::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(numbers: &[f64]) -> (Vec<String>, Vec<i64>) {
        match deciles(numbers.to_vec()) {
            (Bins::Bounds(bounds), counts) => (bounds, counts),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_are_cut_into_tenths_and_equal_bounds_are_one() {
        let (found, counts) = bounds(&(0..=10).map(f64::from).collect::<Vec<_>>());
        assert_eq!(found, ["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
        let (found, counts) = bounds(&[0.0, -0.0, 0.0, 0.0, 0.0, 5.0]);
        assert_eq!(found, ["0", "2.5"]);
        assert_eq!(counts, [0, 5, 1]);
        assert_eq!(bounds(&[7.5; 4]), (vec!["7.5".into(), 7.5_f64.next_up().to_string()], vec![0, 4, 0]));
        assert_eq!(bounds(&[]).1, [0, 0, 0]);
        let infinite = bounds(&[f64::NEG_INFINITY, f64::INFINITY, f64::INFINITY]);
        assert_eq!(infinite.1.iter().sum::<i64>(), 3);
    }

    #[test]
    fn rare_categories_are_one() {
        let all = (0..30).map(|n| (format!("c{n:02}"), 100 - n)).collect();
        let (bins, counts) = categories(all);
        assert_eq!((bins.len(), counts.len()), (21, 21));
        assert_eq!(
            (bins.label(0), bins.label(19), bins.label(20), bins.label(21)),
            ("c00".into(), "c19".into(), "(other)".into(), "(NULL)".into())
        );
        assert_eq!(counts[20], (20..30).map(|n| 100 - n).sum::<i64>());
    }
}

//! What is kept of a group: one entry for each aggregate, added up as differential's difference.

use alluvium_engine::stage::StageError;
use differential_dataflow::difference::{IsZero, Semigroup};
use serde::{Deserialize, Serialize};

use super::columns::Function;
use super::exact::ExactSum;

/// Totals of one group, in the order of the aggregates.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Totals(pub(crate) Vec<Total>);

/// The total of one aggregate. Values that are only compared are kept in the form of Arrow rows, where the order of
/// bytes is the order of values. The larger ones are boxed: there is one for each group, and most are counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Total {
    Count(i64),
    /// Sum and number of whole numbers. 128 bits hold 2^64 of the greatest ones.
    Whole(Box<(i128, i64)>),
    /// Sum and number of floating point numbers.
    Float(Box<(ExactSum, i64)>),
    Min(Option<Box<[u8]>>),
    Max(Option<Box<[u8]>>),
}

impl Total {
    /// The total of no rows.
    pub(crate) fn none(function: Function, floating: bool) -> Self {
        match function {
            Function::Count => Self::Count(0),
            Function::Sum | Function::Avg if floating => Self::Float(Box::default()),
            Function::Sum | Function::Avg => Self::Whole(Box::default()),
            Function::Min => Self::Min(None),
            Function::Max => Self::Max(None),
        }
    }

    /// Takes a value of an extreme into account.
    pub(crate) fn compare(&mut self, value: &[u8]) {
        match self {
            Self::Min(least) if least.as_deref().is_none_or(|l| value < l) => *least = Some(value.into()),
            Self::Max(most) if most.as_deref().is_none_or(|m| value > m) => *most = Some(value.into()),
            _ => {}
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a += b,
            (Self::Whole(a), Self::Whole(b)) => {
                a.0 += b.0;
                a.1 += b.1;
            }
            (Self::Float(a), Self::Float(b)) => {
                a.0.add(&b.0);
                a.1 += b.1;
            }
            (this @ (Self::Min(_) | Self::Max(_)), Self::Min(Some(value)) | Self::Max(Some(value))) => {
                this.compare(value)
            }
            // Totals of one stage have one shape; an extreme of nothing changes nothing.
            _ => {}
        }
    }
}

impl IsZero for Totals {
    /// A group never goes away: rows are only added.
    fn is_zero(&self) -> bool {
        false
    }
}

impl Semigroup for Totals {
    fn plus_equals(&mut self, other: &Self) {
        for (total, more) in self.0.iter_mut().zip(&other.0) {
            total.add(more);
        }
    }
}

impl Totals {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, StageError> {
        postcard::to_allocvec(self).map_err(|e| StageError::internal("totals cannot be encoded").because(e))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StageError> {
        postcard::from_bytes(bytes).map_err(|e| StageError::external("the stage's state is damaged").because(e))
    }
}

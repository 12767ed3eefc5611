//! The parts of a group's totals, shared until they are changed.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::totals::Total;

/// One part for each aggregate. Differential copies what it keeps at every merge, and what an epoch changes goes to several
/// operators: a copy is a count, and who changes one that others have gets his own.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Parts(Arc<[Total]>);

impl Deref for Parts {
    type Target = [Total];

    fn deref(&self) -> &[Total] {
        &self.0
    }
}

impl DerefMut for Parts {
    fn deref_mut(&mut self) -> &mut [Total] {
        Arc::make_mut(&mut self.0)
    }
}

impl FromIterator<Total> for Parts {
    fn from_iter<I: IntoIterator<Item = Total>>(parts: I) -> Self {
        Self(parts.into_iter().collect())
    }
}

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|parts: Vec<Total>| Self(parts.into()))
    }
}

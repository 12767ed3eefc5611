//! The seam behind which the numbers are computed.

use crate::{ModelError, Tokens};

/// Token ids in, logits out.
///
/// This is all that the rest of the crate knows of the network, so that a faster implementation can take its place.
pub trait Classifier: Send + Sync {
    /// The logits of each sequence of the batch, in the batch's order: as many as the model has labels.
    ///
    /// The sequences may differ in length; how they are grouped and padded is the implementation's business, but the
    /// result for a sequence must not depend on the others by more than rounding.
    ///
    /// # Errors
    /// If a sequence does not fit the model or the computation fails. Logits that are not finite are no error here:
    /// the caller looks for them.
    fn logits(&self, batch: &[Tokens]) -> Result<Vec<Vec<f32>>, ModelError>;
}

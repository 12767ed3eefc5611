//! Operators: pieces of dataflow with the full power of Timely and differential.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use timely::dataflow::{Scope, Stream};

use super::{Reject, StageError};
use crate::bridge::Faults;
use crate::{Batch, Epoch};

/// A stream of batches at epochs.
pub type BatchStream<'scope> = Stream<'scope, Epoch, Batch>;

/// What an operator needs to render itself.
pub struct OperatorContext<'scope> {
    /// The region that belongs to the stage.
    pub scope: Scope<'scope, Epoch>,
    /// Where to report a fault. After reporting, keep every capability and do nothing more.
    pub faults: Faults,
    /// The rows of the state at the end of the last complete epoch: for every key of the cluster, each key once. Take
    /// those keys that your input's route gives to this worker ([`crate::batch::owner`]), at epoch 0: the input's
    /// epochs begin at 1.
    pub state: Arc<Vec<RecordBatch>>,
}

/// What an operator gives.
pub struct Rendered<'scope> {
    /// Its rows.
    pub output: BatchStream<'scope>,
    /// What it rejects, as batches made by [`reject_batch`], if `check` has declared rejects.
    pub rejects: Option<BatchStream<'scope>>,
    /// Changes of its state, if it declared one: for every key that changed in an epoch its new state row. Must be
    /// complete for an epoch when the stream's frontier passes it.
    pub state: Option<BatchStream<'scope>>,
}

/// Renders a piece of dataflow: the same on every worker.
pub trait Operator: 'static {
    /// Called once on each worker. Inputs come in the order of the spec, routed as `check` asked.
    ///
    /// # Errors
    /// A reason why the run cannot start; the same on every worker.
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError>;
}

/// Rejects of an epoch as rows of a stage's port.
///
/// # Errors
/// They cannot be encoded.
pub fn reject_batch(stage: &str, epoch: Epoch, rejects: &[Reject]) -> Result<Batch, StageError> {
    crate::plan::reject_batch(stage, epoch, rejects)
        .map(Batch::from)
        .map_err(|e| StageError::internal("rejects cannot be encoded").because(e))
}

//! What leaves a stage, as a log stream beside Timely's own: those tell how many rows a message has, this one also their
//! epoch and size.

use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::logging_core::Logger;
use timely::worker::Worker;

use crate::Epoch;

/// The name of the stream.
pub(super) const STREAM: &str = "alluvium";

/// How events of the stream are kept until they are looked at.
pub(super) type PassedBuilder = CapacityContainerBuilder<Vec<(Duration, Passed)>>;

/// Where operators log.
pub(crate) type PassedLogger = Logger<PassedBuilder>;

/// A batch has left a stage.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// The stage, by its index in the plan.
    pub(crate) stage: usize,
    /// It left through the port of rejects.
    pub(crate) rejects: bool,
    pub(crate) epoch: Epoch,
    pub(crate) rows: u64,
    /// In memory.
    pub(crate) bytes: u64,
}

/// The stream of this worker, once [`observe`](super::observe) listens.
pub(crate) fn logger(worker: &Worker) -> Option<PassedLogger> {
    worker.log_register()?.get(STREAM)
}

//! What travels between workers besides rows.
//!
//! Timely encodes these with a format that is not self-describing, so what has optional parts travels as JSON.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Binding;

/// From the task that mints epochs to the operator that opens them.
pub(crate) enum Minted {
    /// The epoch's binding is durable.
    Epoch {
        binding: Binding,
        /// Some table holds the epoch.
        fixed: bool,
    },
    /// There will be no further epoch in this run.
    Done,
}

/// A split for a worker to read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Assignment {
    pub(crate) worker: u64,
    /// The source, by its index in the plan.
    pub(crate) stage: u64,
    /// JSON of the split.
    pub(crate) split: Vec<u8>,
    /// Processing time of the epoch, in microseconds since 1970.
    pub(crate) ingest_micros: i64,
    /// See [`ReadContext`](crate::stage::ReadContext).
    pub(crate) fixed: bool,
}

/// An epoch exists.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EpochNote {
    /// Processing time, in microseconds since 1970.
    pub(crate) ingest_micros: i64,
}

/// What the coordinator must know of an epoch before it commits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StagedMessage {
    /// The stage, by its index in the plan.
    pub(crate) stage: u64,
    pub(crate) what: Report,
}

/// What a stage reports of an epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Rows of a table are staged.
    Rows(Vec<u8>),
    /// State of an operator is staged.
    State(Vec<u8>),
    /// A split was read to its end.
    Read { bytes: u64, rows: u64 },
    /// A split does not belong to the epoch after all: its identity, and what identifies the content that was bound.
    Dropped { id: String, content: u64 },
}

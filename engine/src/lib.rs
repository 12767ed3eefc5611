//! The engine of Alluvium: a YAML spec becomes a plan, the plan becomes a Timely dataflow, epochs become commits.
//!
#![doc = include_str!("../ARCHITECTURE.md")]

pub use arrow;
pub use async_trait::async_trait;
pub use timely;

pub mod batch;
pub mod bridge;
pub mod checkpoint;
pub mod cli;
pub mod cluster;
pub mod events;
mod failpoint;
mod graph;
pub mod metrics;
pub mod monitor;
mod notices;
pub mod plan;
pub mod progress;
mod registry;
pub mod runtime;
pub mod secret;
pub mod spec;
pub mod stage;
pub mod storage;
pub mod tables;

pub use batch::Batch;
pub use registry::{Kind, LogLayer, Registry, StageSettings};

/// Timely's timestamp: the unit of atomic commit. Epochs of data begin at 1; state is restored at 0.
pub type Epoch = u64;

//! The only place where tokio meets Timely.
//!
//! A worker never waits. Tasks get data and identifiers, never capabilities; they answer through a bounded [`Inbox`]
//! and wake the operator that reads it. What waits in queues is counted by [`Pressure`], and sources stop when it is
//! full. Failures go to a [`FaultCell`]; how busy a stage's tasks are is known to its [`Meter`].

mod fault;
mod inbox;
mod meter;
mod pressure;

pub use fault::{FaultCell, Faults};
pub use inbox::{Closed, Inbox, Outbox, inbox};
pub use meter::Meter;
pub use pressure::{Permit, Pressure};

//! The only place where tokio meets Timely.
//!
//! A worker never waits. Tasks get data and identifiers, never capabilities; they answer through a bounded [`Inbox`]
//! and wake the operator that reads it. What waits in queues is counted by [`Pressure`], and sources stop when it is
//! full. Failures go to a [`FaultCell`].

mod fault;
mod inbox;
mod pressure;

pub use fault::{FaultCell, Faults};
pub use inbox::{Closed, Inbox, Outbox, inbox};
pub use pressure::{Permit, Pressure};

//! The model part as its users see it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends with a panic")]

mod broken;
mod checkpoint;
mod opening;
mod parity;
mod predictions;

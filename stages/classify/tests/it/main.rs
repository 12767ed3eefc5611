//! The model part as its users see it.

mod broken;
mod checkpoint;
mod opening;
mod parity;
mod predictions;

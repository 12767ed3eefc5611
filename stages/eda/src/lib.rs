//! Incremental analysis on differential dataflow: answers that are kept current epoch by epoch.

mod aggregate;
mod evaluate;
mod summary;

pub use aggregate::Aggregate;
pub use evaluate::Evaluate;

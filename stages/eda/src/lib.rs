//! Incremental analysis on differential dataflow: answers that are kept current epoch by epoch.

mod aggregate;

pub use aggregate::Aggregate;

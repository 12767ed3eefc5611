//! Incremental analysis on differential dataflow: answers that are kept current epoch by epoch.

mod aggregate;
mod arrangements;
mod dedup;
mod drift;
mod evaluate;
mod form;
mod join;
mod profile;
mod summary;
mod unfold;

pub use aggregate::Aggregate;
pub use arrangements::merge_at_once;
pub use dedup::Dedup;
pub use drift::Drift;
pub use evaluate::Evaluate;
pub use join::Join;
pub use profile::Profile;

/// Rows that leave a stage at once.
const BATCH_ROWS: usize = 8_192;

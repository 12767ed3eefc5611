//! `kind: sql`: one DataFusion query over `input`, planned once and run on every batch.
//!
//! The physical plan is kept and its leaf reads the batch from a slot, so a batch costs tens of microseconds more than
//! its work. That is only right for queries in which each output row depends on one input row; others are refused when
//! the spec is checked.

mod carry;
mod config;
mod functions;
mod query;
mod refused;
mod slot;
mod transform;

pub use config::Sql;
pub use datafusion::error::DataFusionError as QueryError;
pub use query::Query;
pub use refused::Refused;
pub use transform::as_json;

/// A name as SQL reads it, whatever characters it has.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

//! `kind: delta`: Delta Lake tables, exactly once.
//!
//! ```text
//! writer (each worker)   rows of an epoch ─> Parquet files, statistics ─> Add actions, staged
//! committer (one)        all Adds of the epoch ─> one commit with txn(pipeline/stage, epoch)
//! ```
//! Append stages files directly. Upsert stages the changed rows; the committer rewrites the files that hold an older
//! row of a changed key. Whatever the answer to a commit, the log decides what has happened (`commit`).

mod append;
mod changes;
mod commit;
mod config;
mod counted;
mod file;
mod maintain;
mod query;
mod schema;
mod stats;
mod table;
mod upkeep;
mod upsert;

pub use config::Delta;
pub use maintain::TableCommand;
pub use query::QueryCommand;

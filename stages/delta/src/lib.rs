//! `kind: delta`: Delta Lake tables, exactly once.
//!
//! ```text
//! writer (each worker)   rows of an epoch ─> Parquet files, statistics ─> Add actions, staged
//! committer (one)        all Adds of the epoch ─> one commit with txn(pipeline/stage, epoch)
//! source                 live files, then version after version ─> splits ─> rows, or rows that come and go
//! ```
//! Append stages files directly. Upsert stages the changed rows; the committer rewrites the files that hold an older
//! row of a changed key. Whatever the answer to a commit, the log decides what has happened (`commit`).

mod append;
mod changes;
mod commit;
mod config;
mod counted;
mod delete;
mod epochs;
mod feed;
mod file;
mod foreign;
mod maintain;
mod one_table;
mod output;
mod place;
mod query;
mod schema;
mod source;
mod stats;
mod system;
mod table;
mod tables;
mod upkeep;
mod upsert;
mod whole_log;

pub use config::Delta;
pub use maintain::TableCommand;
pub use query::QueryCommand;
pub use source::DeltaSource;
pub use tables::DeltaTables;

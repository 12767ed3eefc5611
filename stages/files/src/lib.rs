//! `kind: files`: objects of an object store as rows.
//!
//! ```text
//! list ─> split = object ─> get ─> unpack ─> cut into blocks of whole lines ─> decode ─> cast ─> rows
//!                                                                                 └────────┴─> bad rows ─> rejects
//! ```
//! Text formats are decoded on a blocking thread that a bounded queue feeds with bytes; Parquet is read by row group. Lines
//! that do not fit are looked at again where the spec wants to know of it.

mod bytes;
mod cells;
mod config;
mod csv;
mod fields;
mod infer;
mod json;
mod list;
mod parquet;
mod partitions;
mod passed;
mod policy;
mod read;
mod reason;
mod rows;
mod schema;
mod second;

pub use config::Files;

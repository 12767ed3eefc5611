//! What makes a run resumable: durable bindings, the ledger made of them, completion records, operator state.
//!
//! ```text
//! STATE/pipeline.json                 whose state this is
//! STATE/bindings/<epoch>.json         which splits the epoch consists of; created once, before anything is read
//! STATE/complete/<epoch>.json         every table holds the epoch; versions; where the operators' state lies
//! STATE/operators/<stage>/*.parquet   state rows, named by completion records
//! ```
//!
//! Order is the guarantee: the binding is durable before a row is read, all tables are staged before the first is
//! committed, all are committed before the completion record is written. A restart replays exactly the bound epochs
//! that are not complete; tables that already hold one skip it.

mod binding;
mod coordinator;
mod history;
mod minter;
mod state;
mod store;

pub(crate) use binding::{Binding, Completion};
pub(crate) use coordinator::{Coordinator, Ready, TableSink};
pub(crate) use history::History;
pub(crate) use minter::Minter;
pub(crate) use state::{StateLog, StateWriter};
pub(crate) use store::CheckpointStore;

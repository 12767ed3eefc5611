//! What makes a run resumable: durable bindings, the ledger made of them, completion records, operator state.
//!
//! ```text
//! STATE/pipeline.json                 whose state this is
//! STATE/lease/<generation>.*          who may write
//! STATE/bindings/<epoch>.json         which splits the epoch consists of; created once, before anything is read
//! STATE/dropped/<epoch>.json          splits that were not read after all; written before any table holds the epoch
//! STATE/complete/<epoch>.json         every table holds the epoch; versions; where the operators' state lies
//! STATE/operators/<stage>/*.parquet   state rows, named by completion records
//! STATE/ledger/                       splits of complete epochs, once their bindings are many
//! ```
//!
//! Order is the guarantee: the binding is durable before a row is read, all tables are staged before the first is
//! committed, all are committed before the completion record is written. A restart replays exactly the bound epochs
//! that are not complete; tables that already hold one skip it.

mod archive;
mod binding;
mod coordinator;
mod history;
mod holder;
mod lease;
mod ledger;
mod listing;
mod minter;
mod records;
mod state;
mod store;

pub(crate) use binding::{Binding, Completion, SourceCount};
pub(crate) use coordinator::{Coordinator, Ready, TableSink};
pub(crate) use history::History;
pub(crate) use minter::Minter;
pub(crate) use state::{StateLog, StateWriter};
pub(crate) use holder::Holder;
pub(crate) use lease::{Kept, Lease};
pub(crate) use listing::Listing;
pub(crate) use records::Records;
pub(crate) use store::{CheckpointStore, claim};

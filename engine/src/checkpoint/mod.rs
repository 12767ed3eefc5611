//! What makes a run resumable: durable bindings, the ledger made of them, completion records, operator state.
//!
//! ```text
//! STATE/pipeline.json                 whose state this is
//! STATE/lease/<generation>.*          who may write
//! STATE/bindings/<epoch>.json         which splits the epoch consists of; created once, before anything is read
//! STATE/dropped/<epoch>.json          splits that were not read after all; written before any table holds the epoch
//! STATE/complete/<epoch>.json         every table holds the epoch; versions; where the operators' state lies
//! STATE/resolved/<stage>/<n>.json     what the stage found out before its first run, such as inferred columns; newest last
//! STATE/refresh.json                  what a refresh is clearing; deleted when it has
//! STATE/operators/<stage>/*.parquet   state rows, named by completion records
//! STATE/ledger/                       splits of complete epochs, once their bindings are many
//! STATE/last_run.json                 how the last run has ended
//! STATE/events/                       a table: what happened
//! ```
//!
//! Order is the guarantee: the binding is durable before a row is read, all tables are staged before the first is
//! committed, all are committed before the completion record is written. A restart replays exactly the bound epochs
//! that are not complete; tables that already hold one skip it.

mod archive;
mod binding;
mod compare;
mod coordinator;
mod epochs;
mod history;
mod holder;
mod known;
mod last_run;
mod lease;
mod ledger;
mod listing;
mod minter;
mod parquet;
mod prospect;
mod records;
mod refresh;
mod resolved;
mod state;
mod store;

pub(crate) use binding::{Binding, Completion, SourceCount};
pub use compare::compare;
pub(crate) use coordinator::{Coordinator, Ready, TableSink};
pub use epochs::{PastEpoch, PastSource, epochs};
pub(crate) use history::History;
pub(crate) use holder::Holder;
pub use known::{Known, Mark, known};
pub use last_run::{LastRun, Standing, standing};
pub(crate) use last_run::{last_run, note_end};
pub(crate) use lease::{Kept, Lease};
pub(crate) use ledger::content_of;
pub(crate) use listing::Listing;
pub(crate) use minter::Minter;
pub(crate) use prospect::look;
pub(crate) use records::Records;
pub(crate) use refresh::{Refresh, clear, require_none};
pub use resolved::resolve_anew;
pub(crate) use resolved::{freeze, newest as newest_resolved};
pub(crate) use state::{StateLog, StateWriter};
pub(crate) use store::{CheckpointStore, claim};

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};

use crate::Epoch;
use crate::plan::Plan;
use crate::stage::StageError;
use crate::storage::{Finding, Storage};

/// Tries what a run needs of the pipeline's state.
pub(crate) async fn examine(plan: &Plan, storage: &Storage) -> Vec<Finding> {
    let location = match storage.open(&plan.state) {
        Ok(location) => location,
        Err(error) => return vec![Finding::bad("state", error.text())],
    };
    let place = location.try_writing("state").await;
    if place.outcome.is_err() {
        return vec![place];
    }
    let records = Records::new(location);
    if let Err(error) = require_none(&records).await {
        return vec![place, Finding::bad("refresh", error.text())];
    }
    let lease = match lease::holder(&records).await {
        Ok(None) => Finding::good("lease", "no instance of the pipeline is running"),
        Ok(Some(name)) => Finding::good("lease", format!("an instance is running, or was killed: {name}")),
        Err(error) => Finding::bad("lease", error.text()),
    };
    vec![place, lease]
}

/// An epoch that every table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// Its number.
    pub epoch: Epoch,
    /// When the last table got it.
    pub finished: DateTime<Utc>,
    /// The versions that hold it, by stage.
    pub tables: BTreeMap<String, u64>,
}

/// The newest epoch that is complete. Needs no lease.
///
/// # Errors
/// When the state cannot be read.
pub async fn completed(plan: &Plan) -> Result<Option<Completed>, StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    let completion = store::newest_completion(&records).await?;
    Ok(completion.map(|c| Completed {
        epoch: c.epoch,
        finished: c.finished,
        tables: c.tables.into_iter().map(|(stage, committed)| (stage, committed.version)).collect(),
    }))
}

/// Columns of [`ledger`].
pub fn ledger_schema() -> SchemaRef {
    let mut fields = archive::schema().fields()[..archive::SHOWN].to_vec();
    fields.push(Arc::new(Field::new("complete", DataType::Boolean, false)));
    Arc::new(Schema::new(fields))
}

/// Every split that was bound: source, object, version, bytes, modified, epoch, and whether that is complete. Needs no
/// lease, so it can be asked for while the pipeline runs.
///
/// # Errors
/// When the state cannot be read.
pub async fn ledger(plan: &Plan) -> Result<Vec<RecordBatch>, StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    let encoding = |e| StageError::internal("the ledger cannot be shown").because(e);
    let read = async |archive: Arc<archive::Archive>| {
        let (bindings, completed) = store::recent(&records, archive.upto()).await?;
        let mut batches = archive.batches().await?;
        batches.push(archive::rows(&bindings).map_err(encoding)?);
        Ok((batches, completed.map_or(archive.upto(), |c| c.epoch)))
    };
    let (batches, completed) = archive::Archive::at_rest(&records, read).await?;
    let batches = batches.into_iter().map(|batch| {
        let epochs = batch.column_by_name("epoch").and_then(|c| c.as_primitive_opt::<Int64Type>());
        let complete = |e: Option<i64>| e.and_then(|e| u64::try_from(e).ok()).is_some_and(|e| e <= completed);
        let complete: BooleanArray = epochs.into_iter().flatten().map(|e| Some(complete(e))).collect();
        let mut columns = batch.columns()[..archive::SHOWN].to_vec();
        columns.push(Arc::new(complete) as ArrayRef);
        RecordBatch::try_new(ledger_schema(), columns).map_err(encoding)
    });
    batches.collect()
}

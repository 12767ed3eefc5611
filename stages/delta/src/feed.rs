//! The change feed of a table with upserts: what became of each row, in files of their own that the same commit names.
//!
//! A commit that only adds files needs none: their rows are those that come.

use std::collections::HashSet;
use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use alluvium_engine::arrow::compute::take_record_batch;
use alluvium_engine::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::stage::StageError;
use deltalake::kernel::{Action, Add, AddCDCFile};
use deltalake::table::config::TableProperty;
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, ObjectStore};

use crate::changes::Changes;
use crate::commit::alone;
use crate::foreign::Foreign;
use crate::output::Output;
use crate::table::Target;

/// In a feed: what became of a row.
pub(crate) const CHANGE_TYPE: &str = "_change_type";
/// Columns that readers add to a feed; no table with a feed may have them.
pub(crate) const RESERVED: [&str; 3] = [CHANGE_TYPE, "_commit_version", "_commit_timestamp"];

/// Whether the table asks for a feed, whoever has set that.
pub(crate) fn wanted(snapshot: &DeltaTableState) -> bool {
    snapshot.table_config().enable_change_data_feed == Some(true)
}

/// Lets the table ask for a feed, if the stage says so.
pub(crate) async fn ensure(target: &Target, table: DeltaTable) -> Result<DeltaTable, StageError> {
    let snapshot = table.snapshot().map_err(|e| target.place.failed("read", e))?;
    if !target.config.change_feed || wanted(snapshot) {
        return Ok(table);
    }
    tracing::info!(table = %target.place.shown(), "turning on the change feed of the table");
    let property = (TableProperty::EnableChangeDataFeed.as_ref().to_owned(), "true".to_owned());
    let set = table.set_tbl_properties().with_properties([property].into()).with_commit_properties(alone()).await;
    set.map_err(|e| target.place.failed("given a change feed", e))
}

/// The feed of one epoch.
pub(crate) struct Feed {
    output: Output,
    schema: SchemaRef,
    /// New rows of keys that had a row before.
    known: HashSet<u32>,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, epoch: Epoch, table: &SchemaRef) -> Self {
        let mut fields: Vec<_> = table.fields().iter().cloned().collect();
        fields.push(Field::new(CHANGE_TYPE, DataType::Utf8, false).into());
        let schema: SchemaRef = Schema::new(fields).into();
        let output = Output::new(store, "_change_data/cdc", epoch, schema.clone());
        Self { output, schema, known: HashSet::new() }
    }

    /// Rows of the table that are replaced. One that comes again as it was has not changed.
    pub(crate) async fn replaced(
        &mut self,
        old: &RecordBatch,
        changes: &Changes,
        foreign: &Foreign,
    ) -> Result<(), StageError> {
        let (mut gone, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for (place, next) in (0_u32..).zip(changes.next(old).map_err(broken)?) {
            let Some((number, same)) = next else {
                gone.push(place);
                continue;
            };
            self.known.insert(number);
            if !same {
                before.push(place);
                after.push(number);
            }
        }
        let of = |places| take_record_batch(old, &UInt32Array::from(places)).map_err(broken);
        self.tell(of(gone)?, "delete").await?;
        self.tell(of(before)?, "update_preimage").await?;
        self.tell(foreign.complete(changes.batch(), &after).map_err(broken)?, "update_postimage").await
    }

    /// With the rows of keys that had none; gives the actions, none if nothing has changed.
    pub(crate) async fn finish(mut self, changes: &Changes, foreign: &Foreign) -> Result<Vec<Action>, StageError> {
        let mut new = changes.in_order();
        new.retain(|number| !self.known.contains(number));
        self.tell(foreign.complete(changes.batch(), &new).map_err(broken)?, "insert").await?;
        let action = |add: Add| {
            Action::Cdc(AddCDCFile {
                path: add.path,
                size: add.size,
                partition_values: add.partition_values,
                data_change: false,
                tags: None,
            })
        };
        Ok(self.output.finish().await?.into_iter().map(action).collect())
    }

    async fn tell(&mut self, rows: RecordBatch, what: &str) -> Result<(), StageError> {
        let words: ArrayRef = Arc::new(StringArray::from(vec![what; rows.num_rows()]));
        let columns = rows.columns().iter().cloned().chain([words]).collect();
        self.output.write(&RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?).await
    }
}

fn broken(error: ArrowError) -> StageError {
    StageError::internal("changed rows cannot be told").because(error)
}

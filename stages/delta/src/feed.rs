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
    let set = table.set_tbl_properties().with_properties([property].into()).await;
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
    pub(crate) fn new(store: Arc<dyn ObjectStore>, epoch: Epoch, target: &Target) -> Self {
        let mut fields: Vec<_> = target.schema.fields().iter().cloned().collect();
        fields.push(Field::new(CHANGE_TYPE, DataType::Utf8, false).into());
        let schema: SchemaRef = Schema::new(fields).into();
        let output = Output::new(store, "_change_data/cdc", epoch, schema.clone());
        Self { output, schema, known: HashSet::new() }
    }

    /// Rows of the table that are replaced. One that comes again as it was has not changed.
    pub(crate) async fn replaced(&mut self, old: &RecordBatch, changes: &Changes) -> Result<(), StageError> {
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
        self.tell(old, gone, "delete").await?;
        self.tell(old, before, "update_preimage").await?;
        self.tell(changes.batch(), after, "update_postimage").await
    }

    /// With the rows of keys that had none; gives the actions, none if nothing has changed.
    pub(crate) async fn finish(mut self, changes: &Changes) -> Result<Vec<Action>, StageError> {
        let mut new: Vec<u32> = changes.numbers().filter(|number| !self.known.contains(number)).collect();
        new.sort_unstable();
        self.tell(changes.batch(), new, "insert").await?;
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

    async fn tell(&mut self, rows: &RecordBatch, places: Vec<u32>, what: &str) -> Result<(), StageError> {
        let batch = || {
            let taken = take_record_batch(rows, &UInt32Array::from(places))?;
            let mut columns = taken.columns().to_vec();
            let words: ArrayRef = Arc::new(StringArray::from(vec![what; taken.num_rows()]));
            columns.push(words);
            RecordBatch::try_new(self.schema.clone(), columns)
        };
        self.output.write(&batch().map_err(broken)?).await
    }
}

fn broken(error: ArrowError) -> StageError {
    StageError::internal("changed rows cannot be told").because(error)
}

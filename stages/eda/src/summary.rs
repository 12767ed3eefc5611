//! A small table made anew of all groups of an aggregate after each epoch; what has changed of it goes on.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use alluvium_engine::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use alluvium_engine::arrow::datatypes::{Schema, SchemaRef};
use alluvium_engine::arrow::error::ArrowError;
use alluvium_engine::arrow::row::{OwnedRow, RowConverter, SortField};
use alluvium_engine::stage::{BatchStream, OperatorContext, StageError, diffs, with_diff, without_diff};
use alluvium_engine::{Batch, Epoch};
use timely::communication::Push;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Stamp;

use crate::form::broken;

/// Groups to rows.
pub(crate) trait Summary: 'static {
    /// The table for these groups, no row twice.
    ///
    /// # Errors
    /// Groups that make no sense.
    fn rows(&self, groups: &RecordBatch, epoch: Epoch) -> Result<RecordBatch, StageError>;
}

/// Sends everything to the first worker.
struct ToFirst;

impl Distributor<Batch> for ToFirst {
    fn partition<T: Clone, P: Push<Message<T, Batch>>>(
        &mut self,
        batch: &mut Batch,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        if let Some(first) = pushers.first_mut() {
            Message::push_at(batch, stamp.clone(), first);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Batch>>>(&mut self, _stamp: &Stamp<T>, _pushers: &mut [P]) {}
}

/// Rows of one schema, each with how often it is there.
struct Held {
    schema: SchemaRef,
    /// Bytes of one converter mean nothing to another one.
    converter: Rc<RowConverter>,
    rows: HashMap<OwnedRow, i64>,
}

impl Held {
    fn new(schema: &Schema) -> Result<Self, StageError> {
        let schema = without_diff(schema);
        let fields = schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        Ok(Self { converter: Rc::new(RowConverter::new(fields).map_err(broken)?), schema, rows: HashMap::new() })
    }

    /// The same without rows.
    fn emptied(&self) -> Self {
        Self { schema: self.schema.clone(), converter: self.converter.clone(), rows: HashMap::new() }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), StageError> {
        let column = |name: &String| Ok(batch.column(batch.schema().index_of(name)?).clone());
        let columns: Result<Vec<ArrayRef>, ArrowError> =
            self.schema.fields().iter().map(|f| column(f.name())).collect();
        let rows = self.converter.convert_columns(&columns.map_err(broken)?).map_err(broken)?;
        let numbers = diffs(batch)?;
        for (at, row) in rows.iter().enumerate() {
            *self.rows.entry(row.owned()).or_default() += numbers.map_or(1, |n| n.value(at));
        }
        self.rows.retain(|_, n| *n != 0);
        Ok(())
    }

    /// In the order of values.
    fn batch(&self) -> Result<RecordBatch, StageError> {
        let mut rows: Vec<&OwnedRow> = self.rows.keys().collect();
        rows.sort_unstable();
        let columns = self.converter.convert_rows(rows.into_iter().map(OwnedRow::row)).map_err(broken)?;
        RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)
    }

    /// What makes this of what was before, as changes.
    fn since(&self, before: &Self) -> Result<Option<RecordBatch>, StageError> {
        let gone = before.rows.keys().filter(|row| !self.rows.contains_key(*row)).map(|row| (row, -1));
        let come = self.rows.keys().filter(|row| !before.rows.contains_key(*row)).map(|row| (row, 1));
        let mut changes: Vec<(&OwnedRow, i64)> = gone.chain(come).collect();
        if changes.is_empty() {
            return Ok(None);
        }
        changes.sort_unstable();
        let mut columns = self.converter.convert_rows(changes.iter().map(|(row, _)| row.row())).map_err(broken)?;
        columns.push(std::sync::Arc::new(changes.iter().map(|(_, n)| *n).collect::<Int64Array>()));
        RecordBatch::try_new(with_diff(&self.schema), columns).map(Some).map_err(broken)
    }
}

/// What an aggregate gives, with what was restored at epoch 0, as changes of a summary.
pub(crate) fn summarise<'scope>(
    context: &OperatorContext<'scope>,
    groups: BatchStream<'scope>,
    group_schema: &Schema,
    output: &Schema,
    summary: impl Summary,
) -> Result<BatchStream<'scope>, StageError> {
    let mut held = Held::new(group_schema)?;
    let mut told = Held::new(output)?;
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("summary".into(), context.scope);
    let mut input = builder.new_input(groups, DistributorPact(|_workers| ToFirst));
    let (out, rows) = builder.new_output::<Batch>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(out);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, Vec<RecordBatch>)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, container| {
                let Some(kept) = capability.retain_least(0) else { return };
                let epoch = *kept.time();
                let (_, batches) = open.entry(epoch).or_insert_with(|| (kept, Vec::new()));
                match container.take() {
                    Ok(batch) => batches.extend(batch),
                    Err(error) => faults.raise(Some(epoch), error),
                }
            });
            while let Some(entry) = open.first_entry() {
                let epoch = *entry.key();
                if faults.is_raised() || frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    break;
                }
                let mut make = || {
                    entry.get().1.iter().try_for_each(|batch| held.add(batch))?;
                    let mut now = told.emptied();
                    now.add(&summary.rows(&held.batch()?, epoch)?)?;
                    let changes = now.since(&told)?;
                    told = now;
                    Ok(changes)
                };
                match make() {
                    Ok(changes) => {
                        let (capability, _) = entry.remove();
                        // What was restored has been given by an earlier run.
                        if let Some(changes) = changes.filter(|_| epoch > 0) {
                            out.activate().session_with_builder(&capability).give_container(&mut changes.into());
                        }
                    }
                    Err(error) => faults.raise(Some(epoch), error),
                }
            }
        }
    });
    Ok(rows)
}

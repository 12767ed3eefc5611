//! The dataflow of the stage.

use std::collections::BTreeMap;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::batch::{hash, owner};
use alluvium_engine::stage::{BatchStream, Operator, OperatorContext, Rendered, StageError};
use alluvium_engine::{Batch, Epoch};
use differential_dataflow::AsCollection;
use differential_dataflow::operators::CountTotal;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::accumulator::Totals;
use super::columns::Shape;
use super::groups::{Codec, Groups, Key};

/// Rows that leave at once.
const BATCH_ROWS: usize = 8_192;

/// Differential's updates: what an epoch adds to a group.
type Updates<'scope> = Stream<'scope, Epoch, Vec<(Key, Epoch, Totals)>>;
/// New totals of groups that changed.
type Changed<'scope> = Stream<'scope, Epoch, Vec<((Key, Totals), Epoch, isize)>>;

pub(crate) struct AggregateOperator {
    pub(crate) shape: Shape,
    pub(crate) state: SchemaRef,
    pub(crate) worker: usize,
    pub(crate) workers: usize,
}

impl Operator for AggregateOperator {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let input = inputs.into_iter().next().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let codec = Codec::new(&self.shape)?;
        let restored = self.restored(&codec, &context.state)?;
        let updates = add_up(context, input, self.shape, restored)?;
        let changed = updates.as_collection().count_total().inner;
        Ok(emit(context, changed, codec, self.state))
    }
}

impl AggregateOperator {
    /// The groups that this worker puts in at the beginning; each is put in by one worker.
    fn restored(&self, codec: &Codec, state: &[RecordBatch]) -> Result<Vec<(Key, Totals)>, StageError> {
        let mut mine = Vec::new();
        for batch in state {
            let all = codec.restore(batch)?;
            mine.extend(all.into_iter().filter(|(key, _)| owner(hash(key), self.workers) == self.worker));
        }
        Ok(mine)
    }
}

/// Rows to updates: those of an epoch are added up here before anything is exchanged.
fn add_up<'scope>(
    context: &OperatorContext<'scope>,
    input: BatchStream<'scope>,
    shape: Shape,
    restored: Vec<(Key, Totals)>,
) -> Result<Updates<'scope>, StageError> {
    let codec = Codec::new(&shape)?;
    let mut query = shape.query;
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("add up".into(), context.scope);
    let mut input = builder.new_input(input, Pipeline);
    let (out, updates) = builder.new_output();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<(Key, Epoch, Totals)>>>::from(out);
    builder.build(move |capabilities| {
        // State comes in at epoch 0, before any epoch of data.
        let mut start = capabilities.into_iter().next().map(|capability| (capability, restored));
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, Groups)> = BTreeMap::new();
        move |frontiers| {
            if let Some((capability, restored)) = start.take() {
                out.activate()
                    .session(&capability)
                    .give_iterator(restored.into_iter().map(|(key, totals)| (key, 0, totals)));
            }
            input.for_each(|capability, container| {
                let Some(kept) = capability.retain_least(0) else { return };
                let epoch = *kept.time();
                let (_, groups) = open.entry(epoch).or_insert_with(|| (kept, Groups::new()));
                if faults.is_raised() {
                    return;
                }
                let added = container.take().and_then(|batch| match batch {
                    Some(batch) => query.run(batch).map_err(failed)?.iter().try_for_each(|b| codec.add(b, groups)),
                    None => Ok(()),
                });
                if let Err(error) = added {
                    faults.raise(Some(epoch), error);
                }
            });
            while let Some(entry) = open.first_entry() {
                let epoch = *entry.key();
                if faults.is_raised() || frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    break;
                }
                let (capability, groups) = entry.remove();
                out.activate()
                    .session(&capability)
                    .give_iterator(groups.into_iter().map(|(key, totals)| (key, epoch, totals)));
            }
        }
    });
    Ok(updates)
}

fn failed(error: alluvium_sql::QueryError) -> StageError {
    StageError::user("an expression of the stage fails for a row")
        .hint("filter such rows with `where`, or reject them in a `sql` stage before")
        .because(error)
}

/// Changed groups to rows for the next stage and rows of state.
fn emit<'scope>(
    context: &OperatorContext<'scope>,
    changed: Changed<'scope>,
    codec: Codec,
    state: SchemaRef,
) -> Rendered<'scope> {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("rows".into(), context.scope);
    let mut input = builder.new_input(changed, Pipeline);
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (state_out, changes) = builder.new_output::<Batch>();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
    let mut state_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(state_out);
    builder.build(move |capabilities| {
        drop(capabilities);
        // Capabilities of epochs that cannot be finished: kept for ever, so that the frontier never passes them.
        let mut kept: Vec<Capability<Epoch>> = Vec::new();
        move |_frontiers| {
            input.for_each(|capability, updates| {
                // The times of a message may be several; each group says which is its own.
                let mut groups: BTreeMap<Epoch, Vec<(Key, Totals, i64)>> = BTreeMap::new();
                for ((key, totals), epoch, diff) in updates.drain(..) {
                    // What was restored has been given by an earlier run.
                    if epoch > 0 {
                        groups.entry(epoch).or_default().push((key, totals, diff as i64));
                    }
                }
                for (epoch, groups) in groups {
                    let at = (capability.delayed(&epoch, 0), capability.delayed(&epoch, 1));
                    for part in groups.chunks(BATCH_ROWS).filter(|_| !faults.is_raised()) {
                        match codec.rows(part).and_then(|rows| Ok((rows, codec.state(part, &state)?))) {
                            Ok((rows, state)) => {
                                rows_out.activate().session_with_builder(&at.0).give_container(&mut rows.into());
                                state_out.activate().session_with_builder(&at.1).give_container(&mut state.into());
                            }
                            Err(error) => faults.raise(Some(epoch), error),
                        }
                    }
                    if faults.is_raised() {
                        kept.extend([at.0, at.1]);
                    }
                }
            });
        }
    });
    Rendered { output: rows, state: Some(changes) }
}

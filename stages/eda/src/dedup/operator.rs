//! The dataflow of the stage.

use std::collections::BTreeMap;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::stage::{BatchStream, Operator, OperatorContext, Rendered, StageError};
use alluvium_engine::{Batch, Epoch};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::Shape;
use super::codec::Codec;
use super::kept::{Changed, Kept, Rows};
use crate::BATCH_ROWS;

pub(super) struct DedupOperator {
    pub(super) shape: Shape,
    pub(super) state: SchemaRef,
    pub(super) last: bool,
    pub(super) ordered: bool,
    pub(super) worker: usize,
    pub(super) workers: usize,
}

/// Capabilities for rows and for state, and the rows of an epoch that is not over.
type Open = (Capability<Epoch>, Capability<Epoch>, Rows);

impl Operator for DedupOperator {
    fn render<'scope>(
        self: Box<Self>,
        context: &OperatorContext<'scope>,
        inputs: Vec<BatchStream<'scope>>,
    ) -> Result<Rendered<'scope>, StageError> {
        let input = inputs.into_iter().next().ok_or_else(|| StageError::internal("the stage has no input"))?;
        let policy = self.shape.policy;
        let codec = Codec::new(self.shape, self.state, self.last, self.ordered)?;
        let mut kept = Kept::new(policy, codec.restore(&context.state, self.worker, self.workers)?);
        let faults = context.faults.clone();
        let mut builder = OperatorBuilder::new("dedup".into(), context.scope);
        let mut input = builder.new_input(input, Pipeline);
        let (rows_out, rows) = builder.new_output::<Batch>();
        let (state_out, state) = builder.new_output::<Batch>();
        let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
        let mut state_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(state_out);
        builder.build(move |capabilities| {
            drop(capabilities);
            let mut open: BTreeMap<Epoch, Open> = BTreeMap::new();
            move |frontiers| {
                input.for_each(|capability, container| {
                    let (Some(first), Some(second)) = (capability.retain_least(0), capability.retain_least(1)) else {
                        return;
                    };
                    let epoch = *first.time();
                    let (.., rows) = open.entry(epoch).or_insert_with(|| (first, second, Rows::new()));
                    let taken = container.take().and_then(|batch| match batch {
                        Some(batch) => codec.take(&batch, |(key, row, number)| kept.add(rows, key, row, number)),
                        None => Ok(()),
                    });
                    if let Err(error) = taken {
                        faults.raise(Some(epoch), error);
                    }
                });
                while let Some(mut entry) = open.first_entry() {
                    let epoch = *entry.key();
                    // After a fault capabilities stay, so that the frontier never passes the epoch.
                    if faults.is_raised() || frontiers.iter().any(|f| f.less_equal(&epoch)) {
                        break;
                    }
                    let (of_rows, of_state, rows) = entry.get_mut();
                    match batches(&codec, &kept.close(std::mem::take(rows))) {
                        Ok((rows, state)) => {
                            for mut batch in rows {
                                rows_out.activate().session_with_builder(of_rows).give_container(&mut batch);
                            }
                            for mut batch in state {
                                state_out.activate().session_with_builder(of_state).give_container(&mut batch);
                            }
                            entry.remove();
                        }
                        Err(error) => faults.raise(Some(epoch), error),
                    }
                }
            }
        });
        Ok(Rendered { output: rows, rejects: None, state: Some(state) })
    }
}

fn batches(codec: &Codec, changed: &Changed) -> Result<(Vec<Batch>, Vec<Batch>), StageError> {
    let rows = changed.rows.chunks(BATCH_ROWS).map(|part| codec.rows(part).map(Batch::from));
    let state = changed.state.chunks(BATCH_ROWS).map(|part| codec.state(part).map(Batch::from));
    Ok((rows.collect::<Result<_, _>>()?, state.collect::<Result<_, _>>()?))
}

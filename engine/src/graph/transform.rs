//! Runs a transform on the worker, batch by batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tracing::error_span;

use crate::bridge::Faults;
use crate::plan::PlannedStage;
use crate::stage::{BatchStream, Output, StageError, Transform, reject_batch};
use crate::{Batch, Epoch};

pub(super) fn render<'scope>(
    scope: Scope<'scope, Epoch>,
    input: BatchStream<'scope>,
    stage: &PlannedStage,
    mut transform: Box<dyn Transform>,
    faults: Faults,
) -> (BatchStream<'scope>, BatchStream<'scope>) {
    let mut builder = OperatorBuilder::new("transform".into(), scope);
    let mut input = builder.new_input(input, Pipeline);
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (rejects_out, rejects) = builder.new_output::<Batch>();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rejects_out);
    let (name, schema, may_reject) = (stage.name.clone(), stage.outputs.schema.clone(), stage.outputs.rejects);
    builder.build(move |capabilities| {
        drop(capabilities);
        // Capabilities of epochs that cannot be finished: kept for ever, so that the frontier never passes them.
        let mut kept = Vec::new();
        move |_frontiers| {
            input.for_each(|capability, container| {
                let Some(epoch) = capability.least().copied() else { return };
                if !faults.is_raised() {
                    match apply(transform.as_mut(), container, &schema, may_reject, &name, epoch) {
                        Ok(Applied { rows, rejects }) => {
                            for mut batch in rows {
                                rows_out.activate().session_with_builder(&capability).give_container(&mut batch);
                            }
                            if let Some(mut batch) = rejects {
                                rejects_out.activate().session_with_builder(&capability).give_container(&mut batch);
                            }
                            return;
                        }
                        Err(error) => faults.raise(Some(epoch), error),
                    }
                }
                kept.extend(capability.retain_least(0));
                kept.extend(capability.retain_least(1));
            });
        }
    });
    (rows, rejects)
}

/// What became of a batch.
pub(super) struct Applied {
    pub(super) rows: Vec<Batch>,
    pub(super) rejects: Option<Batch>,
}

/// Runs the transform on a batch and holds what it gives against its promise.
pub(super) fn apply(
    transform: &mut dyn Transform,
    container: &mut Batch,
    schema: &SchemaRef,
    may_reject: bool,
    name: &str,
    epoch: Epoch,
) -> Result<Applied, StageError> {
    let mut output = Output::default();
    if let Some(batch) = container.take()? {
        let span = error_span!("stage", stage = name, epoch);
        // A plugin's panic must not take the worker along: peers would wait for ever.
        catch_unwind(AssertUnwindSafe(|| span.in_scope(|| transform.batch(batch, &mut output))))
            .map_err(|panic| StageError::internal(format!("the stage panicked: {}", panic_text(panic.as_ref()))))??;
    }
    if !output.rejects.is_empty() && !may_reject {
        return Err(StageError::internal("the stage rejects rows without having declared it"));
    }
    let rejects = if output.rejects.is_empty() { None } else { Some(reject_batch(name, epoch, &output.rejects)?) };
    let rows = output.batches.into_iter().map(|b| conform(b, schema).map(Batch::from)).collect::<Result<_, _>>()?;
    Ok(Applied { rows, rejects })
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message")
}

/// The batch, if it has the columns that the plan says.
pub(super) fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, StageError> {
    let have = batch.schema();
    let same = |(a, b): (&std::sync::Arc<arrow::datatypes::Field>, &std::sync::Arc<arrow::datatypes::Field>)| {
        a.name() == b.name() && a.data_type() == b.data_type()
    };
    if std::sync::Arc::ptr_eq(&have, schema) {
        return Ok(batch);
    }
    if have.fields().len() == schema.fields().len() && have.fields().iter().zip(schema.fields()).all(same) {
        return RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
            .map_err(|e| StageError::internal("rows do not fit the columns of the plan").because(e));
    }
    Err(StageError::internal(format!(
        "the stage gave columns ({}) where its check promised ({})",
        crate::plan::columns(&have),
        crate::plan::columns(schema)
    )))
}

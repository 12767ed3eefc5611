//! The first operators of the stage: times to watermarks, rows to what they add to their groups.

use std::collections::BTreeMap;

use alluvium_engine::arrow::array::{AsArray, RecordBatch};
use alluvium_engine::arrow::datatypes::TimestampMicrosecondType;
use alluvium_engine::stage::{BatchStream, OperatorContext, Reject, StageError, reject_batch};
use alluvium_engine::{Batch, Epoch};
use alluvium_sql::Query;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::vec::Broadcast;

use super::add::{Adder, Gathered};
use super::late::{Latecomers, Watermarks};
use super::operator::{GroupUpdates, Times, ValueUpdates};
use super::state::Change;

/// Passes rows on, and tells all workers the latest time of each epoch, less the lateness.
pub(crate) fn watch<'scope>(
    context: &OperatorContext<'scope>,
    input: BatchStream<'scope>,
    column: usize,
    lateness: i64,
) -> (BatchStream<'scope>, Times<'scope>) {
    let mut builder = OperatorBuilder::new("watermark".into(), context.scope);
    let mut input = builder.new_input(input, Pipeline);
    let (rows_out, rows) = builder.new_output::<Batch>();
    let (times_out, times) = builder.new_output::<Vec<i64>>();
    let mut rows_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rows_out);
    let mut times_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<i64>>>::from(times_out);
    builder.build(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, (Capability<Epoch>, Option<i64>)> = BTreeMap::new();
        move |frontiers| {
            input.for_each(|capability, container| {
                let Some(kept) = capability.retain_least(1) else { return };
                let latest = container.rows().and_then(|rows| {
                    rows.column(column).as_primitive::<TimestampMicrosecondType>().iter().flatten().max()
                });
                let (_, before) = open.entry(*kept.time()).or_insert((kept, None));
                *before = (*before).max(latest.map(|t| t.saturating_sub(lateness)));
                rows_out.activate().session_with_builder(&capability).give_container(container);
            });
            while let Some(entry) = open.first_entry() {
                if frontiers.iter().any(|f| f.less_equal(entry.key())) {
                    break;
                }
                let (capability, latest) = entry.remove();
                times_out.activate().session(&capability).give_iterator(latest.into_iter());
            }
        }
    });
    (rows, times.broadcast())
}

/// What becomes of rows before they are grouped.
pub(crate) struct Intake {
    pub(crate) query: Query,
    pub(crate) adder: Adder,
    pub(crate) latecomers: Option<Latecomers>,
    pub(crate) watermarks: Watermarks,
    /// What this worker puts in at the beginning.
    pub(crate) restored: Vec<Change>,
    pub(crate) stage: String,
}

impl Intake {
    fn add(&mut self, batch: RecordBatch, watermark: Option<i64>, open: &mut Open) -> Result<(), StageError> {
        let (batch, mut rejects) = match &self.latecomers {
            Some(latecomers) => latecomers.split(&batch, watermark)?,
            None => (batch, Vec::new()),
        };
        open.rejects.append(&mut rejects);
        for projected in self.query.run(batch).map_err(failed)? {
            self.adder.add(&projected, watermark, &mut open.gathered)?;
        }
        Ok(())
    }
}

fn failed(error: alluvium_sql::QueryError) -> StageError {
    StageError::user("an expression of the stage fails for a row")
        .hint("filter such rows with `where`, or reject them in a `sql` stage before")
        .because(error)
}

/// An epoch that may get more rows.
#[derive(Default)]
struct Open {
    capabilities: Vec<Capability<Epoch>>,
    /// Rows that wait for the watermark of the epoch before.
    waiting: Vec<RecordBatch>,
    gathered: Gathered,
    rejects: Vec<Reject>,
}

/// What comes out: groups, values, rejects.
pub(crate) type Added<'scope> = (GroupUpdates<'scope>, ValueUpdates<'scope>, BatchStream<'scope>);

/// Rows to updates: those of an epoch are added up here before anything is exchanged.
pub(crate) fn add_up<'scope>(
    context: &OperatorContext<'scope>,
    input: BatchStream<'scope>,
    times: Option<Times<'scope>>,
    mut intake: Intake,
) -> Added<'scope> {
    let faults = context.faults.clone();
    let mut builder = OperatorBuilder::new("add up".into(), context.scope);
    let mut input = builder.new_input(input, Pipeline);
    let mut times = times.map(|times| builder.new_input(times, Pipeline));
    let (groups_out, groups) = builder.new_output();
    let (values_out, values) = builder.new_output();
    let (rejects_out, rejects) = builder.new_output::<Batch>();
    let mut groups_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(groups_out);
    let mut values_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<_>>>::from(values_out);
    let mut rejects_out = OutputBuilder::<_, CapacityContainerBuilder<Batch>>::from(rejects_out);
    builder.build(move |capabilities| {
        // State comes in at epoch 0, before any epoch of data.
        let mut start = Some(capabilities);
        let mut open: BTreeMap<Epoch, Open> = BTreeMap::new();
        move |frontiers| {
            if let Some([groups, values, ..]) = start.take().as_deref() {
                let mut counts = Vec::new();
                // One session for all: each has a buffer of its own.
                let totals = intake.restored.drain(..).filter_map(|change| match change {
                    Change::Group(group, Some(totals)) => Some((group, 0, totals)),
                    Change::Value(value, Some(n)) => {
                        counts.push((value, 0, n as isize));
                        None
                    }
                    _ => None,
                });
                groups_out.activate().session(groups).give_iterator(totals);
                values_out.activate().session(values).give_iterator(counts.into_iter());
            }
            if let Some(times) = &mut times {
                times.for_each(|capability, list| {
                    if let Some(epoch) = capability.least() {
                        list.drain(..).for_each(|time| intake.watermarks.note(*epoch, time));
                    }
                });
            }
            input.for_each(|capability, container| {
                let kept: Option<Vec<_>> = (0..3).map(|port| capability.retain_least(port)).collect();
                let Some((kept, epoch)) =
                    kept.and_then(|kept| Some((*kept.first()?.time(), kept)).map(|(e, k)| (k, e)))
                else {
                    return;
                };
                let open = open.entry(epoch).or_insert_with(|| Open { capabilities: kept, ..Open::default() });
                if faults.is_raised() {
                    return;
                }
                let added = container.take().and_then(|batch| match batch {
                    Some(batch) if times.is_some() => {
                        open.waiting.push(batch);
                        Ok(())
                    }
                    Some(batch) => intake.add(batch, None, open),
                    None => Ok(()),
                });
                if let Err(error) = added {
                    faults.raise(Some(epoch), error);
                }
            });
            while let Some(mut entry) = open.first_entry() {
                let epoch = *entry.key();
                // The epochs before must have told their times.
                let sealed = frontiers.first().is_none_or(|f| !f.less_equal(&epoch))
                    && frontiers.get(1).is_none_or(|f| !f.less_than(&epoch));
                if faults.is_raised() || !sealed {
                    break;
                }
                let watermark = intake.watermarks.before(epoch);
                let waiting = std::mem::take(&mut entry.get_mut().waiting);
                let added = waiting.into_iter().try_for_each(|batch| intake.add(batch, watermark, entry.get_mut()));
                let rejects = added.and_then(|()| {
                    let rejects = &entry.get().rejects;
                    (!rejects.is_empty()).then(|| reject_batch(&intake.stage, epoch, rejects)).transpose()
                });
                let rejects = match rejects {
                    Ok(rejects) => rejects,
                    Err(error) => {
                        faults.raise(Some(epoch), error);
                        break;
                    }
                };
                let Open { capabilities, gathered, .. } = entry.remove();
                let [for_groups, for_values, for_rejects] = capabilities.as_slice() else { continue };
                let adder = &intake.adder;
                groups_out.activate().session(for_groups).give_iterator(
                    gathered.groups.into_iter().map(|(group, totals)| (group, epoch, adder.finished(totals))),
                );
                values_out
                    .activate()
                    .session(for_values)
                    .give_iterator(gathered.values.into_iter().map(|(value, n)| (value, epoch, n as isize)));
                if let Some(mut rejects) = rejects {
                    rejects_out.activate().session_with_builder(for_rejects).give_container(&mut rejects);
                }
            }
        }
    });
    (groups, values, rejects)
}

//! Opens epochs: the only operator that holds a capability without having got rows.

use std::cell::Cell;
use std::rc::Rc;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::messages::{Assignment, EpochNote, Minted};
use super::{Assignments, Notes, Process};
use crate::bridge::{Inbox, Outbox, inbox};
use crate::checkpoint::Binding;
use crate::{Epoch, stage::StageError};

pub(super) struct MintStreams<'scope> {
    pub(super) assignments: Assignments<'scope>,
    pub(super) notes: Notes<'scope>,
    /// To be activated when an epoch completes: another may be opened then.
    pub(super) activator: Activator,
}

/// Holds the capabilities while there may be further epochs.
struct Minting {
    splits: Capability<Epoch>,
    notes: Capability<Epoch>,
    inbox: Inbox<Minted>,
    newest: Epoch,
}

/// Renders the operator; only with a lead it opens anything.
pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    lead: Option<Box<dyn FnOnce(Outbox<Minted>) + Send>>,
    completed: Rc<Cell<Epoch>>,
) -> MintStreams<'scope> {
    let mut builder = OperatorBuilder::new("mint".into(), scope);
    let (splits_out, assignments) = builder.new_output::<Vec<Assignment>>();
    let (notes_out, notes) = builder.new_output::<Vec<EpochNote>>();
    let mut splits_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Assignment>>>::from(splits_out);
    let mut notes_out = OutputBuilder::<_, CapacityContainerBuilder<Vec<EpochNote>>>::from(notes_out);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    let inbox = lead.map(|start| {
        let (outbox, inbox) = inbox(1, scope.worker().sync_activator_for(address.to_vec()));
        start(outbox);
        inbox
    });
    let (first, most_open) = (process.first_epoch, process.plan.limits.open);
    let sources: Vec<String> = process.plan.stages.iter().map(|s| s.name.clone()).collect();
    let faults = process.faults.of_stage("checkpoint");
    let workers = scope.peers();
    builder.build(move |capabilities| {
        let mut minting = None;
        if let (Some(inbox), [splits, notes]) = (inbox, capabilities.as_slice()) {
            // Epochs before the first are over; state restored at epoch 0 may flow.
            minting = Some(Minting {
                splits: splits.delayed(&first),
                notes: notes.delayed(&first),
                inbox,
                newest: first.saturating_sub(1),
            });
        }
        drop(capabilities);
        move |_frontiers| {
            let mut done = false;
            while let Some(open) = minting.as_mut() {
                if faults.is_raised() || open.newest.saturating_sub(completed.get()) >= most_open {
                    break;
                }
                match open.inbox.take() {
                    None => break,
                    Some(Minted::Done) => {
                        done = true;
                        break;
                    }
                    Some(Minted::Epoch { binding, fixed }) => {
                        let epoch = binding.epoch;
                        let deal = match deal(&binding, fixed, &sources, workers) {
                            Ok(deal) => deal,
                            Err(error) => {
                                faults.raise(Some(epoch), error);
                                break;
                            }
                        };
                        open.splits.downgrade(&epoch);
                        open.notes.downgrade(&epoch);
                        notes_out
                            .activate()
                            .session(&open.notes)
                            .give(EpochNote { ingest_micros: binding.ingest_time.timestamp_micros() });
                        splits_out.activate().session(&open.splits).give_iterator(deal.into_iter());
                        open.splits.downgrade(&(epoch + 1));
                        open.notes.downgrade(&(epoch + 1));
                        open.newest = epoch;
                    }
                }
            }
            if done {
                minting = None;
            }
        }
    });
    MintStreams { assignments, notes, activator }
}

/// Gives each split to the worker that has the fewest bytes so far. Among equals the first is another one in each epoch:
/// epochs of few splits must not all go to the same workers.
fn deal(binding: &Binding, fixed: bool, stages: &[String], workers: usize) -> Result<Vec<Assignment>, StageError> {
    let mut load = vec![0_u64; workers.max(1)];
    let first = usize::try_from(binding.epoch).unwrap_or(0) % load.len();
    let mut out = Vec::new();
    for (source, splits) in &binding.splits {
        let stage = stages.iter().position(|s| s == source).ok_or_else(|| {
            StageError::user(format!(
                "epoch {} was bound by a source `{source}`, which the spec no longer has",
                binding.epoch
            ))
            .hint("run the old spec once more until it ends, then change it")
        })?;
        for split in splits {
            let worker = (first..load.len()).chain(0..first).min_by_key(|&w| load[w]).unwrap_or(0);
            load[worker] += split.bytes.max(1);
            let json =
                serde_json::to_vec(split).map_err(|e| StageError::internal("a split cannot be encoded").because(e))?;
            out.push(Assignment {
                worker: worker as u64,
                stage: stage as u64,
                split: json,
                ingest_micros: binding.ingest_time.timestamp_micros(),
                fixed,
            });
        }
    }
    Ok(out)
}

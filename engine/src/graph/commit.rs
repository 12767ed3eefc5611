//! Hands epochs to the coordinator when everything is staged, and ends them when it is done.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use chrono::DateTime;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::probe::Handle;
use timely::scheduling::Activator;
use tokio::sync::mpsc;

use super::messages::{EpochNote, Report, StagedMessage};
use super::{Notes, Process, StagedStream};
use crate::Epoch;
use crate::bridge::{Outbox, inbox};
use crate::checkpoint::{Completion, Ready};
use crate::stage::Staged;

/// Starts the coordinator: takes where it hears of epochs and where it reports them done.
pub(crate) type CommitLink = Box<dyn FnOnce(mpsc::UnboundedReceiver<Ready>, Outbox<Completion>) + Send>;

/// An epoch between opening and completion.
struct Open {
    capability: Capability<Epoch>,
    ingest_micros: i64,
    handed_over: bool,
}

pub(super) fn render<'scope>(
    process: &Process,
    scope: Scope<'scope, Epoch>,
    staged: StagedStream<'scope>,
    notes: Notes<'scope>,
    lead: Option<CommitLink>,
    completed: Rc<Cell<Epoch>>,
    mint: Activator,
) -> Handle<Epoch> {
    let mut builder = OperatorBuilder::new("commit".into(), scope);
    let mut staged = builder.new_input(staged, Exchange::new(|_: &StagedMessage| 0));
    let mut notes = builder.new_input(notes, Exchange::new(|_: &EpochNote| 0));
    let (out, complete) = builder.new_output::<Vec<Epoch>>();
    let mut out = OutputBuilder::<_, CapacityContainerBuilder<Vec<Epoch>>>::from(out);
    let address = builder.operator_info().address;
    let (outbox, mut inbox) = inbox::<Completion>(1, scope.worker().sync_activator_for(address.to_vec()));
    let (ready, queue) = mpsc::unbounded_channel();
    if let Some(start) = lead {
        start(queue, outbox);
    }
    let stages: Vec<String> = process.plan.stages.iter().map(|s| s.name.clone()).collect();
    builder.build_reschedule(move |capabilities| {
        drop(capabilities);
        let mut open: BTreeMap<Epoch, Open> = BTreeMap::new();
        let mut messages: BTreeMap<Epoch, Vec<StagedMessage>> = BTreeMap::new();
        move |frontiers| {
            notes.for_each(|capability, list| {
                if let (Some(capability), Some(note)) = (capability.retain_least(0), list.first()) {
                    let epoch = *capability.time();
                    open.insert(epoch, Open { capability, ingest_micros: note.ingest_micros, handed_over: false });
                }
            });
            staged.for_each(|capability, list| {
                if let Some(epoch) = capability.least() {
                    messages.entry(*epoch).or_default().append(list);
                }
            });
            for (&epoch, open) in open.iter_mut().filter(|(_, o)| !o.handed_over) {
                if frontiers.iter().any(|f| f.less_equal(&epoch)) {
                    break;
                }
                open.handed_over = true;
                let messages = messages.remove(&epoch).unwrap_or_default();
                // Fails only after the coordinator has ended, that is after a fault: the capability stays.
                let _ = ready.send(sort(epoch, open.ingest_micros, messages, &stages));
            }
            while let Some(completion) = inbox.take() {
                if let Some(done) = open.remove(&completion.epoch) {
                    out.activate().session(&done.capability).give(completion.epoch);
                }
                completed.set(completion.epoch);
                mint.activate();
            }
            !open.is_empty()
        }
    });
    complete.probe().0
}

/// What was reported, by stage.
fn sort(epoch: Epoch, ingest_micros: i64, messages: Vec<StagedMessage>, stages: &[String]) -> Ready {
    let ingest_time = DateTime::from_timestamp_micros(ingest_micros).unwrap_or_default();
    let mut ready = Ready { epoch, ingest_time, ..Ready::default() };
    for message in messages {
        let name = usize::try_from(message.stage).ok().and_then(|i| stages.get(i)).cloned().unwrap_or_default();
        match message.what {
            Report::Rows(payload) => ready.tables.entry(name).or_default().push(Staged(payload)),
            Report::State(payload) => ready.state.entry(name).or_default().push(Staged(payload)),
            Report::Read { bytes, rows } => ready.sources.entry(name).or_default().add(bytes, rows),
            Report::Dropped { id, content } => drop(ready.dropped.entry(name).or_default().insert(id, content)),
        }
    }
    ready
}

//! Where rows leave a stage: they are logged with their epoch and size, and shown to whoever wants to look at them.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator as _;

use super::Process;
use crate::Batch;
use crate::progress::{Passed, passed_logger};
use crate::stage::BatchStream;

/// An operator of the dataflow that belongs to a stage, as its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The stage's region.
    Stage(usize),
    /// Leads rows to it.
    Enter(usize),
    /// Leads rows on.
    Leave(usize),
}

impl Place {
    pub(crate) fn stage(self) -> usize {
        let (Self::Stage(stage) | Self::Enter(stage) | Self::Leave(stage)) = self;
        stage
    }

    /// The operator's name.
    pub(super) fn name(self) -> String {
        match self {
            Self::Stage(stage) => format!("stage:{stage}"),
            Self::Enter(stage) => format!("enter:{stage}"),
            Self::Leave(stage) => format!("leave:{stage}"),
        }
    }
}

/// The place that an operator's name says.
pub(crate) fn place(name: &str) -> Option<Place> {
    let (what, stage) = name.split_once(':')?;
    let stage = stage.parse().ok()?;
    match what {
        "stage" => Some(Place::Stage(stage)),
        "enter" => Some(Place::Enter(stage)),
        "leave" => Some(Place::Leave(stage)),
        _ => None,
    }
}

/// The same rows.
pub(super) fn passed<'scope>(
    process: &Process,
    stream: BatchStream<'scope>,
    place: Place,
    rejects: bool,
) -> BatchStream<'scope> {
    let logger = passed_logger(stream.scope().worker());
    let taps = process.progress.taps.clone();
    let stage = place.stage();
    stream.unary::<CapacityContainerBuilder<Batch>, _, _, _>(Pipeline, &place.name(), |_capability, _info| {
        move |input, output| {
            input.for_each(|capability, batch| {
                if let (Some(rows), Some(&epoch)) = (batch.rows(), capability.least()) {
                    if let Some(logger) = &logger {
                        let (count, bytes) = (rows.num_rows() as u64, batch.bytes() as u64);
                        logger.log(Passed { stage, rejects, epoch, rows: count, bytes });
                    }
                    taps.show(stage, rejects, epoch, rows);
                }
                output.session_with_builder(&capability).give_container(batch);
            });
        }
    })
}

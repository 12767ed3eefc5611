//! Listens to a worker's logs: Timely's own, and that of what leaves a stage. No operator counts beside them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use timely::logging::{StartStop, TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use super::counters::{Met, WorkerProgress};
use super::event::{PassedBuilder, STREAM};
use crate::graph::{Place, place};

/// Listens to this worker's logs. Must be called before the dataflow is built.
pub(crate) fn observe(worker: &Worker, progress: &Arc<WorkerProgress>) {
    let Some(mut register) = worker.log_register() else { return };
    let mut listener = Listener::new(progress);
    register.insert::<TimelyEventBuilder, _>("timely", move |_time, events| {
        for (at, event) in events.iter().flatten() {
            listener.hear(*at, event);
        }
    });
    let progress = progress.clone();
    register.insert::<PassedBuilder, _>(STREAM, move |_time, events| {
        if let Some(events) = events {
            progress.passed(events.iter().map(|(_, passed)| passed));
            events.clear();
        }
    });
}

/// What is known of the dataflow of a worker.
struct Listener {
    progress: Arc<WorkerProgress>,
    /// Operators of the dataflow itself that belong to a stage, by index.
    places: HashMap<usize, Place>,
    /// The same by Timely's number, with when they were started.
    running: HashMap<usize, (usize, Duration)>,
    /// Channels that are not looked at yet: number and target.
    channels: Vec<(usize, usize)>,
    /// What messages of a channel mean when they are sent and when they are received.
    sent: HashMap<usize, Met>,
    received: HashMap<usize, Met>,
}

impl Listener {
    fn new(progress: &Arc<WorkerProgress>) -> Self {
        Self {
            progress: progress.clone(),
            places: HashMap::new(),
            running: HashMap::new(),
            channels: Vec::new(),
            sent: HashMap::new(),
            received: HashMap::new(),
        }
    }

    fn hear(&mut self, at: Duration, event: &TimelyEvent) {
        match event {
            TimelyEvent::Operates(o) if o.addr.len() == 2 => {
                if let (Some(place), Some(&index)) = (place(&o.name), o.addr.last()) {
                    self.places.insert(index, place);
                    self.running.insert(o.id, (place.stage(), Duration::ZERO));
                }
            }
            // A region is announced after its channels, so these are looked at when the first message comes.
            TimelyEvent::Channels(c) if c.scope_addr.len() == 1 => self.channels.push((c.id, c.target.0)),
            TimelyEvent::Messages(m) => {
                if !self.channels.is_empty() {
                    self.attribute();
                }
                let met = if m.is_send { self.sent.get(&m.channel) } else { self.received.get(&m.channel) };
                if let Some(met) = met {
                    self.progress.met(*met, u64::try_from(m.record_count).unwrap_or(0));
                }
            }
            // Operators of the dataflow do not run within each other, and a region's time has that of its parts.
            TimelyEvent::Schedule(s) => {
                if let Some((stage, started)) = self.running.get_mut(&s.id) {
                    match s.start_stop {
                        StartStop::Start => *started = at,
                        StartStop::Stop => self.progress.busy(*stage, at.saturating_sub(*started)),
                    }
                }
            }
            _ => {}
        }
    }

    fn attribute(&mut self) {
        for (id, target) in self.channels.drain(..) {
            match self.places.get(&target) {
                // Through an operator that leads to the stage: on its way from there on.
                Some(Place::Enter(stage)) => {
                    self.sent.insert(id, Met::Sent(*stage));
                    self.received.insert(id, Met::Arrived(*stage));
                }
                Some(Place::Stage(stage)) => {
                    self.sent.insert(id, Met::Sent(*stage));
                    self.received.insert(id, Met::Taken(*stage));
                }
                Some(Place::Leave(_)) | None => {}
            }
        }
    }
}

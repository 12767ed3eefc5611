//! Counts rows per stage from Timely's log of messages, so that no operator counts beside it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::worker::Worker;

use super::{Progress, StageProgress};

/// What the messages of a channel count for.
#[derive(Clone, Copy)]
enum Counts {
    In(usize),
    Out(usize),
    Rejects(usize),
}

/// Listens to this worker's log. Must be called before the dataflow is built.
pub(crate) fn observe(worker: &Worker, progress: Arc<Progress>) {
    let Some(mut register) = worker.log_register() else { return };
    let mut regions: HashMap<usize, usize> = HashMap::new();
    let mut channels: Vec<(usize, (usize, usize), usize)> = Vec::new();
    let mut sent: HashMap<usize, Counts> = HashMap::new();
    let mut received: HashMap<usize, Counts> = HashMap::new();
    register.insert::<TimelyEventBuilder, _>("timely", move |_time, events| {
        for (_, event) in events.iter().flatten() {
            match event {
                // Stages are regions directly below the dataflow, see `graph::region`.
                TimelyEvent::Operates(o) if o.addr.len() == 2 => {
                    if let (Some(stage), Some(&index)) =
                        (o.name.strip_prefix("stage:").and_then(|n| n.parse().ok()), o.addr.last())
                    {
                        regions.insert(index, stage);
                    }
                }
                // A region is announced after its channels, so these are looked at when the first message comes.
                TimelyEvent::Channels(c) if c.scope_addr.len() == 1 => {
                    channels.push((c.id, c.source, c.target.0));
                }
                TimelyEvent::Messages(m) => {
                    if !channels.is_empty() {
                        attribute(&mut channels, &regions, &mut sent, &mut received);
                    }
                    let counts = if m.is_send { sent.get(&m.channel) } else { received.get(&m.channel) };
                    let rows = u64::try_from(m.record_count).unwrap_or(0);
                    if let Some(counts) = counts {
                        count(&progress, *counts, rows);
                    }
                }
                _ => {}
            }
        }
    });
}

fn attribute(
    channels: &mut Vec<(usize, (usize, usize), usize)>,
    regions: &HashMap<usize, usize>,
    sent: &mut HashMap<usize, Counts>,
    received: &mut HashMap<usize, Counts>,
) {
    channels.sort_unstable();
    let mut seen = Vec::new();
    for (id, source, target) in channels.drain(..) {
        if let Some(&stage) = regions.get(&target) {
            received.insert(id, Counts::In(stage));
        }
        // A port with several readers has a channel for each; one of them tells what the port gave.
        if let Some(&stage) = regions.get(&source.0)
            && !seen.contains(&source)
        {
            seen.push(source);
            match source.1 {
                0 => sent.insert(id, Counts::Out(stage)),
                1 => sent.insert(id, Counts::Rejects(stage)),
                _ => None,
            };
        }
    }
}

fn count(progress: &Progress, counts: Counts, rows: u64) {
    let (stage, counter): (usize, fn(&StageProgress) -> &AtomicU64) = match counts {
        Counts::In(stage) => (stage, |s| &s.rows_in),
        Counts::Out(stage) => (stage, |s| &s.rows_out),
        Counts::Rejects(stage) => (stage, |s| &s.rejects),
    };
    let meant = |s: &&StageProgress| s.rejecting || !matches!(counts, Counts::Rejects(_));
    if let Some(stage) = progress.stages.get(stage).filter(meant) {
        counter(stage).fetch_add(rows, Ordering::Relaxed);
    }
}

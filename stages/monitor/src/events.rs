//! Server-sent events: the status as it changes, epochs as they become complete.

use std::convert::Infallible;
use std::time::Duration;

use alluvium_engine::progress::{RunState, Status};
use alluvium_engine::runtime::RunHandle;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use futures::Stream;
use futures::stream;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::Served;

/// The status comes so often; at once when the run's state changes.
const EVERY: Duration = Duration::from_secs(1);

/// Where a listener is.
struct Listener {
    run: RunHandle,
    ticks: watch::Receiver<u64>,
    /// The newest epoch that was told.
    told: u64,
    state: Option<RunState>,
    last: Option<Instant>,
    waiting: Vec<Event>,
    over: bool,
}

pub(crate) async fn events(State(served): State<Served>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let newest = served.run.epochs().last().map_or(0, |e| e.batch_id);
    let ticks = served.run.ticks();
    let listener =
        Listener { run: served.run, ticks, told: newest, state: None, last: None, waiting: Vec::new(), over: false };
    Sse::new(stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    }))
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            let due = self.last.is_none_or(|last| last.elapsed() >= EVERY);
            let status = self.run.status();
            if due || self.state != Some(status.state) {
                self.look(&status);
            } else if self.ticks.changed().await.is_err() {
                return None;
            }
        }
    }

    fn look(&mut self, status: &Status) {
        self.last = Some(Instant::now());
        self.state = Some(status.state);
        self.over = matches!(status.state, RunState::Ended | RunState::Failed);
        // Taken from the end: the status comes last.
        self.waiting.extend(event("status", status));
        for epoch in self.run.epochs().iter().rev().take_while(|e| e.batch_id > self.told) {
            self.waiting.extend(event("epoch", epoch));
        }
        self.told = status.epochs.completed.max(self.told);
    }
}

fn event(name: &str, of: &impl Serialize) -> Option<Event> {
    let json = serde_json::to_string(of).ok()?;
    Some(Event::default().event(name).data(json))
}

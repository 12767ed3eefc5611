//! The end of a run: what is under way comes to its end, what has happened is noted, the lease is given back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::RunHandle;
use crate::checkpoint::{Kept, Records, note_end};
use crate::events::EventLog;
use crate::stage::Fault;

/// After a fault all of the end may take so long, whatever the store does.
const LONGEST_END: Duration = Duration::from_secs(5);
/// Of that a commit that is under way may have so much.
const LONGEST_COMMIT: Duration = Duration::from_secs(3);
/// The same in a cluster, where the others have a right to a process that stops: together with the silence after which
/// it is taken for dead, and with its workers' way out, this is less than 5 s.
const LONGEST_END_OF_MANY: Duration = Duration::from_secs(1);
/// Kept for giving the lease back: it is worth more than the event log.
const LEASE: Duration = Duration::from_millis(300);
/// Noting how the run has ended may take so long: with a store that does not answer it would be minutes.
const LONGEST_NOTE: Duration = Duration::from_secs(1);
/// The event log tells more, and may take longer.
const LONGEST_LAST_EVENT: Duration = Duration::from_secs(2);
/// When nothing has failed there is time.
const LONGEST_EVENTS: Duration = Duration::from_secs(10);

/// What may still be at work when the workers have ended.
#[derive(Default)]
pub(super) struct Tasks {
    pub(super) kept: Option<(Kept, Records)>,
    pub(super) events: Option<EventLog>,
    pub(super) committing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Tasks {
    /// Lets commits and upkeep come to their end, then gives the lease back: whoever has it next must be alone.
    pub(super) async fn end(self, run: &RunHandle) {
        if let Some(task) = self.committing() {
            // It does not panic; what it had to say is told.
            let _ = task.await;
        }
        let deadline = Instant::now() + LONGEST_NOTE + LONGEST_EVENTS + LONGEST_EVENTS;
        self.note(run, None, LONGEST_EVENTS, deadline).await;
    }

    /// The same after a fault, which may have the store for its reason: what takes too long is left alone, and the lease
    /// expires.
    pub(super) async fn end_after(self, run: &RunHandle, fault: &Fault, in_cluster: bool) {
        let deadline = Instant::now() + if in_cluster { LONGEST_END_OF_MANY } else { LONGEST_END };
        if let Some(task) = self.committing()
            && timeout_at(deadline.min(Instant::now() + LONGEST_COMMIT), task).await.is_err()
        {
            return;
        }
        let failed = fault.error.to_resolve().is_none();
        self.note(run, Some(fault), if failed { LONGEST_LAST_EVENT } else { LONGEST_EVENTS }, deadline).await;
    }

    fn committing(&self) -> Option<JoinHandle<()>> {
        self.committing.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn note(self, run: &RunHandle, fault: Option<&Fault>, longest: Duration, deadline: Instant) {
        let Some((kept, records)) = self.kept else { return };
        let before = deadline - LEASE;
        let left = |longest: Duration| longest.min(before.saturating_duration_since(Instant::now()));
        let noting = async {
            let noted = timeout(left(LONGEST_NOTE), note_end(&records, &run.last_run(fault))).await;
            if let Ok(Err(error)) = noted {
                tracing::debug!(%error, "how the run has ended could not be noted");
            }
        };
        let telling = async {
            if let Some(events) = self.events {
                events.end(run.last_event(fault), left(longest)).await;
            }
        };
        tokio::join!(noting, telling);
        if timeout_at(deadline, kept.release()).await.is_err() {
            tracing::debug!("the lease could not be released in time");
        }
    }
}

//! What is being waited for: an object that is read, a commit, a listing. What takes long is why a stage stands still.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{Instrument, Span, error_span};

use crate::Epoch;

/// Whatever takes longer is told.
const LONG: Duration = Duration::from_secs(3);

/// What is under way in this process.
#[derive(Clone)]
pub(crate) struct Activities {
    all: Arc<Mutex<Open>>,
    /// Of the pipeline: what is logged meanwhile says so.
    span: Span,
}

#[derive(Default)]
struct Open {
    next: u64,
    activities: BTreeMap<u64, Activity>,
}

struct Activity {
    stage: String,
    epoch: Option<Epoch>,
    what: String,
    since: Instant,
}

/// Something that has been under way for long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wait {
    pub(crate) stage: String,
    pub(crate) epoch: Option<Epoch>,
    pub(crate) what: String,
    pub(crate) seconds: f64,
}

/// Under way until it is dropped.
struct UnderWay {
    all: Arc<Mutex<Open>>,
    number: u64,
}

impl Activities {
    pub(crate) fn new(pipeline: &str) -> Self {
        // The level decides whether it is seen, not how important it is.
        Self { all: Arc::default(), span: error_span!("run", pipeline) }
    }

    /// For a task of the run: what is logged there says which it is.
    pub(crate) fn of_run(&self) -> Span {
        self.span.clone()
    }

    /// For the thread of a worker: what is logged there says so.
    pub(crate) fn of_worker(&self, worker: usize) -> Span {
        error_span!(parent: &self.span, "worker", worker)
    }

    /// Does something that may take long, such as `reading s3://bucket/object`; what is logged meanwhile is about it.
    pub(crate) async fn follow<F: Future>(
        &self,
        stage: &str,
        epoch: Option<Epoch>,
        what: impl Into<String>,
        work: F,
    ) -> F::Output {
        let _under_way = self.begin(stage, epoch, what);
        work.instrument(error_span!(parent: &self.span, "stage", stage, epoch)).await
    }

    fn begin(&self, stage: &str, epoch: Option<Epoch>, what: impl Into<String>) -> UnderWay {
        let mut open = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.next;
        open.next += 1;
        let activity = Activity { stage: stage.to_owned(), epoch, what: what.into(), since: Instant::now() };
        open.activities.insert(number, activity);
        UnderWay { all: self.all.clone(), number }
    }

    /// What has been under way for long, the oldest first.
    pub(crate) fn long(&self) -> Vec<Wait> {
        let open = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut long: Vec<Wait> = open
            .activities
            .values()
            .filter(|a| a.since.elapsed() >= LONG)
            .map(|a| Wait {
                stage: a.stage.clone(),
                epoch: a.epoch,
                what: a.what.clone(),
                seconds: a.since.elapsed().as_secs_f64(),
            })
            .collect();
        long.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        long
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).activities.remove(&self.number);
    }
}

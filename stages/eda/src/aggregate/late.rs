//! Rows that are in no open window, and the watermark that says which windows are open.
//!
//! The watermark of an epoch is the latest time in the rows of all workers up to and with it, less the lateness. Rows of
//! an epoch are judged by the watermark of the epoch before: it does not depend on the order of arrival, the number of
//! workers or a restart.

use std::collections::BTreeMap;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use alluvium_engine::arrow::compute::filter_record_batch;
use alluvium_engine::arrow::datatypes::TimestampMicrosecondType;
use alluvium_engine::stage::{Reject, StageError};
use alluvium_sql::as_json;

use super::shape::Timed;
use super::window::OnLate;
use crate::form::broken;

/// The watermark of each epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watermarks {
    /// After all epochs that are not in `latest`.
    before: Option<i64>,
    /// The latest time in an epoch, less the lateness.
    latest: BTreeMap<Epoch, i64>,
}

impl Watermarks {
    pub(crate) fn new(restored: Option<i64>) -> Self {
        Self { before: restored, latest: BTreeMap::new() }
    }

    pub(crate) fn note(&mut self, epoch: Epoch, time: i64) {
        let kept = self.latest.entry(epoch).or_insert(time);
        *kept = time.max(*kept);
    }

    /// After all epochs before this one; all of them must have been noted. Forgets what lies before.
    pub(crate) fn before(&mut self, epoch: Epoch) -> Option<i64> {
        let later = self.latest.split_off(&epoch);
        let passed = std::mem::replace(&mut self.latest, later);
        self.before = self.before.into_iter().chain(passed.into_values()).max();
        self.before
    }
}

/// Takes rows out that are in no open window.
pub(crate) struct Latecomers {
    pub(crate) window: Timed,
    /// The time in the rows of the input.
    pub(crate) column: usize,
    pub(crate) stage: String,
}

impl Latecomers {
    /// The rows that are in time, and the others as rejects if the spec asks for them.
    ///
    /// # Errors
    /// There is a late row, and the spec says that the run stops then.
    pub(crate) fn split(
        &self,
        batch: &RecordBatch,
        watermark: Option<i64>,
    ) -> Result<(RecordBatch, Vec<Reject>), StageError> {
        let times = batch.column(self.column).as_primitive::<TimestampMicrosecondType>();
        let reasons: Vec<Option<&str>> = (0..batch.num_rows())
            .map(|row| {
                if times.is_null(row) {
                    return Some("the row has no time");
                }
                let Some(mut kept) = self.window.windows.kept(times.value(row)) else {
                    return Some("the row's time is out of the range of windows");
                };
                let open = |time: i64| watermark.is_none_or(|w| self.window.windows.ends(time) > w);
                (!kept.any(open)).then_some("the row is late: its window is closed")
            })
            .collect();
        let late = reasons.iter().flatten().count();
        if late == 0 {
            return Ok((batch.clone(), Vec::new()));
        }
        let in_time: BooleanArray = reasons.iter().map(|r| Some(r.is_none())).collect();
        let rows = filter_record_batch(batch, &in_time).map_err(broken)?;
        let given = || reasons.iter().enumerate().filter_map(|(row, reason)| Some((row, (*reason)?)));
        match self.window.on_late {
            OnLate::Drop => {
                tracing::warn!(stage = %self.stage, rows = late, "rows were left out that are late or have no time");
                Ok((rows, Vec::new()))
            }
            OnLate::Quarantine => {
                let reject = |(row, reason): (usize, &str)| Reject {
                    object: None,
                    line: None,
                    raw: as_json(&batch.slice(row, 1)),
                    reason: reason.to_owned(),
                };
                Ok((rows, given().map(reject).collect()))
            }
            OnLate::Fail => {
                let (row, reason) = given().next().unwrap_or_default();
                Err(StageError::user(format!("{reason}\n  row: {}", as_json(&batch.slice(row, 1))))
                    .hint("give more `lateness`, or set `on_late:` to `quarantine` or `drop`"))
            }
        }
    }
}

//! Numbers per second, from totals at different moments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::counters::Counts;
use crate::plan::Plan;
use crate::stage::Role;

/// Rates are those of the last few seconds.
const WINDOW: Duration = Duration::from_secs(5);
/// Between two samples.
const APART: Duration = Duration::from_millis(90);
/// Points that are kept, and the time between them.
const POINTS: usize = 600;
const EVERY: Duration = Duration::from_secs(1);

/// The run at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// When.
    pub at: DateTime<Utc>,
    /// Rows per second from sources, over the last seconds.
    pub rows_per_second: f64,
    /// Age of the oldest open epoch in seconds, 0 if none is open.
    pub lag_seconds: f64,
    /// Objects that no complete epoch has.
    pub backlog: u64,
}

/// Of one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) rows: f64,
    pub(super) bytes: f64,
    /// Of all workers' time, the part that the stage took; more than 1 if its own threads are more than the workers.
    pub(super) busy: f64,
}

/// The last moments.
#[derive(Default)]
pub(super) struct Rates {
    samples: VecDeque<(Instant, Vec<Counts>)>,
    workers: usize,
    points: VecDeque<Point>,
    last: Option<Instant>,
}

impl Rates {
    pub(super) fn sample(&mut self, plan: &Plan, totals: &[Counts], workers: usize, lag: f64, backlog: u64) {
        let now = Instant::now();
        if self.samples.back().is_some_and(|(at, _)| now.duration_since(*at) < APART) {
            return;
        }
        self.workers = workers;
        self.samples.push_back((now, totals.to_vec()));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        if self.last.is_none_or(|last| now.duration_since(last) >= EVERY) {
            self.last = Some(now);
            let sources = plan.stages.iter().zip(self.rates()).filter(|(s, _)| s.role == Role::Source);
            let rows_per_second = sources.map(|(_, rate)| rate.rows).sum();
            self.points.push_back(Point { at: Utc::now(), rows_per_second, lag_seconds: lag, backlog });
            if self.points.len() > POINTS {
                self.points.pop_front();
            }
        }
    }

    pub(super) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }

    /// By stage; empty before the first sample.
    pub(super) fn rates(&self) -> Vec<Rate> {
        let (Some((from, before)), Some((to, after))) = (self.samples.front(), self.samples.back()) else {
            return Vec::new();
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        let rate = |(before, after): (&Counts, &Counts)| {
            let per_second = |before: u64, after: u64| {
                if seconds > 0.0 { after.saturating_sub(before) as f64 / seconds } else { 0.0 }
            };
            Rate {
                rows: per_second(before.rows_out, after.rows_out),
                bytes: per_second(before.bytes_out, after.bytes_out),
                busy: per_second(before.busy, after.busy) / 1e9 / self.workers.max(1) as f64,
            }
        };
        before.iter().zip(after).map(rate).collect()
    }
}

//! Metrics: what stages measure through the `metrics` facade, and what the status says, in Prometheus's words.
//!
//! A stage uses `metrics::counter!("alluvium_KIND_WHAT_total", "stage" => name)` and the like. Whatever has the label
//! `stage` is shown with the stage everywhere.

mod publish;

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::progress::Metric;
pub use publish::NAMES;
pub(crate) use publish::publish;

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
/// What totals were a moment ago.
static BEFORE: Mutex<BTreeMap<(String, String), Before>> = Mutex::new(BTreeMap::new());
/// A total at a moment, and how fast it grew until then.
#[derive(Clone, Copy)]
struct Before {
    at: Instant,
    was: f64,
    per_second: f64,
}

/// Rates are taken over so many seconds at least.
const APART: f64 = 2.0;

/// Makes this process remember what is measured. What was measured before is lost.
pub(crate) fn install() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    // A second one in the same process, as in tests, is no reason to stop.
    if metrics::set_global_recorder(recorder).is_ok() && RECORDER.set(handle).is_ok() {
        publish::describe();
    }
}

/// Everything that was measured, in Prometheus's text format.
pub fn render() -> String {
    RECORDER
        .get()
        .map(|handle| {
            handle.run_upkeep();
            crate::secret::redact(&handle.render())
        })
        .unwrap_or_default()
}

/// By stage what it has measured, as sums that those of other processes can be added to.
pub(crate) type Measured = BTreeMap<String, BTreeMap<String, f64>>;

/// What the stages of this process have measured.
pub(crate) fn measured() -> Measured {
    let mut found = Measured::new();
    for line in render().lines().filter(|line| !line.starts_with('#')) {
        if let Some((name, stage, value)) = sample(line) {
            *found.entry(stage.to_owned()).or_default().entry(name.to_owned()).or_default() += value;
        }
    }
    found
}

/// Adds what another process has measured.
pub(crate) fn add(all: &mut Measured, other: &Measured) {
    for (stage, values) in other {
        let of_stage = all.entry(stage.clone()).or_default();
        for (name, value) in values {
            *of_stage.entry(name.clone()).or_default() += value;
        }
    }
}

/// The same for people: totals, levels, and means of distributions.
pub(crate) fn by_stage(measured: Measured) -> BTreeMap<String, Vec<Metric>> {
    let now = Instant::now();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut of_stage = |(stage, values): (String, BTreeMap<String, f64>)| {
        let metric = |(name, value): (&String, &f64)| {
            if let Some(of) = name.strip_suffix("_sum") {
                let count = values.get(&format!("{of}_count"))?;
                return (*count > 0.0).then(|| Metric { name: of.to_owned(), value: value / count, per_second: None });
            }
            if name.ends_with("_count") {
                return None;
            }
            let per_second = name.ends_with("_total").then(|| {
                let key = (stage.clone(), name.clone());
                let mut of = before.get(&key).copied().unwrap_or(Before { at: now, was: *value, per_second: 0.0 });
                let seconds = now.duration_since(of.at).as_secs_f64();
                if seconds >= APART {
                    of = Before { at: now, was: *value, per_second: (value - of.was) / seconds };
                }
                before.insert(key, of);
                of.per_second
            });
            Some(Metric { name: name.clone(), value: *value, per_second })
        };
        let metrics = values.iter().filter_map(metric).collect();
        (stage, metrics)
    };
    measured.into_iter().map(&mut of_stage).collect()
}

/// Name, stage and value of a line that has the label `stage`; not of what the engine publishes itself, and not of
/// quantiles.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line.split_once('{')?;
    let (labels, value) = rest.rsplit_once("} ")?;
    if labels.contains("quantile=") || publish::is_ours(name) {
        return None;
    }
    let (_, after) = labels.split_once("stage=\"")?;
    let (stage, _) = after.split_once('"')?;
    Some((name, stage, value.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_stage() {
        assert_eq!(sample(r#"a_total{stage="x"} 12"#), Some(("a_total", "x", 12.0)));
        assert_eq!(sample(r#"a_seconds_sum{k="v",stage="x y"} 1.5"#), Some(("a_seconds_sum", "x y", 1.5)));
        assert_eq!(sample(r#"a_seconds{stage="x",quantile="0.5"} 1.5"#), None);
        assert_eq!(sample("a_total 12"), None);
        assert_eq!(sample(r#"alluvium_stage_rows_total{stage="x"} 12"#), None);
    }
}

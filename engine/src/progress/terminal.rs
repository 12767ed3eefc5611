//! Progress for people: live on a terminal, plain lines in a pipe; a summary at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use chrono::Utc;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use super::{Backlog, Progress};
use crate::plan::Plan;

/// Between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// Shows progress on standard error.
pub(crate) struct Terminal {
    live: Option<(ProgressBar, Vec<ProgressBar>)>,
    last: Instant,
    /// Of each stage.
    rates: Vec<Rate>,
}

/// Rows per second over the last few looks.
#[derive(Default)]
struct Rate {
    samples: Vec<(Instant, u64)>,
}

impl Rate {
    fn sample(&mut self, rows: u64) -> f64 {
        let now = Instant::now();
        self.samples.push((now, rows));
        self.samples.retain(|(at, _)| now.duration_since(*at) < Duration::from_secs(5));
        match self.samples.first() {
            Some((at, before)) if now > *at => (rows - before) as f64 / now.duration_since(*at).as_secs_f64(),
            _ => 0.0,
        }
    }
}

impl Terminal {
    pub(crate) fn new(plan: &Plan) -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let group = MultiProgress::new();
            let style =
                ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let head = group.add(ProgressBar::new_spinner().with_style(style));
            let plain = ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
            let lines =
                plan.stages.iter().map(|_| group.add(ProgressBar::new_spinner().with_style(plain.clone()))).collect();
            head.enable_steady_tick(Duration::from_millis(120));
            (head, lines)
        });
        Self { live, last: Instant::now(), rates: plan.stages.iter().map(|_| Rate::default()).collect() }
    }

    /// Shows where the run is now.
    pub(crate) fn show(&mut self, plan: &Plan, progress: &Progress) {
        let rows = progress.source_rows(plan);
        if let Some((head, lines)) = &self.live {
            head.set_message(headline(plan, progress, rows));
            let width = progress.stages.iter().map(|s| s.name.len()).max().unwrap_or(0);
            for ((line, stage), rate) in lines.iter().zip(&progress.stages).zip(&mut self.rates) {
                let rate = grouped(rate.sample(stage.rows()) as u64);
                let state = stage.frontier().map_or_else(|| "done".to_owned(), |epoch| format!("epoch {epoch}"));
                let rejects = match stage.rejects() {
                    0 => String::new(),
                    n => format!("  {} rejected", grouped(n)),
                };
                line.set_message(format!(
                    "{:<width$}  {:>13} rows  {rate:>9} rows/s  {state:<9}{rejects}",
                    stage.name,
                    grouped(stage.rows())
                ));
            }
        } else if self.last.elapsed() >= PLAIN_EVERY {
            self.last = Instant::now();
            tell(&headline(plan, progress, rows));
        }
    }

    /// Takes the live part off the screen.
    pub(crate) fn end(self) {
        if let Some((head, lines)) = self.live {
            lines.iter().for_each(ProgressBar::finish_and_clear);
            head.finish_and_clear();
        }
    }
}

fn headline(plan: &Plan, progress: &Progress, rows: u64) -> String {
    let seconds = progress.started.elapsed().as_secs_f64();
    let backlog = match progress.backlog() {
        Backlog { splits: 0, .. } => String::new(),
        backlog => format!(", {}", outstanding(&backlog)),
    };
    format!(
        "{}  {} rows in, {} rows/s, {} epochs complete, {seconds:.0} s{backlog}",
        plan.pipeline,
        grouped(rows),
        grouped(rate(rows, seconds)),
        progress.epochs(),
    )
}

/// What is found and not yet in a complete epoch.
fn outstanding(backlog: &Backlog) -> String {
    let objects = if backlog.splits == 1 { "object" } else { "objects" };
    let age = backlog.oldest.and_then(|oldest| (Utc::now() - oldest).to_std().ok());
    let oldest = age
        .map(|age| format!(", the oldest of {} ago", humantime::format_duration(Duration::from_secs(age.as_secs()))));
    format!(
        "{} {objects} ({}) outstanding{}",
        grouped(backlog.splits),
        HumanBytes(backlog.bytes),
        oldest.unwrap_or_default()
    )
}

fn rate(rows: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (rows as f64 / seconds) as u64 } else { 0 }
}

#[expect(clippy::print_stderr, reason = "the progress display of the command line")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// What a finished run has done.
pub(crate) fn summary(plan: &Plan, progress: &Progress, elapsed: Duration, urls: &BTreeMap<String, String>) -> String {
    let rows = progress.source_rows(plan);
    let seconds = elapsed.as_secs_f64();
    let mut out = String::new();
    // Writing to a String cannot fail.
    if progress.epochs() == 0 {
        let _ = writeln!(out, "{}: nothing new to process ({seconds:.1} s)", plan.pipeline);
        return out;
    }
    let _ = writeln!(
        out,
        "{}: {} rows in {} epoch{} in {seconds:.1} s ({} rows/s)",
        plan.pipeline,
        grouped(rows),
        progress.epochs(),
        if progress.epochs() == 1 { "" } else { "s" },
        grouped(rate(rows, seconds))
    );
    let tables = progress.tables();
    let width = tables.keys().map(String::len).max().unwrap_or(0).max(5);
    if !tables.is_empty() {
        let _ = writeln!(out, "\n  {:<width$}  {:>13}  {:>7}  place", "table", "rows written", "version");
        for stage in &plan.stages {
            if let Some(table) = tables.get(&stage.name) {
                let url = urls.get(&stage.name).map_or("", String::as_str);
                let _ =
                    writeln!(out, "  {:<width$}  {:>13}  {:>7}  {url}", stage.name, grouped(table.rows), table.version);
            }
        }
    }
    let backlog = progress.backlog();
    if backlog.splits > 0 {
        let _ = writeln!(out, "\n  {}", outstanding(&backlog));
    }
    for stage in progress.stages.iter().filter(|s| s.rejects() > 0) {
        let _ = writeln!(out, "\n  {} rejected {} row(s)", stage.name, grouped(stage.rejects()));
    }
    out
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}

//! Progress for people: live on a terminal, plain lines in a pipe; a summary at the end.

use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{BacklogStatus, StageCondition, StageStatus, Status};

/// Between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Of a terminal that does not say how wide it is.
const WIDTH: usize = 80;
/// Characters of an epoch's bar.
const BAR: usize = 24;
/// Warnings that are shown at once.
const WARNINGS: usize = 3;

/// Shows progress on standard error.
pub(crate) struct Terminal {
    live: Option<ProgressBar>,
    last: Instant,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { live, last: Instant::now() }
    }

    /// Shows where the run is now, if it is time to.
    pub(crate) fn show(&mut self, status: impl FnOnce() -> Status) {
        if let Some(bar) = &self.live {
            let status = &status();
            // The last column stays free: a full line would wrap on some terminals.
            let width = terminal_size::terminal_size_of(std::io::stderr()).map_or(WIDTH, |(w, _)| usize::from(w.0));
            let lines = std::iter::once(headline(status)).chain(body(status, width.saturating_sub(1)));
            let cut: Vec<String> = lines.map(|line| cut(&line, width.saturating_sub(3))).collect();
            bar.set_message(cut.join("\n"));
        } else if self.last.elapsed() >= PLAIN_EVERY {
            self.last = Instant::now();
            let status = &status();
            tell(&headline(status));
            status.warnings.iter().rev().take(WARNINGS).for_each(|w| tell(&warning(w)));
        }
    }

    /// Takes the live part off the screen.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.live.take() {
            bar.finish_and_clear();
        }
    }
}

fn headline(status: &Status) -> String {
    let backlog = match status.backlog {
        BacklogStatus { objects: 0, .. } => String::new(),
        backlog => format!(", {}", outstanding(&backlog)),
    };
    let seconds = (status.now - status.started).num_milliseconds() as f64 / 1e3;
    format!(
        "{}  {} rows in, {} rows/s, {} epochs complete, {seconds:.0} s{backlog}",
        status.pipeline,
        grouped(status.rows),
        grouped(rate(status.rows, seconds)),
        status.epochs.completed_by_run,
    )
}

/// The graph as a list, a bar for each open epoch, warnings.
fn body(status: &Status, width: usize) -> Vec<String> {
    let name = status.stages.iter().map(|s| s.name.len()).max().unwrap_or(0).max(5);
    let mut out = vec![format!("{:<name$}  {:>13}  {:>11}  {:>5}  frontier", "stage", "rows", "rows/s", "busy")];
    out.extend(status.stages.iter().map(|stage| line(stage, name)));
    for epoch in status.epochs.completed + 1..=status.epochs.opened {
        out.push(bar(status, epoch, width));
    }
    out.extend(status.warnings.iter().rev().take(WARNINGS).map(warning));
    out
}

fn line(stage: &StageStatus, name: usize) -> String {
    let frontier = match (stage.condition, stage.frontier, stage.lag.epochs) {
        (StageCondition::Stalled, ..) => format!("stalled: {}", stage.cause.clone().unwrap_or_default()),
        (_, None, _) => "done".to_owned(),
        (_, Some(_), 0) => "up to date".to_owned(),
        (_, Some(epoch), 1) => format!("epoch {epoch}"),
        (_, Some(epoch), open) => format!("epoch {epoch} of {open} open"),
    };
    let rejects = match stage.rejects {
        0 => String::new(),
        n => format!(", {} rejected", grouped(n)),
    };
    format!(
        "{:<name$}  {:>13}  {:>11}  {:>4.0}%  {frontier}{rejects}",
        stage.name,
        grouped(stage.rows),
        grouped(stage.rows_per_second as u64),
        stage.busy * 100.0,
    )
}

/// Through how many stages an epoch is.
fn bar(status: &Status, epoch: u64, width: usize) -> String {
    let stages = status.stages.len();
    let through = status.stages.iter().filter(|s| s.frontier.is_none_or(|f| f > epoch)).count();
    let length = BAR.min(width / 3);
    let full = (through * length).checked_div(stages).unwrap_or(0);
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(length - full));
    let what =
        if through == stages { "committing".to_owned() } else { format!("through {through} of {stages} stages") };
    format!("epoch {epoch:<6} {bar} {what}")
}

fn warning(warning: &super::Warning) -> String {
    let place = match (&warning.stage, warning.epoch) {
        (Some(stage), Some(epoch)) => format!(" {stage}, epoch {epoch}:"),
        (Some(stage), None) => format!(" {stage}:"),
        (None, Some(epoch)) => format!(" epoch {epoch}:"),
        (None, None) => String::new(),
    };
    format!("warning:{place} {}", warning.message)
}

/// As much of a line as fits.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// What is found and not yet in a complete epoch.
fn outstanding(backlog: &BacklogStatus) -> String {
    let objects = if backlog.objects == 1 { "object" } else { "objects" };
    let oldest = backlog.oldest_seconds.map(|age| {
        let age = humantime::format_duration(Duration::from_secs(age as u64));
        format!(", the oldest of {age} ago")
    });
    format!(
        "{} {objects} ({}) outstanding{}",
        grouped(backlog.objects),
        HumanBytes(backlog.bytes),
        oldest.unwrap_or_default()
    )
}

fn rate(rows: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (rows as f64 / seconds) as u64 } else { 0 }
}

#[expect(clippy::print_stderr, reason = "the progress display of the command line")]
fn tell(line: &str) {
    eprintln!("{}", crate::secret::redact(line));
}

/// What a finished run has done.
pub(crate) fn summary(status: &Status, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let mut out = String::new();
    let epochs = status.epochs.completed_by_run;
    // Writing to a String cannot fail.
    if epochs == 0 {
        let _ = writeln!(out, "{}: nothing new to process ({seconds:.1} s)", status.pipeline);
        return out;
    }
    let _ = writeln!(
        out,
        "{}: {} rows in {epochs} epoch{} in {seconds:.1} s ({} rows/s)",
        status.pipeline,
        grouped(status.rows),
        if epochs == 1 { "" } else { "s" },
        grouped(rate(status.rows, seconds))
    );
    let tables: Vec<_> = status.tables.iter().filter_map(|t| Some((t, t.version?))).collect();
    let width = tables.iter().map(|(t, _)| t.stage.len()).max().unwrap_or(0).max(5);
    if !tables.is_empty() {
        let _ = writeln!(out, "\n  {:<width$}  {:>13}  {:>7}  place", "table", "rows written", "version");
        for (table, version) in tables {
            let _ =
                writeln!(out, "  {:<width$}  {:>13}  {version:>7}  {}", table.stage, grouped(table.rows), table.url);
        }
    }
    if status.backlog.objects > 0 {
        let _ = writeln!(out, "\n  {}", outstanding(&status.backlog));
    }
    for stage in status.stages.iter().filter(|s| s.rejects > 0) {
        let _ = writeln!(out, "\n  {} rejected {} row(s)", stage.name, grouped(stage.rejects));
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

    #[test]
    fn a_line_that_is_too_long_is_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
    }
}

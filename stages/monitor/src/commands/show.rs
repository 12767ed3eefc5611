//! Numbers and rows as text.

use alluvium_engine::progress::{RunState, StageCondition, StageStatus};

/// `1234567` as `1,234,567`.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Bytes in the unit that makes them short.
pub(super) fn bytes(n: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// A time that has passed.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

pub(super) fn state(state: RunState) -> &'static str {
    match state {
        RunState::Starting => "starting",
        RunState::Running => "running",
        RunState::Paused => "paused",
        RunState::Draining => "draining",
        RunState::Ended => "ended",
        RunState::Failed => "failed",
    }
}

/// Where a stage is.
pub(super) fn place(stage: &StageStatus) -> String {
    match (stage.condition, stage.frontier, stage.lag.epochs) {
        (StageCondition::Failed, ..) => "failed".to_owned(),
        (StageCondition::Stalled, ..) => format!("stalled: {}", stage.cause.as_deref().unwrap_or_default()),
        (_, None, _) => "done".to_owned(),
        (_, Some(_), 0) => "up to date".to_owned(),
        (_, Some(epoch), 1) => format!("epoch {epoch}"),
        (_, Some(epoch), open) => format!("epoch {epoch}, {open} open"),
    }
}

/// Columns under their names, as wide as they must be; those that are numbers end under each other.
pub(super) fn table<const N: usize>(head: &[&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|r| r[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let number = |column: usize| {
        !rows.is_empty()
            && rows.iter().all(|r| r[column].starts_with(|c: char| c.is_ascii_digit()) || r[column].is_empty())
    };
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if number(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rows = rows.iter().map(|r| line(r.iter().map(String::as_str).collect()));
    std::iter::once(line(head.to_vec())).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!((bytes(999), bytes(12_345_678)), ("999 B".into(), "11.8 MiB".into()));
        assert_eq!((seconds(0.25), seconds(200_000.0)), ("0.2 s".into(), "2 d".into()));
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["a".to_owned(), "1".to_owned()], ["bcd".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["x", "n"], &rows), "x     n\na     1\nbcd  22\n");
    }
}

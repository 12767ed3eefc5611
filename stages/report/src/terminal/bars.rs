//! Bars of blocks, to an eighth of a cell.

use super::{Terminal, field, or_dash};
use crate::content::Series;
use crate::format::cells;

const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/// Stacked series differ without colours too.
const FILLS: [&str; 6] = ["█", "▒", "▓", "░", "▚", "━"];

pub(super) fn draw(terminal: Terminal, names: &[String], series: &[Series]) -> String {
    let sum = |row: usize| -> Option<f64> {
        series.iter().filter_map(|s| s.values.get(row).copied().flatten()).reduce(|a, b| a + b)
    };
    let left = names.iter().map(|n| cells(n)).max().unwrap_or(0).min(terminal.width * 2 / 5);
    let right = (0..names.len()).map(|row| cells(&or_dash(sum(row)))).max().unwrap_or(0);
    let room = terminal.width.saturating_sub(left + right + 2).max(1);
    let most = (0..names.len()).map(|row| reach(series, row)).fold(0.0, f64::max);
    let unit = if most > 0.0 { room as f64 / most } else { 0.0 };
    let mut out = String::new();
    if series.len() > 1 {
        let entries = series.iter().enumerate();
        let list: Vec<String> = entries
            .map(|(at, s)| {
                format!("{} {}", terminal.series(at, fill(at)), field(&s.name, cells(&s.name).min(30), false))
            })
            .collect();
        out.push_str(&format!("{}\n", list.join("  ")));
    }
    for (row, name) in names.iter().enumerate() {
        let mut bar = String::new();
        if let [one] = series {
            let length = one.values.get(row).copied().flatten().unwrap_or(0.0).abs() * unit;
            let eighths = (length * 8.0).round() as usize;
            let blocks = "█".repeat(eighths / 8) + EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
            bar.push_str(&terminal.series(0, &blocks));
        } else {
            let mut done = 0;
            let mut upto = 0.0;
            for (at, one) in series.iter().enumerate() {
                upto += one.values.get(row).copied().flatten().unwrap_or(0.0).abs();
                let end = (upto * unit).round() as usize;
                bar.push_str(&terminal.series(at, &fill(at).repeat(end.saturating_sub(done))));
                done = end.max(done);
            }
        }
        let number = field(&or_dash(sum(row)), right, true);
        out.push_str(format!("{} {number} {bar}", field(name, left, false)).trim_end());
        out.push('\n');
    }
    out
}

fn fill(series: usize) -> &'static str {
    FILLS.get(series % FILLS.len()).copied().unwrap_or("█")
}

/// How long the bar of a row is, whatever its sign.
fn reach(series: &[Series], row: usize) -> f64 {
    series.iter().filter_map(|s| s.values.get(row).copied().flatten()).map(f64::abs).sum()
}

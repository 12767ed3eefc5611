//! Rows side by side, and numbers by two names.

use super::{Terminal, field, or_dash};
use crate::format::cells;
use crate::rows::{Column, Kind, Rows};

pub(super) fn draw(terminal: Terminal, rows: &Rows) -> String {
    let need = |c: &Column| (0..rows.count).map(|r| cells(c.text(r))).chain([cells(&c.name)]).max().unwrap_or(0);
    let mut widths: Vec<usize> = rows.columns.iter().map(need).collect();
    let most = terminal.width.saturating_sub(2 * widths.len().saturating_sub(1));
    while widths.iter().sum::<usize>() > most {
        let Some(widest) = widths.iter_mut().max().filter(|w| **w > 4) else { break };
        *widest -= 1;
    }
    let line = |text: &dyn Fn(&Column) -> String| -> String {
        let columns = rows.columns.iter().zip(&widths);
        columns.map(|(c, w)| field(&text(c), *w, c.kind == Kind::Number)).collect::<Vec<_>>().join("  ")
    };
    let mut out = format!("{}\n", terminal.bold(line(&|c| c.name.clone()).trim_end()));
    for row in 0..rows.count {
        out.push_str(line(&|c| c.text(row).to_owned()).trim_end());
        out.push('\n');
    }
    out
}

/// The larger a number, the darker the shade before it.
pub(super) fn heatmap(
    terminal: Terminal,
    (x, y): (&str, &str),
    columns: &[String],
    rows: &[String],
    values: &[Vec<Option<f64>>],
) -> String {
    let most = values.iter().flatten().flatten().fold(0.0, |most: f64, v| most.max(v.abs()));
    let corner = format!("{y} ↓  {x} →");
    let left = rows.iter().map(|r| cells(r)).chain([cells(&corner)]).max().unwrap_or(0).min(terminal.width / 3);
    let numbers = values.iter().flatten().map(|v| cells(&or_dash(*v)) + 3);
    let need = columns.iter().map(|c| cells(c)).chain(numbers).max().unwrap_or(0);
    let wide = need.min((terminal.width.saturating_sub(left) / columns.len().max(1)).saturating_sub(2)).max(3);
    let mut out = field(&corner, left, false);
    columns.iter().for_each(|c| out.push_str(&format!("  {}", field(c, wide, true))));
    out.push('\n');
    for (name, line) in rows.iter().zip(values) {
        out.push_str(&field(name, left, false));
        for value in line {
            let share = if most > 0.0 { value.unwrap_or(0.0).abs() / most } else { 0.0 };
            let shade = [" ", "░", "▒", "▓", "█"].get((share * 4.0).ceil() as usize).copied().unwrap_or("█");
            let number = field(&or_dash(*value), wide.saturating_sub(3), true);
            out.push_str(&format!("  {} {number}", terminal.series(0, &shade.repeat(2))));
        }
        out.push('\n');
    }
    out
}

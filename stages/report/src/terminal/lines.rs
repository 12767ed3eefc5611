//! Lines of dots: two by four in each cell.

use super::{Terminal, field};
use crate::content::{Line, span, tops};
use crate::format::{cells, cut, moment, short};
use crate::rows::Kind;

const HEIGHT: usize = 14;

pub(super) fn draw(terminal: Terminal, x: Kind, series: &[Line], stacked: bool) -> String {
    let tops = tops(series, stacked);
    let all = || tops.iter().flatten();
    let (start, end) = span(all().map(|p| p.0));
    let (lo, hi) = span(all().map(|p| p.1));
    let lo = if stacked || (lo > 0.0 && lo < 0.6 * hi) { lo.min(0.0) } else { lo };
    let labels = [short(hi), short((lo + hi) / 2.0), short(lo)];
    let left = labels.iter().map(|l| cells(l)).max().unwrap_or(0);
    // Names stand at the ends of their lines, so that these need no colours to be told apart.
    let right = if series.len() > 1 { series.iter().map(|s| cells(&s.name) + 1).max().unwrap_or(0).min(21) } else { 0 };
    let columns = terminal.width.saturating_sub(left + 2 + right).max(2);
    let mut grid = vec![vec![(0_u8, 0_usize); columns]; HEIGHT];
    let mut names: Vec<Option<usize>> = vec![None; HEIGHT];
    for (at, line) in tops.iter().enumerate() {
        let place = |p: &(f64, f64)| {
            let across = if end > start { (p.0 - start) / (end - start) } else { 0.5 };
            let up = if hi > lo { (p.1 - lo) / (hi - lo) } else { 0.5 };
            (across * (columns * 2 - 1) as f64, (1.0 - up) * (HEIGHT * 4 - 1) as f64)
        };
        let places: Vec<(f64, f64)> = line.iter().map(place).collect();
        for pair in places.windows(2) {
            if let [from, to] = pair {
                stroke(&mut grid, *from, *to, at);
            }
        }
        places.iter().for_each(|p| dot(&mut grid, p.0, p.1, at));
        let end = places.last().map_or(0, |p| (p.1 / 4.0) as usize);
        name_end(&mut names, end, at);
    }
    let mut out = String::new();
    for (row, line) in grid.iter().enumerate() {
        let label = match row {
            0 => labels[0].as_str(),
            r if r == HEIGHT / 2 => labels[1].as_str(),
            r if r == HEIGHT - 1 => labels[2].as_str(),
            _ => "",
        };
        let dots: String = line.iter().map(|(bits, series)| cell(terminal, *bits, *series)).collect();
        let name = names.get(row).copied().flatten().filter(|_| right > 0);
        let name = name.and_then(|at| Some((at, &series.get(at)?.name)));
        let name =
            name.map(|(at, name)| format!(" {}", terminal.series(at, &cut(name, right - 1)))).unwrap_or_default();
        out.push_str(format!("{} │{dots}{name}", field(label, left, true)).trim_end());
        out.push('\n');
    }
    let (from, to) = match x {
        Kind::Time => (moment(start), moment(end)),
        _ => (short(start), short(end)),
    };
    let space = columns.saturating_sub(cells(&from) + cells(&to));
    out + &format!(
        "{} └{}\n{}  {from}{}{to}\n",
        " ".repeat(left),
        "─".repeat(columns),
        " ".repeat(left),
        " ".repeat(space)
    )
}

/// A name goes to the end of its line, or to the nearest row that is free.
fn name_end(names: &mut [Option<usize>], end: usize, series: usize) {
    let near = (0..names.len()).filter(|row| names.get(*row).is_some_and(Option::is_none));
    if let Some(place) = near.min_by_key(|row| row.abs_diff(end)).and_then(|row| names.get_mut(row)) {
        *place = Some(series);
    }
}

fn cell(terminal: Terminal, bits: u8, series: usize) -> String {
    match char::from_u32(0x2800 + u32::from(bits)).filter(|_| bits != 0) {
        Some(dots) => terminal.series(series, &dots.to_string()),
        None => " ".to_owned(),
    }
}

fn dot(grid: &mut [Vec<(u8, usize)>], x: f64, y: f64, series: usize) {
    const BITS: [[u8; 2]; 4] = [[1, 8], [2, 16], [4, 32], [64, 128]];
    let (x, y) = (x.round() as usize, y.round() as usize);
    if let (Some(place), Some(bit)) =
        (grid.get_mut(y / 4).and_then(|line| line.get_mut(x / 2)), BITS.get(y % 4).and_then(|b| b.get(x % 2)))
    {
        *place = (place.0 | bit, series);
    }
}

fn stroke(grid: &mut [Vec<(u8, usize)>], from: (f64, f64), to: (f64, f64), series: usize) {
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
    for step in 0..=steps as usize {
        let part = step as f64 / steps;
        dot(grid, from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part, series);
    }
}

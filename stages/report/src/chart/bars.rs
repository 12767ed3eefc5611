//! Bars that lie: names on the left, numbers at their ends, series one after the other.

use plotters::chart::ChartBuilder;
use plotters::prelude::Rectangle;

use super::frame::{From, draw_legend, filled, fitting, legend, style, width, write};
use super::{Area, Drawn};
use crate::content::Series;
use crate::format::number;
use crate::palette::Ink;

const ROW: i32 = 26;

pub(super) fn height(names: usize, series: &[Series], wide: i32) -> i32 {
    let rows = i32::try_from(names).unwrap_or(i32::MAX / 64) * ROW;
    rows + if series.len() > 1 { legend(series.iter().map(|s| s.name.as_str()), wide).1 } else { 0 } + 4
}

pub(super) fn draw(area: &Area<'_>, names: &[String], series: &[Series]) -> Drawn {
    let (wide, _) = area.dim_in_pixel();
    let wide = i32::try_from(wide).unwrap_or(0);
    let (entries, top) =
        if series.len() > 1 { legend(series.iter().map(|s| s.name.as_str()), wide) } else { (Vec::new(), 0) };
    draw_legend(area, &entries)?;
    let left = names.iter().map(|n| width(n)).max().unwrap_or(0).min(wide * 2 / 5) + 12;
    let sums: Vec<(f64, f64)> = (0..names.len()).map(|at| reach(series, at)).collect();
    let ends = sums.iter().map(|(_, up)| width(&number(*up))).max().unwrap_or(0) + 10;
    let lo = sums.iter().map(|s| s.0).fold(0.0, f64::min);
    let hi = sums.iter().map(|s| s.1).fold(0.0, f64::max);
    let hi = if hi > lo { hi } else { lo + 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin_left(left)
        .margin_right(ends)
        .margin_top(top)
        .margin_bottom(4)
        .build_cartesian_2d(lo..hi, names.len() as f64..0.0)?;
    for (row, name) in names.iter().enumerate() {
        let (mut up, mut down) = (0.0, 0.0);
        for (at, one) in series.iter().enumerate() {
            let Some(value) = one.values.get(row).copied().flatten().filter(|v| *v != 0.0) else { continue };
            let from = if value > 0.0 { &mut up } else { &mut down };
            let ends = (*from, *from + value);
            *from = ends.1;
            let corners = [(ends.0, row as f64 + 0.16), (ends.1, row as f64 + 0.84)];
            chart.draw_series([Rectangle::new(corners, filled(Ink::Series(at), 1.0))])?;
            inside(
                area,
                &chart.plotting_area().map_coordinate(&corners[0]),
                &chart.plotting_area().map_coordinate(&corners[1]),
                value,
                (series.len() > 1).then_some(at),
            )?;
        }
        let (x, y) = chart.plotting_area().map_coordinate(&(up, row as f64 + 0.5));
        write(area, &fitting(name, left - 8), (left - 10, y), style(Ink::Text, From::Right))?;
        let known = series.iter().any(|s| s.values.get(row).is_some_and(Option::is_some));
        let text = if known { number(up + down) } else { "–".to_owned() };
        write(area, &text, (x + 6, y), style(Ink::Quiet, From::Left))?;
    }
    Ok(())
}

/// How far the bars of a row go down and up.
fn reach(series: &[Series], row: usize) -> (f64, f64) {
    let values = || series.iter().filter_map(|s| s.values.get(row).copied().flatten());
    (values().filter(|v| *v < 0.0).sum(), values().filter(|v| *v > 0.0).sum())
}

/// The number of one part of a bar, where there is room for it; a gap sets the next one apart.
fn inside(area: &Area<'_>, from: &(i32, i32), to: &(i32, i32), value: f64, series: Option<usize>) -> Drawn {
    let Some(series) = series else { return Ok(()) };
    let text = number(value);
    let middle = ((from.0 + to.0) / 2, (from.1 + to.1) / 2);
    let end = from.0.max(to.0);
    super::frame::fill(area, [(end - 1, from.1), (end, to.1)], Ink::Paper, 1.0)?;
    if (to.0 - from.0).abs() >= width(&text) + 8 {
        write(area, &text, middle, style(Ink::On(series), From::Middle))?;
    }
    Ok(())
}

//! A histogram: columns that stand side by side.

use plotters::chart::ChartBuilder;
use plotters::prelude::Rectangle;

use super::frame::{From, axes, beside, filled, style, ticks, write};
use super::{Area, Drawn};
use crate::content::Histogram;
use crate::palette::Ink;

pub(super) fn draw(area: &Area<'_>, histogram: &Histogram) -> Drawn {
    let (wide, high) = area.dim_in_pixel();
    let high = i32::try_from(high).unwrap_or(0);
    let most = histogram.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let up = ticks(0.0, most * 1.05, 4);
    let left = beside(&up);
    let (start, end) = (histogram.start, histogram.range(histogram.counts.len().saturating_sub(1)).1);
    let across = ticks(start, end, usize::try_from(wide / 70).unwrap_or(4));
    let mut chart = ChartBuilder::on(area)
        .margin_top(24)
        .margin_right(16)
        .margin_bottom(40)
        .margin_left(left)
        .build_cartesian_2d(start..end, 0.0..most * 1.05)?;
    axes(area, chart.plotting_area(), &across, &up)?;
    for (at, count) in histogram.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let (from, to) = histogram.range(at);
        let mut column = Rectangle::new([(from, *count as f64), (to, 0.0)], filled(Ink::Series(0), 1.0));
        column.set_margin(0, 0, 1, 1);
        chart.draw_series([column])?;
    }
    write(area, "count", (0, 8), style(Ink::Quiet, From::Left))?;
    let middle = (left + i32::try_from(wide).unwrap_or(0)) / 2;
    write(area, &histogram.label, (middle, high - 8), style(Ink::Quiet, From::Middle))
}

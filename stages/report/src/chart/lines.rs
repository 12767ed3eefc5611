//! Lines over times or numbers, or areas stacked on each other; names stand at their ends.

use plotters::chart::ChartBuilder;
use plotters::element::{Circle, Polygon};
use plotters::prelude::{Color, PathElement};

use super::frame::{From, axes, beside, filled, fitting, style, ticks, width, write};
use super::times::times;
use super::{Area, Drawn};
use crate::content::{Line, span, tops};
use crate::palette::Ink;
use crate::rows::Kind;

/// Up to so many points of a line are marked.
const MARKED: usize = 45;

pub(super) fn draw(area: &Area<'_>, x: Kind, label: &str, series: &[Line], stacked: bool) -> Drawn {
    let (wide, high) = area.dim_in_pixel();
    let (wide, high) = (i32::try_from(wide).unwrap_or(0), i32::try_from(high).unwrap_or(0));
    let tops = tops(series, stacked);
    let (start, end) = span(series.iter().flat_map(|l| l.points.iter().map(|p| p.0)));
    let (lo, hi) = span(tops.iter().flatten().map(|p| p.1).chain([0.0].into_iter().filter(|_| stacked)));
    // From nothing, unless that would make the line flat.
    let lo = if lo > 0.0 && lo < 0.6 * hi { 0.0 } else { lo };
    let (lo, hi) = if hi > lo { (lo, hi + (hi - lo) * 0.06) } else { (lo - 1.0, hi + 1.0) };
    let (start, end) = if end > start { (start, end) } else { (start - 0.5, end + 0.5) };
    let up = ticks(lo, hi, 4);
    let most = usize::try_from(wide / 85).unwrap_or(4);
    let across = if x == Kind::Time { times(start, end, most) } else { ticks(start, end, most) };
    let left = beside(&up);
    let several = series.len() > 1;
    let right = if several { series.iter().map(|l| width(&l.name)).max().unwrap_or(0).min(wide / 4) + 14 } else { 18 };
    let mut chart = ChartBuilder::on(area)
        .margin_top(if several { 10 } else { 24 })
        .margin_right(right)
        .margin_bottom(24)
        .margin_left(left)
        .build_cartesian_2d(start..end, lo..hi)?;
    axes(area, chart.plotting_area(), &across, &up)?;
    for (at, top) in tops.iter().enumerate() {
        if stacked {
            let mut outline = top.clone();
            match at.checked_sub(1).and_then(|below| tops.get(below)) {
                Some(below) => outline.extend(below.iter().rev()),
                None => outline.extend(top.iter().rev().map(|(x, _)| (*x, 0.0))),
            }
            chart.draw_series([Polygon::new(outline, filled(Ink::Series(at), if several { 0.85 } else { 0.3 }))])?;
        }
        if !(stacked && several) {
            let line = Ink::Series(at).color().stroke_width(2);
            chart.draw_series([PathElement::new(top.clone(), line)])?;
            if top.len() <= MARKED {
                chart.draw_series(top.iter().map(|p| Circle::new(*p, 3, filled(Ink::Series(at), 1.0))))?;
            }
        }
    }
    if !several {
        let name = series.first().map_or("", |l| l.name.as_str());
        write(area, &fitting(name, wide / 2), (0, 8), style(Ink::Quiet, From::Left))?;
        return if x == Kind::Time {
            Ok(())
        } else {
            write(area, label, (wide - 18, high - 30), style(Ink::Quiet, From::Right))
        };
    }
    let mut ends: Vec<(usize, i32)> = Vec::new();
    for (at, top) in tops.iter().enumerate() {
        let Some(last) = top.last() else { continue };
        let below = if stacked && at > 0 { tops.get(at - 1).and_then(|b| b.last()).map_or(0.0, |p| p.1) } else { 0.0 };
        let middle = if stacked { (last.1 + below) / 2.0 } else { last.1 };
        ends.push((at, chart.plotting_area().map_coordinate(&(last.0, middle)).1));
    }
    let x = wide - right + 8;
    for (at, y) in apart(ends, 15, high - 30) {
        let name = series.get(at).map_or("", |l| l.name.as_str());
        super::frame::fill(area, [(x, y - 4), (x + 3, y + 5)], Ink::Series(at), 1.0)?;
        write(area, &fitting(name, right - 12), (x + 7, y), style(Ink::Text, From::Left))?;
    }
    Ok(())
}

/// Moves names apart that would stand on each other.
fn apart(mut places: Vec<(usize, i32)>, distance: i32, lowest: i32) -> Vec<(usize, i32)> {
    places.sort_by_key(|p| p.1);
    let mut free = i32::MIN / 2;
    for place in &mut places {
        place.1 = place.1.max(free);
        free = place.1 + distance;
    }
    let mut free = lowest;
    for place in places.iter_mut().rev() {
        place.1 = place.1.min(free);
        free = place.1 - distance;
    }
    places
}

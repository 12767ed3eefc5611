//! What charts have in common: texts, axes, legends.

use plotters::coord::types::RangedCoordf64;
use plotters::drawing::DrawingArea;
use plotters::element::{PathElement, Text};
use plotters::prelude::{Cartesian2d, Color, FontStyle, IntoFont, Rectangle, ShapeStyle, TextStyle};
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::svg::Svg;
use super::{Area, Drawn, SIZE};
use crate::format::{cells, cut, short};
use crate::palette::Ink;

/// Where a text stands from its place.
#[derive(Clone, Copy)]
pub(super) enum From {
    Left,
    Middle,
    Right,
}

pub(super) fn style(ink: Ink, from: From) -> TextStyle<'static> {
    sized(ink, from, SIZE)
}

pub(super) fn sized(ink: Ink, from: From, size: i32) -> TextStyle<'static> {
    let h = match from {
        From::Left => HPos::Left,
        From::Middle => HPos::Center,
        From::Right => HPos::Right,
    };
    let font = ("sans-serif", size).into_font();
    let font = if size > SIZE { font.style(FontStyle::Bold) } else { font };
    TextStyle { font, color: ink.color().to_backend_color(), pos: Pos::new(h, VPos::Center) }
}

/// A text, with its middle at this height.
pub(super) fn write(area: &Area<'_>, text: &str, place: (i32, i32), style: TextStyle<'static>) -> Drawn {
    Ok(area.draw(&Text::new(text.to_owned(), place, style))?)
}

pub(super) fn fill(area: &Area<'_>, corners: [(i32, i32); 2], ink: Ink, opacity: f64) -> Drawn {
    Ok(area.draw(&Rectangle::new(corners, filled(ink, opacity)))?)
}

pub(super) fn filled(ink: Ink, opacity: f64) -> ShapeStyle {
    ink.color().mix(opacity).filled()
}

/// Pixels beside an axis for the names of its marks.
pub(super) fn beside(marks: &[(f64, String)]) -> i32 {
    marks.iter().map(|m| width(&m.1)).max().unwrap_or(0) + 10
}

/// Where numbers have places.
pub(super) type Plane<'a> = DrawingArea<Svg<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Lines at the marks of the height with their names on the left, an axis at the bottom with marks and names below it.
pub(super) fn axes(area: &Area<'_>, plane: &Plane<'_>, across: &[(f64, String)], up: &[(f64, String)]) -> Drawn {
    let (xs, ys) = plane.get_pixel_range();
    let line = |from, to, ink: Ink| area.draw(&PathElement::new([from, to], ink.color()));
    for (value, name) in up {
        let y = plane.map_coordinate(&(0.0, *value)).1;
        line((xs.start, y), (xs.end, y), Ink::Grid)?;
        write(area, name, (xs.start - 8, y), style(Ink::Quiet, From::Right))?;
    }
    line((xs.start, ys.end), (xs.end, ys.end), Ink::Axis)?;
    for (value, name) in across {
        let x = plane.map_coordinate(&(*value, 0.0)).0;
        line((x, ys.end), (x, ys.end + 4), Ink::Axis)?;
        write(area, name, (x, ys.end + 14), style(Ink::Quiet, From::Middle))?;
    }
    Ok(())
}

/// Tenths of a pixel that a letter takes in a wide font, at the size of charts.
const LETTER: i32 = 77;

/// Pixels that a text takes at the size of charts: rather too many.
pub(super) fn width(text: &str) -> i32 {
    i32::try_from(cells(text)).unwrap_or(i32::MAX / 128).saturating_mul(LETTER) / 10
}

/// The beginning of a text in so many pixels.
pub(super) fn fitting(text: &str, pixels: i32) -> String {
    cut(text, usize::try_from(pixels * 10 / LETTER).unwrap_or(0))
}

/// Where the names of series stand, line by line: place and text of each, and the height of all.
pub(super) fn legend<'a>(names: impl Iterator<Item = &'a str>, most: i32) -> (Vec<(i32, i32, String)>, i32) {
    let (mut x, mut y, mut out) = (0, 0, Vec::new());
    for name in names {
        let name = fitting(name, most - 20);
        let wide = width(&name) + 34;
        if x > 0 && x + wide > most {
            (x, y) = (0, y + 20);
        }
        out.push((x, y, name));
        x += wide;
    }
    (out, y + 26)
}

/// A square and a name for each series.
pub(super) fn draw_legend(area: &Area<'_>, entries: &[(i32, i32, String)]) -> Drawn {
    for (series, (x, y, name)) in entries.iter().enumerate() {
        fill(area, [(*x, y + 2), (x + 11, y + 13)], Ink::Series(series), 1.0)?;
        write(area, name, (x + 17, y + 8), style(Ink::Text, From::Left))?;
    }
    Ok(())
}

/// Numbers at the same distance that people count with, from `lo` to `hi`, `most` at most, with their names.
pub(super) fn ticks(lo: f64, hi: f64, most: usize) -> Vec<(f64, String)> {
    let named = |n: f64| (n, short(n));
    let span = hi - lo;
    if span <= 0.0 || !span.is_finite() {
        return vec![named(lo)];
    }
    let raw = span / most.max(1) as f64;
    let unit = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|f| f * unit >= raw).unwrap_or(10.0) * unit;
    let first = (lo / step).ceil() as i64;
    let last = (hi / step * (1.0 + 1e-12)).floor() as i64;
    (first..=last).map(|n| named(n as f64 * step)).collect()
}

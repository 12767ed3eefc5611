//! A number for each pair of names: the larger, the darker, and written down.

use super::frame::{From, fill, fitting, style, width, write};
use super::{Area, Drawn};
use crate::format::{number, short};
use crate::palette::Ink;

const TOP: i32 = 46;

pub(super) fn height(rows: usize, columns: usize) -> i32 {
    TOP + i32::try_from(rows).unwrap_or(i32::MAX / 64) * cell_height(rows.max(columns)) + 4
}

fn cell_height(count: usize) -> i32 {
    if count <= 4 { 56 } else { 30 }
}

pub(super) fn draw(
    area: &Area<'_>,
    (x, y): (&str, &str),
    columns: &[String],
    rows: &[String],
    values: &[Vec<Option<f64>>],
) -> Drawn {
    let (wide, _) = area.dim_in_pixel();
    let wide = i32::try_from(wide).unwrap_or(0);
    let corner = format!("{y} ↓");
    let longest = rows.iter().chain([&corner]).map(|name| width(name)).max().unwrap_or(0);
    let left = longest.min(wide / 3) + 14;
    let count = i32::try_from(columns.len()).unwrap_or(1).max(1);
    let tall = cell_height(rows.len().max(columns.len()));
    let cell = ((wide - left) / count).clamp(8, 140);
    let most = values.iter().flatten().flatten().fold(0.0, |most: f64, v| most.max(v.abs()));
    write(area, &fitting(&format!("{x} →"), wide - left), (left, 10), style(Ink::Quiet, From::Left))?;
    write(area, &fitting(&corner, left - 10), (left - 10, 32), style(Ink::Quiet, From::Right))?;
    for (name, at) in columns.iter().zip(0..) {
        write(area, &fitting(name, cell - 4), (left + at * cell + cell / 2, 32), style(Ink::Text, From::Middle))?;
    }
    for ((name, line), row) in rows.iter().zip(values).zip(0..) {
        let y = TOP + row * tall;
        write(area, &fitting(name, left - 10), (left - 10, y + tall / 2), style(Ink::Text, From::Right))?;
        for (value, at) in line.iter().zip(0..) {
            let corners = [(left + at * cell + 1, y + 1), (left + (at + 1) * cell - 1, y + tall - 1)];
            let Some(value) = value else {
                fill(area, corners, Ink::Grid, 0.5)?;
                continue;
            };
            let share = if most > 0.0 { value.abs() / most } else { 0.0 };
            fill(area, corners, Ink::Series(0), 0.06 + 0.94 * share)?;
            let ink = if share > 0.7 { Ink::On(0) } else { Ink::Text };
            let long = number(*value);
            let text = if width(&long) <= cell - 6 { long } else { short(*value) };
            if width(&text) <= cell {
                write(area, &text, (left + at * cell + cell / 2, y + tall / 2), style(ink, From::Middle))?;
            }
        }
    }
    Ok(())
}

//! Contents that are text: a number, rows, nothing.

use super::frame::{From, fill, fitting, sized, style, width, write};
use super::{Area, Drawn};
use crate::palette::Ink;
use crate::rows::{Kind, Rows};

const ROW: i32 = 22;

pub(super) fn nothing(area: &Area<'_>) -> Drawn {
    write(area, "No rows", (0, 24), style(Ink::Quiet, From::Left))
}

pub(super) fn number(area: &Area<'_>, value: &str) -> Drawn {
    write(area, value, (0, 26), sized(Ink::Text, From::Left, 36))
}

pub(super) fn table_height(rows: &Rows) -> i32 {
    (i32::try_from(rows.count).unwrap_or(i32::MAX / 64) + 1) * ROW + 8
}

/// Columns as wide as they need, the widest cut until all fit.
pub(super) fn table(area: &Area<'_>, rows: &Rows) -> Drawn {
    let (wide, _) = area.dim_in_pixel();
    let wide = i32::try_from(wide).unwrap_or(0);
    let need = |c: &crate::rows::Column| (0..rows.count).map(|r| width(c.text(r))).chain([width(&c.name)]).max();
    let mut widths: Vec<i32> = rows.columns.iter().map(|c| need(c).unwrap_or(0) + 16).collect();
    while widths.iter().sum::<i32>() > wide {
        let Some(widest) = widths.iter_mut().max().filter(|w| **w > 40) else { break };
        *widest = (*widest * 9 / 10).max(40);
    }
    let mut x = 0;
    for (column, wide) in rows.columns.iter().zip(widths) {
        let right = column.kind == Kind::Number;
        let (place, from) = if right { (x + wide - 16, From::Right) } else { (x, From::Left) };
        write(area, &fitting(&column.name, wide - 12), (place, ROW / 2), style(Ink::Quiet, from))?;
        for (row, y) in (0..rows.count).zip((ROW + 4..).step_by(ROW as usize)) {
            write(area, &fitting(column.text(row), wide - 12), (place, y + ROW / 2), style(Ink::Text, from))?;
        }
        x += wide;
    }
    fill(area, [(0, ROW), (x.min(wide), ROW + 1)], Ink::Axis, 1.0)
}

//! Contents as pictures. [`picture`] gives the inside of an SVG; every text in it is text.

mod bars;
mod columns;
mod frame;
mod heatmap;
mod lines;
mod svg;
mod text;
mod times;

use plotters::drawing::DrawingArea;
use plotters::prelude::IntoDrawingArea;

use crate::content::{Content, Shown};
use crate::page::escape;
use crate::palette;
use svg::Svg;

/// A text of charts, in pixels.
const SIZE: i32 = 12;

/// What a chart is drawn on.
type Area<'a> = DrawingArea<Svg<'a>, plotters::coord::Shift>;

/// Drawing into a text cannot fail, but the library's functions can.
type Drawn = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A drawn picture.
pub(crate) struct Picture {
    pub(crate) width: i32,
    pub(crate) height: i32,
    inside: String,
}

/// Draws the content of a panel so wide.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn picture(shown: &Shown, width: i32) -> Result<Picture, String> {
    let height = match &shown.content {
        Content::Nothing | Content::Number(_) => 64,
        Content::Bars { names, series } => bars::height(names.len(), series, width),
        Content::Lines { .. } | Content::Histogram(_) => 240,
        Content::Heatmap { rows, columns, .. } => heatmap::height(rows.len(), columns.len()),
        Content::Table => text::table_height(&shown.rows),
    };
    let mut inside = String::new();
    let size = (u32::try_from(width).unwrap_or(1), u32::try_from(height).unwrap_or(1));
    let area = Svg::new(&mut inside, size).into_drawing_area();
    let drawn = match &shown.content {
        Content::Nothing => text::nothing(&area),
        Content::Number(value) => text::number(&area, value),
        Content::Bars { names, series } => bars::draw(&area, names, series),
        Content::Lines { x, label, series, stacked } => lines::draw(&area, *x, label, series, *stacked),
        Content::Histogram(histogram) => columns::draw(&area, histogram),
        Content::Heatmap { x, y, columns, rows, values } => heatmap::draw(&area, (x, y), columns, rows, values),
        Content::Table => text::table(&area, &shown.rows),
    };
    drawn.map_err(|e| format!("panel `{}`: it cannot be drawn: {e}", shown.name))?;
    drop(area);
    Ok(Picture { width, height, inside })
}

impl Picture {
    /// For a page: `class` says when it is seen, and makes its names unique.
    pub(crate) fn inline(&self, shown: &Shown, class: &str) -> String {
        let (width, height, id) = (self.width, self.height, format!("{}-{class}", shown.name));
        format!(
            "<svg class=\"c {class}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
             aria-labelledby=\"{id}-t {id}-d\">\n<title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n{}</svg>\n",
            escape(&shown.title),
            escape(&shown.words()),
            self.inside
        )
    }

    /// A file of its own, with heading, paper and colours; with `dark`, for both kinds of page.
    pub(crate) fn alone(&self, shown: &Shown, dark: bool) -> String {
        let (margin, top) = (16, 44);
        let (width, height) = (self.width + 2 * margin, self.height + top + margin);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"c\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-labelledby=\"t d\" font-family=\"Noto Sans, system-ui, sans-serif\">\n\
             <title id=\"t\">{title}</title><desc id=\"d\">{words}</desc>\n<style>\n{style}</style>\n\
             <rect class=\"f p\" width=\"{width}\" height=\"{height}\"/>\n\
             <text class=\"f t\" x=\"{margin}\" y=\"28\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n\
             <g transform=\"translate({margin} {top})\">\n{inside}</g>\n</svg>\n",
            title = escape(&shown.title),
            words = escape(&shown.words()),
            style = palette::of_picture(dark),
            inside = self.inside
        )
    }
}

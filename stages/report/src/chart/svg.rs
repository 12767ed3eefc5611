//! Where charts are drawn: elements of SVG with classes instead of colours.

use std::convert::Infallible;
use std::fmt::Write;

use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
};

use crate::format::cells;
use crate::page::escape;
use crate::palette::Ink;

/// Elements are added to a text.
pub(crate) struct Svg<'a> {
    out: &'a mut String,
    size: (u32, u32),
}

impl<'a> Svg<'a> {
    pub(super) fn new(out: &'a mut String, size: (u32, u32)) -> Self {
        Self { out, size }
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) -> Done {
        // Writing to a string cannot fail.
        let _ = self.out.write_fmt(element);
        self.out.push('\n');
        Ok(())
    }
}

type Done = Result<(), DrawingErrorKind<Infallible>>;

/// The class, and how much of it is seen if not all.
fn paint(color: BackendColor) -> (String, String) {
    let opacity = if color.alpha < 1.0 { format!(" opacity=\"{:.2}\"", color.alpha) } else { String::new() };
    (Ink::class(color.rgb), opacity)
}

fn line<S: BackendStyle>(style: &S) -> String {
    let (class, opacity) = paint(style.color());
    match style.stroke_width() {
        0 | 1 => format!("class=\"l {class}\"{opacity}"),
        width => format!("class=\"l {class}\" stroke-width=\"{width}\"{opacity}"),
    }
}

fn fill(color: BackendColor) -> String {
    let (class, opacity) = paint(color);
    format!("class=\"f {class}\"{opacity}")
}

fn points(path: impl IntoIterator<Item = BackendCoord>) -> String {
    path.into_iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")
}

impl DrawingBackend for Svg<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Done {
        Ok(())
    }

    fn present(&mut self) -> Done {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, color: BackendColor) -> Done {
        self.add(format_args!("<rect {} x=\"{x}\" y=\"{y}\" width=\"1\" height=\"1\"/>", fill(color)))
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Done {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, filled: bool) -> Done {
        let paint = if filled { fill(style.color()) } else { line(style) };
        let (x, y) = (from.0.min(to.0), from.1.min(to.1));
        let (width, height) = ((from.0 - to.0).abs(), (from.1 - to.1).abs());
        if width == 0 || height == 0 {
            return Ok(());
        }
        self.add(format_args!("<rect {paint} x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Done {
        let path: Vec<BackendCoord> = path.into_iter().collect();
        if let (1, [(x1, y1), (x2, y2)]) = (style.stroke_width(), path.as_slice()) {
            // A line of one pixel lies on pixels and not between them.
            let line = line(style);
            return self.add(format_args!("<line {line} x1=\"{x1}.5\" y1=\"{y1}.5\" x2=\"{x2}.5\" y2=\"{y2}.5\"/>"));
        }
        self.add(format_args!("<polyline {} points=\"{}\"/>", line(style), points(path)))
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, style: &S, filled: bool) -> Done {
        let paint = if filled { fill(style.color()) } else { line(style) };
        self.add(format_args!("<circle {paint} cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>"))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Done {
        self.add(format_args!("<polygon {} points=\"{}\"/>", fill(style.color()), points(path)))
    }

    fn draw_text<T: BackendTextStyle>(&mut self, text: &str, style: &T, (x, y): BackendCoord) -> Done {
        let anchor = match style.anchor().h_pos {
            HPos::Left => "",
            HPos::Right => " text-anchor=\"end\"",
            HPos::Center => " text-anchor=\"middle\"",
        };
        let size = style.size();
        // From the place to the line that letters stand on, which every viewer understands in the same way.
        let down = match style.anchor().v_pos {
            VPos::Top => 0.93,
            VPos::Center => 0.35,
            VPos::Bottom => -0.21,
        };
        let y = f64::from(y) + size * down;
        let weight = if matches!(style.style(), FontStyle::Bold) { " font-weight=\"600\"" } else { "" };
        let fill = fill(style.color());
        self.add(format_args!(
            "<text {fill} x=\"{x}\" y=\"{y:.1}\" font-size=\"{size}\"{anchor}{weight}>{}</text>",
            escape(text)
        ))
    }

    fn estimate_text_size<T: BackendTextStyle>(
        &self,
        text: &str,
        style: &T,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        let height = style.size();
        Ok(((cells(text) as f64 * height * 0.58) as u32, height as u32))
    }
}

//! Contents as text in a grid of cells.

mod bars;
mod lines;
mod table;

use crate::content::{Content, Series, Shown};
use crate::format::{number, short};

/// How text is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Cells in a line.
    pub(crate) width: usize,
    /// With the colours of the terminal.
    pub(crate) color: bool,
}

impl Terminal {
    /// A panel, ending with a line.
    pub(crate) fn draw(self, shown: &Shown) -> String {
        let mut out = format!("{}\n", self.bold(&shown.title));
        if let Some(description) = &shown.description {
            out.push_str(&wrap(description, self.width));
        }
        out.push('\n');
        out.push_str(&match &shown.content {
            Content::Nothing => "No rows\n".to_owned(),
            Content::Number(value) => format!("{}\n", self.bold(value)),
            Content::Table => table::draw(self, &shown.rows),
            Content::Bars { names, series } => bars::draw(self, names, series),
            Content::Histogram(histogram) => {
                let range = |at| {
                    let (from, to) = histogram.range(at);
                    format!("{} to {}", short(from), short(to))
                };
                let names: Vec<String> = (0..histogram.counts.len()).map(range).collect();
                let values = histogram.counts.iter().map(|n| Some(*n as f64)).collect();
                bars::draw(self, &names, &[Series { name: histogram.label.clone(), values }])
            }
            Content::Lines { x, series, stacked, .. } => lines::draw(self, *x, series, *stacked),
            Content::Heatmap { x, y, columns, rows, values } => table::heatmap(self, (x, y), columns, rows, values),
        });
        if let Some(note) = &shown.note {
            out.push_str(&format!("{note}\n"));
        }
        out
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// In the colour of a series.
    fn series(self, series: usize, text: &str) -> String {
        const COLORS: [&str; 6] = ["34", "33", "32", "35", "36", "31"];
        self.paint(COLORS.get(series % COLORS.len()).copied().unwrap_or("0"), text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        // What a table holds is never a command to the terminal.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.color && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text }
    }
}

/// Words in lines of this width.
fn wrap(text: &str, width: usize) -> String {
    let (mut out, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && crate::format::cells(&line) + 1 + crate::format::cells(word) > width {
            out.push_str(&format!("{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out + &line + "\n"
}

/// A text in a field, at its left or right end; longer ones are cut.
fn field(text: &str, width: usize, right: bool) -> String {
    let text = crate::format::cut(text, width);
    let space = " ".repeat(width.saturating_sub(crate::format::cells(&text)));
    if right { space + &text } else { text + &space }
}

/// A number, or a mark for none.
fn or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

//! The report: one HTML file that asks the network for nothing and runs no script.

mod panel;
mod provenance;

use crate::content::{Content, Shown};
use crate::palette;
pub(crate) use panel::parts;
pub(crate) use provenance::Provenance;

const STYLE: &str = include_str!("style.css");

/// The whole page.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn page(
    title: &str,
    description: Option<&str>,
    panels: &[Shown],
    provenance: &Provenance,
) -> Result<String, String> {
    let mut body = String::new();
    let mut rest = panels;
    while let Some(first) = rest.first() {
        let number = |p: &Shown| matches!(p.content, Content::Number(_));
        // Neighbours of one form stand in one section.
        let count = rest.iter().take_while(|p| number(p) == number(first)).count();
        let (section, after) = rest.split_at(count);
        rest = after;
        let class = if number(first) { "numbers" } else { "panels" };
        let inside: Result<String, String> = section.iter().map(panel::html).collect();
        body.push_str(&format!("<section class=\"{class}\">\n{}</section>\n", inside?));
    }
    let description = description.map(|d| format!("<p>{}</p>\n", escape(d))).unwrap_or_default();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <style>\n{colors}{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n{description}\
         <p class=\"meta\">{asof}</p>\n</header>\n<main>\n{body}</main>\n{footer}</body>\n</html>\n",
        title = escape(title),
        colors = palette::of_page(),
        asof = escape(&provenance.as_of()),
        footer = provenance.html(),
    ))
}

/// A text inside of HTML or SVG, also inside of quotes. What no such file may hold becomes a mark.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(escape("<script>&\"'"), "&lt;script&gt;&amp;&quot;&#39;");
        assert_eq!(escape("a\u{0}\u{1b}[1m"), "a\u{fffd}\u{fffd}[1m");
    }
}

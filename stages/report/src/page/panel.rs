//! One panel of the page.

use std::fmt::Write;

use super::escape;
use crate::chart::picture;
use crate::content::{Content, Shown};
use crate::rows::{Kind, Rows};

/// Widths of the pictures on a page, one of which is seen: texts are as large on a phone as on a desk.
const WIDE: i32 = 520;
const NARROW: i32 = 320;

pub(super) fn html(shown: &Shown) -> Result<String, String> {
    let (name, title) = (escape(&shown.name), escape(&shown.title));
    let description = shown.description.as_ref().map(|d| format!("<p>{}</p>\n", escape(d))).unwrap_or_default();
    if let Content::Number(value) = &shown.content {
        let value = escape(value);
        return Ok(format!(
            "<div class=\"number\" id=\"{name}\">\n<h2>{title}</h2>\n<strong>{value}</strong>\n{description}</div>\n"
        ));
    }
    let (class, inside) = match &shown.content {
        Content::Table => (
            "panel wide",
            format!(
                "<div class=\"rows\" tabindex=\"0\" role=\"region\" aria-label=\"{title}\">\n{}</div>\n",
                table(&shown.rows)
            ),
        ),
        Content::Nothing => ("panel", "<p class=\"nothing\">No rows</p>\n".to_owned()),
        _ => {
            let pictures = format!(
                "{}{}",
                picture(shown, WIDE)?.inline(shown, "on-desk"),
                picture(shown, NARROW)?.inline(shown, "on-phone")
            );
            let rows = table(&shown.rows);
            (
                "panel",
                format!(
                    "{pictures}<details>\n<summary>Data</summary>\n<div class=\"rows\">\n{rows}</div>\n</details>\n"
                ),
            )
        }
    };
    let note = shown.note.as_ref().map(|n| format!("<p class=\"note\">{}</p>\n", escape(n))).unwrap_or_default();
    Ok(format!(
        "<figure class=\"{class}\" id=\"{name}\">\n<figcaption>\n<h2>{title}</h2>\n{description}</figcaption>\n{inside}{note}</figure>\n"
    ))
}

/// What a page of another make shows of a panel.
#[derive(Default)]
pub(crate) struct Parts {
    /// Its picture, for wide pages and for narrow ones.
    pub(crate) wide: Option<String>,
    pub(crate) narrow: Option<String>,
    /// What it has instead.
    pub(crate) html: Option<String>,
}

/// A panel for a page of another make.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn parts(shown: &Shown) -> Result<Parts, String> {
    Ok(match &shown.content {
        Content::Number(value) => {
            Parts { html: Some(format!("<strong>{}</strong>", escape(value))), ..Parts::default() }
        }
        Content::Table => Parts { html: Some(table(&shown.rows)), ..Parts::default() },
        Content::Nothing => Parts { html: Some("<p>No rows</p>".to_owned()), ..Parts::default() },
        _ => Parts {
            wide: Some(picture(shown, WIDE)?.inline(shown, "on-desk")),
            narrow: Some(picture(shown, NARROW)?.inline(shown, "on-phone")),
            html: None,
        },
    })
}

/// Rows as a table: numbers stand under numbers.
fn table(rows: &Rows) -> String {
    let class = |kind| if kind == Kind::Number { " class=\"n\"" } else { "" };
    let mut out = String::from("<table>\n<thead><tr>");
    for column in &rows.columns {
        // Writing to a string cannot fail.
        let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(column.kind), escape(&column.name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in 0..rows.count {
        out.push_str("<tr>");
        for column in &rows.columns {
            let _ = write!(out, "<td{}>{}</td>", class(column.kind), escape(column.text(row)));
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody>\n</table>\n"
}

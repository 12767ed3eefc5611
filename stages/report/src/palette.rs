//! Colours, as classes of a style sheet: one picture is right on a light and on a dark page, and on paper.
//!
//! Series have the colours of Okabe and Ito, which people with any kind of colour blindness tell apart; lines differ in
//! their dashes too, and names stand beside what they name.

use std::fmt::Write;

use plotters::style::RGBColor;

/// What something is drawn with: a class of the style sheet. The drawing library only passes it on, as a colour that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Text.
    Text,
    /// Text that steps back.
    Quiet,
    /// Lines of a grid.
    Grid,
    /// Axes.
    Axis,
    /// What belongs to a series.
    Series(usize),
    /// Text on an area of a series.
    On(usize),
    /// What is behind the picture.
    Paper,
}

/// Different colours; a seventh series has the first again.
const SERIES: u8 = 6;

impl Ink {
    pub(crate) fn color(self) -> RGBColor {
        let of = |series: usize| u8::try_from(series % usize::from(SERIES)).unwrap_or(0);
        match self {
            Self::Text => RGBColor(0, 0, 0),
            Self::Quiet => RGBColor(1, 0, 0),
            Self::Grid => RGBColor(2, 0, 0),
            Self::Axis => RGBColor(3, 0, 0),
            Self::Paper => RGBColor(4, 0, 0),
            Self::Series(n) => RGBColor(5, of(n), 0),
            Self::On(n) => RGBColor(6, of(n), 0),
        }
    }

    /// The class that a colour of [`color`](Self::color) stands for.
    pub(crate) fn class((kind, series, _): (u8, u8, u8)) -> String {
        match kind {
            0 => "t".to_owned(),
            1 => "q".to_owned(),
            2 => "g".to_owned(),
            3 => "a".to_owned(),
            4 => "p".to_owned(),
            5 => format!("s{series}"),
            _ => format!("o{series}"),
        }
    }
}

/// Name, on light, on dark.
const COLORS: [(&str, &str, &str); 17] = [
    ("t", "#1b1f24", "#e8eaed"),
    ("q", "#5d6672", "#a3abb6"),
    ("g", "#e4e7eb", "#333941"),
    ("a", "#aeb5bf", "#5b636e"),
    ("p", "#ffffff", "#1a1d21"),
    ("s0", "#0072b2", "#4aa8e0"),
    ("s1", "#d55e00", "#f08a4b"),
    ("s2", "#009e73", "#35c79d"),
    ("s3", "#cc79a7", "#e2a0c5"),
    ("s4", "#e69f00", "#f2bd4a"),
    ("s5", "#56b4e9", "#a5d8f6"),
    ("o0", "#ffffff", "#10151a"),
    ("o1", "#ffffff", "#10151a"),
    ("o2", "#0c1512", "#10151a"),
    ("o3", "#190d14", "#10151a"),
    ("o4", "#1a1200", "#10151a"),
    ("o5", "#0b1620", "#10151a"),
];

/// Dashes of the lines of series.
const DASHES: [&str; SERIES as usize] = ["none", "7 3", "2 3", "10 3 2 3", "4 2", "1 2"];

/// What each class does, with `color` for a name.
fn rules(color: impl Fn(&str, &str) -> String) -> String {
    let mut out = String::new();
    for (name, light, _) in COLORS {
        let value = color(name, light);
        // Writing to a string cannot fail.
        let _ = writeln!(out, ".c .f.{name}{{fill:{value}}}.c .l.{name}{{stroke:{value}}}");
    }
    for (series, dash) in DASHES.iter().enumerate().skip(1) {
        let _ = writeln!(out, ".c .l.s{series}{{stroke-dasharray:{dash}}}");
    }
    out + ".c .l{fill:none;stroke-linejoin:round;stroke-linecap:round}\n"
}

/// Variables and rules for a page.
pub(crate) fn of_page() -> String {
    let variables = |dark: bool| {
        let list = COLORS.iter().map(|(name, l, d)| format!("--{name}:{};", if dark { d } else { l }));
        list.collect::<String>()
    };
    format!(
        ":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}",
        light = variables(false),
        dark = variables(true),
        rules = rules(|name, _| format!("var(--{name})"))
    )
}

/// Rules for a picture that stands alone: without variables, which not every viewer knows; with `dark`, for both kinds
/// of page.
pub(crate) fn of_picture(dark: bool) -> String {
    let light = rules(|_, light| light.to_owned());
    if !dark {
        return light;
    }
    let dark: String = COLORS
        .iter()
        .map(|(name, _, dark)| format!(".c .f.{name}{{fill:{dark}}}.c .l.{name}{{stroke:{dark}}}"))
        .collect();
    format!("{light}@media screen and (prefers-color-scheme:dark){{{dark}}}\n")
}

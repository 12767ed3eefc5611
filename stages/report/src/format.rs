//! Numbers and times as people read them, and how wide text is.

use chrono::DateTime;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A number with groups of three digits, and four digits that count where it is a fraction.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return grouped(&format!("{value:.0}"));
    }
    let size = value.abs();
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    // `log10` is of a finite number above 1e-4.
    let whole_digits = size.log10().floor() as i32 + 1;
    let decimals = usize::try_from(4 - whole_digits).unwrap_or(0).min(6);
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    grouped(text)
}

/// A number for an axis: `12k`, `3.5M`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    for (unit, letter) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= unit {
            let unit = if letter == "k" { 1e3 } else { unit };
            return format!("{}{letter}", number((value / unit * 100.0).round() / 100.0));
        }
    }
    // Steps of an axis are sums of fractions.
    number((value * 1e9).round() / 1e9)
}

/// Groups of three in the whole part, apart by a comma.
pub(crate) fn grouped(text: &str) -> String {
    let (sign, rest) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A moment in seconds since 1970, to the second, the minute or the day as it needs.
pub(crate) fn moment(seconds: f64) -> String {
    // Beyond what a date can be there is only the number.
    let Some(time) = DateTime::from_timestamp(seconds.floor() as i64, 0) else { return number(seconds) };
    let form = match time.timestamp() {
        t if t.rem_euclid(86_400) == 0 => "%Y-%m-%d",
        t if t.rem_euclid(60) == 0 => "%Y-%m-%d %H:%M",
        _ => "%Y-%m-%d %H:%M:%S",
    };
    time.format(form).to_string()
}

/// Cells of a terminal that a text takes.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// The beginning of a text in at most so many cells, in one line; what is cut is marked.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cells(&line) <= most {
        return line;
    }
    let mut out = String::new();
    let mut used = 1;
    for c in line.chars() {
        used += c.width().unwrap_or(0);
        if used > most {
            break;
        }
        out.push(c);
    }
    let end = out.trim_end().len();
    out.truncate(end);
    if most > 0 { out + "…" } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        assert_eq!([0.0, 7.0, 1234.0, -1_234_567.0].map(number), ["0", "7", "1,234", "-1,234,567"]);
        assert_eq!(
            [0.5, 0.712, 1234.5678, 3.21654, 0.00001].map(number),
            ["0.5", "0.712", "1,235", "3.217", "1.000e-5"]
        );
        assert_eq!([2_000.0, 12_000.0, 1.5e6, -2e9, 0.1 + 0.2].map(short), ["2,000", "12k", "1.5M", "-2G", "0.3"]);
        assert_eq!([0.0, 60.0, 61.0].map(moment), ["1970-01-01", "1970-01-01 00:01", "1970-01-01 00:01:01"]);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("longer", 5), "long…");
        assert_eq!(cut("a\nb", 5), "a b");
        assert_eq!(cut("日本語", 5), "日本…");
    }
}

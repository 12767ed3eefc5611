//! The fields of a JSON object as they are written: numbers keep all their digits, nested values their text.

use std::borrow::Cow;

use alluvium_engine::spec::ColumnType;
use serde::de::IgnoredAny;

use crate::json::too_deep;

/// Name and text of every field; nothing if the line is not one JSON object.
pub(crate) fn fields(line: &[u8]) -> Option<Vec<(Cow<'_, str>, &str)>> {
    let text = std::str::from_utf8(line).ok()?.trim();
    if !text.starts_with('{') || too_deep(line) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    // It is valid, so that only ends have to be found.
    let bytes = text.as_bytes();
    let (mut fields, mut at) = (Vec::new(), 1);
    loop {
        at = skip(bytes, at, |b| b.is_ascii_whitespace() || b == b',');
        if bytes.get(at)? == &b'}' {
            return Some(fields);
        }
        let end = value_end(bytes, at);
        let written = text.get(at..end)?;
        let name = if written.contains('\\') {
            Cow::Owned(serde_json::from_str(written).ok()?)
        } else {
            Cow::Borrowed(written.trim_matches('"'))
        };
        at = skip(bytes, end, |b| b.is_ascii_whitespace() || b == b':');
        let end = value_end(bytes, at);
        fields.push((name, text.get(at..end)?));
        at = end;
    }
}

fn skip(bytes: &[u8], from: usize, over: impl Fn(u8) -> bool) -> usize {
    from + bytes.iter().skip(from).take_while(|b| over(**b)).count()
}

/// Behind the value that begins here.
fn value_end(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => {
                in_text = !in_text;
                if !in_text && depth == 0 {
                    return at + 1;
                }
            }
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b if depth == 0 && b.is_ascii_whitespace() => return at,
            _ => {}
        }
    }
    bytes.len()
}

/// Whether it is a list or a mapping.
pub(crate) fn is_nested(raw: &str) -> bool {
    raw.starts_with(['{', '['])
}

/// The type of a value; null has none. Dates and moments are text in JSON, and stay it.
pub(crate) fn type_of(raw: &str) -> Option<ColumnType> {
    match raw.as_bytes().first()? {
        b'n' => None,
        b't' | b'f' => Some(ColumnType::Boolean),
        b'"' | b'{' | b'[' => Some(ColumnType::String),
        _ if raw.parse::<i64>().is_ok() => Some(ColumnType::Bigint),
        // A whole number with more digits would lose some as a floating point number.
        _ if raw.contains(['.', 'e', 'E']) => Some(ColumnType::Double),
        _ => Some(ColumnType::String),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_out_as_they_are_written() {
        let line = br#" { "a" : 1.50 ,"b\u0021":"x,}\"]\\" , "c":[{"d":"]"},[ ]] ,"e":{"f":{}},"g":null,"h":true}  "#;
        let expected = [
            ("a", "1.50"),
            ("b!", r#""x,}\"]\\""#),
            ("c", r#"[{"d":"]"},[ ]]"#),
            ("e", r#"{"f":{}}"#),
            ("g", "null"),
            ("h", "true"),
        ];
        assert_eq!(fields(line).unwrap(), expected.map(|(name, raw)| (Cow::from(name), raw)));
        assert_eq!(fields(b"{}").unwrap(), []);
        for bad in ["", "[1]", "5", "{\"a\":1", "{\"a\":1}{\"b\":2}", "{\"a\" 1}"] {
            assert!(fields(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn types_lose_nothing() {
        let types = ["null", "true", "-7", "9223372036854775808", "1e3", "1.0", "\"7\"", "[1]"].map(type_of);
        use ColumnType::{Bigint, Boolean, Double, String};
        let expected = [None, Some(Boolean), Some(Bigint), Some(String), Some(Double), Some(Double)];
        assert_eq!(types[..6], expected);
        assert_eq!(types[6..], [Some(String), Some(String)]);
    }
}

//! A tree of YAML in which every key and value knows where it stands.

use std::ops::Range;

use serde_json::{Map, Number, Value as Json};

/// One YAML value with its place in the text, as a range of bytes.
#[derive(Debug, Clone)]
pub struct Node {
    /// Bytes of the text that this value stands in.
    pub span: Range<usize>,
    /// What stands there.
    pub value: Value,
}

/// The three shapes of YAML.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar; `plain` when it was written without quotes, so that `4` is a number and `"4"` is text.
    Scalar {
        /// The text, quotes and escapes resolved.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping, in the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping and its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key's text.
    pub name: String,
    /// Bytes of the text that the key stands in.
    pub span: Range<usize>,
}

impl Node {
    /// Looks up a key of a mapping.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.name == name).map(|(_, n)| n),
            _ => None,
        }
    }

    /// The entries of a mapping; nothing for other shapes.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The value without places; plain scalars resolved by YAML's core schema.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar { text, plain: false } => Json::String(text.clone()),
            Value::Scalar { text, plain: true } => resolve_plain(text),
            Value::Seq(items) => Json::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => {
                Json::Object(entries.iter().map(|(k, n)| (k.name.clone(), n.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// The place of the value at `path` (keys and indices), or of the deepest part of the path that exists.
    /// With `key`, the place of the last key instead of its value's.
    pub fn locate(&self, path: &[String], key: bool) -> Range<usize> {
        self.find(path, key).0
    }

    /// As [`locate`](Self::locate), and how many parts of the path exist.
    pub(crate) fn find(&self, path: &[String], key: bool) -> (Range<usize>, usize) {
        let (mut node, mut span, mut found) = (self, self.span.clone(), 0);
        while let Some(rest) = path.get(found..).filter(|r| !r.is_empty()) {
            let next = match &node.value {
                // A key with dots in it has become several parts.
                Value::Map(entries) => (1..=rest.len()).find_map(|parts| {
                    let name = rest.iter().take(parts).map(String::as_str).collect::<Vec<_>>().join(".");
                    entries.iter().find(|(k, _)| k.name == name).map(|(k, n)| (Some(k), n, parts))
                }),
                Value::Seq(items) => {
                    rest.first().and_then(|i| items.get(i.parse::<usize>().ok()?)).map(|n| (None, n, 1))
                }
                Value::Scalar { .. } => None,
            };
            let Some((k, n, parts)) = next else { break };
            span = match k {
                Some(k) if key => k.span.clone(),
                _ => n.span.clone(),
            };
            node = n;
            found += parts;
        }
        (span, found)
    }
}

/// YAML 1.2 core schema for a scalar without quotes.
fn resolve_plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    if let Ok(i) = text.parse::<i64>() {
        return Json::Number(i.into());
    }
    if let Ok(u) = text.parse::<u64>() {
        return Json::Number(u.into());
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    let Some(f) = text.parse::<f64>().ok().filter(|_| numeric) else { return Json::String(text.into()) };
    // `1e6` is a whole number to people and to JSON Schema, so it must be one to serde; below 2^53 nothing is lost.
    let whole = (f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0)
        .then(|| format!("{f:.0}").parse::<i64>().ok())
        .flatten();
    let number = whole.map(Number::from).or_else(|| Number::from_f64(f));
    number.map_or_else(|| Json::String(text.into()), Json::Number)
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn whole_numbers_may_be_written_like_fractions() {
        let json = |text| resolve_plain(text).to_string();
        assert_eq!(
            ["1e3", "-2.0", "18446744073709551615", "1e30", "0.5"].map(json),
            ["1000", "-2", "18446744073709551615", "1e+30", "0.5"]
        );
        assert_eq!(
            ["e3", "0x10", "1_000", ".nan", "yes"].map(json),
            ["\"e3\"", "\"0x10\"", "\"1_000\"", "\".nan\"", "\"yes\""]
        );
    }

    #[test]
    fn keys_with_dots_are_found() {
        let node = parse("a: { b.c: { d: [1, 22] } }").unwrap();
        let path = |text: &str| text.split('.').map(Into::into).collect::<Vec<String>>();
        assert_eq!(node.find(&path("a.b.c.d.1"), false), (19..21, 5));
        assert_eq!(node.find(&path("a.b.c"), true), (5..8, 3));
        assert_eq!(node.find(&path("a.b.x"), true).1, 1);
    }
}

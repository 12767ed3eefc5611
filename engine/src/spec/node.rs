//! YAML text to a tree in which every key and value knows where it stands.

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value as Json};

use super::problem::Problem;

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
        let mut node = self;
        let mut span = self.span.clone();
        for part in path {
            let next = match &node.value {
                Value::Map(entries) => entries.iter().find(|(k, _)| &k.name == part).map(|(k, n)| (Some(k), n)),
                Value::Seq(items) => part.parse().ok().and_then(|i: usize| items.get(i)).map(|n| (None, n)),
                Value::Scalar { .. } => None,
            };
            let Some((k, n)) = next else { break };
            span = match k {
                Some(k) if key => k.span.clone(),
                _ => n.span.clone(),
            };
            node = n;
        }
        span
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
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    match text.parse::<f64>() {
        Ok(f) if numeric => Number::from_f64(f).map_or_else(|| Json::String(text.into()), Json::Number),
        _ => Json::String(text.into()),
    }
}

/// Parses one YAML document.
///
/// # Errors
/// A syntax error, a second document, an alias, a tag or a key that is not a scalar, each with its place.
pub fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder::new(text);
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => {
                let at = builder.byte(error.marker().index());
                builder.problems.push(
                    Problem::new(format!("not valid YAML: {}", error.info()))
                        .at(at..at)
                        .label("here")
                        .help("check indentation, quotes and brackets before this place"),
                );
                break;
            }
        }
    }
    match builder.root {
        Some(root) if builder.problems.is_empty() => Ok(root),
        _ if !builder.problems.is_empty() => Err(builder.problems),
        _ => Err(vec![Problem::new("the file is empty").help("a spec has `pipeline`, `state` and `stages`")]),
    }
}

/// A container that is still open while events arrive.
enum Open {
    Seq(usize, Vec<Node>),
    Map(usize, Vec<(Key, Node)>, Option<Key>),
}

struct Builder {
    bytes: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
    problems: Vec<Problem>,
    documents: usize,
}

impl Builder {
    fn new(text: &str) -> Self {
        // The parser counts characters; snippets need bytes.
        let mut bytes: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        bytes.push(text.len());
        Self { bytes, open: Vec::new(), root: None, problems: Vec::new(), documents: 0 }
    }

    fn byte(&self, index: usize) -> usize {
        self.bytes.get(index).or(self.bytes.last()).copied().unwrap_or(0)
    }

    fn event(&mut self, event: Event<'_>, span: &Span) {
        let range = self.byte(span.start.index())..self.byte(span.end.index());
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 2 {
                    self.problems.push(
                        Problem::new("a second YAML document")
                            .at(range)
                            .label("starts here")
                            .help("one file is one pipeline: put this document into a file of its own"),
                    );
                }
            }
            Event::Scalar(text, style, _, tag) => {
                if tag.is_some() {
                    self.unsupported("a tag", range.clone());
                }
                let plain = style == ScalarStyle::Plain;
                self.value(Node { span: range, value: Value::Scalar { text: text.into_owned(), plain } });
            }
            Event::Alias(_) => {
                self.unsupported("an alias", range.clone());
                self.value(Node { span: range, value: Value::Scalar { text: String::new(), plain: true } });
            }
            Event::SequenceStart(..) => self.open.push(Open::Seq(range.start, Vec::new())),
            Event::MappingStart(..) => self.open.push(Open::Map(range.start, Vec::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = match self.open.pop() {
                    Some(Open::Seq(start, items)) => Node { span: start..range.end, value: Value::Seq(items) },
                    Some(Open::Map(start, entries, _)) => Node { span: start..range.end, value: Value::Map(entries) },
                    None => return,
                };
                self.value(closed);
            }
            _ => {}
        }
    }

    fn unsupported(&mut self, what: &str, at: Range<usize>) {
        self.problems.push(
            Problem::new(format!("{what} is not supported in a spec"))
                .at(at)
                .label("here")
                .help("write the value out, or use a ${VARIABLE}"),
        );
    }

    fn value(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq(_, items)) => items.push(node),
            Some(Open::Map(_, entries, pending)) => match pending.take() {
                Some(key) => entries.push((key, node)),
                None => match node.value {
                    Value::Scalar { text, .. } => {
                        if let Some((first, _)) = entries.iter().find(|(k, _)| k.name == text) {
                            let line = first.span.start;
                            self.problems.push(
                                Problem::new(format!("`{text}` is given twice"))
                                    .at(node.span.clone())
                                    .label("second time")
                                    .also(line..first.span.end, "first time")
                                    .help("remove or rename one of them"),
                            );
                        }
                        *pending = Some(Key { name: text, span: node.span });
                    }
                    _ => {
                        self.problems.push(Problem::new("a key must be a plain name").at(node.span.clone()).label("here"));
                        *pending = Some(Key { name: String::new(), span: node.span });
                    }
                },
            },
        }
    }
}

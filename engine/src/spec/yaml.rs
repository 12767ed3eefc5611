//! YAML text to a [`Node`].

use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::node::{Key, Node, Value};
use super::problem::Problem;

/// Parses one YAML document.
///
/// # Errors
/// A syntax error, a second document, an alias, a tag or a key that is not a scalar, each with its place.
pub(super) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    let mut builder = Builder::new(text);
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => {
                let at = builder.byte(error.marker().index());
                let problem = Problem::new(format!("not valid YAML: {}", error.info())).at(at..at).label("here");
                builder.problems.push(problem.help(advice(error.info())));
                break;
            }
        }
    }
    match builder.root {
        Some(root) if builder.problems.is_empty() => Ok(root),
        _ if !builder.problems.is_empty() => Err(builder.problems),
        _ => Err(vec![
            Problem::new("the file is empty")
                .at(0..0)
                .label("nothing here")
                .help("a spec has `pipeline`, `state` and `stages`"),
        ]),
    }
}

/// What the parser's words usually mean.
fn advice(info: &str) -> &'static str {
    match info {
        i if i.contains("tab") => "indent with spaces: YAML does not allow tabs here",
        i if i.contains("mapping values are not allowed") => {
            "put a text that contains `: ` in quotes; otherwise check the indentation of this line"
        }
        i if i.contains("quoted scalar") => {
            "a quote that begins here, or on a line before, is not closed, or its text is not indented"
        }
        i if i.contains("flow") => "a bracket or brace before this place is not closed, or a comma is missing",
        i if i.contains("did not find expected key") => "this line is indented unlike the lines that it belongs to",
        i if i.contains("escape character") => {
            "inside double quotes `\\` begins an escape: write `\\\\`, or use single quotes"
        }
        _ => "check indentation, quotes and brackets before this place",
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
                        self.problems.push(
                            Problem::new("a key must be a name")
                                .at(node.span.clone())
                                .label("not a name")
                                .help("write `NAME: VALUE`"),
                        );
                        *pending = Some(Key { name: String::new(), span: node.span });
                    }
                },
            },
        }
    }
}

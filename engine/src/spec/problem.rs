//! What is wrong with a spec, and how it is shown: file, line, column, a snippet, what was expected.

use std::fmt;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};

/// One thing that is wrong in a spec.
#[derive(Debug, Clone, Default)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do about it, or what was expected.
    pub help: Option<String>,
    /// Where, in bytes of the text.
    pub span: Option<Range<usize>>,
    /// Words beside the place.
    pub label: Option<String>,
    /// Other places that matter, with words.
    pub related: Vec<(Range<usize>, String)>,
    /// Where, as a path of keys inside the stage's configuration; the engine turns it into `span`.
    pub path: Vec<String>,
    /// The place is the key itself and not its value.
    pub at_key: bool,
    /// The place is this word inside the value, if it stands there.
    pub word: Option<String>,
}

impl Problem {
    /// A problem without a place.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// A problem with the value of one field of a stage's configuration, such as `schema.date`.
    pub fn field(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.split('.').filter(|p| !p.is_empty()).map(Into::into).collect(), ..Self::new(message) }
    }

    /// What to do, or what was expected.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Words beside the place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The place, in bytes of the text.
    #[must_use]
    pub fn at(mut self, span: Range<usize>) -> Self {
        self.span = Some(span);
        self
    }

    /// Narrows the place to a word inside the value.
    #[must_use]
    pub fn within(mut self, word: impl Into<String>) -> Self {
        self.word = Some(word.into());
        self
    }

    /// A second place.
    #[must_use]
    pub fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Adds "did you mean" when one of `known` is close to `word`, and the list of what there is.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let list = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
        let there = if list.is_empty() { format!("there are no {what}") } else { format!("{what}: {list}") };
        match closest(word, &known) {
            Some(near) => self.help(format!("did you mean `{near}`? {there}")),
            None => self.help(there),
        }
    }
}

/// The known word that `word` was probably meant to be.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&word.to_lowercase(), &k.to_lowercase()), *k))
        .filter(|(distance, k)| *distance <= 1.max(k.len().min(word.len()) / 3))
        .min()
        .map(|(_, k)| k)
}

/// Where a word stands in a text, not as a part of a longer one. Case does not matter, as in SQL; a place outside of
/// quotes is preferred.
fn find_word(text: &str, word: &str) -> Option<usize> {
    let (text, word) = (text.to_ascii_lowercase(), word.to_ascii_lowercase());
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let whole = |at: usize| !part(text[..at].chars().next_back()) && !part(text[at + word.len()..].chars().next());
    let places: Vec<usize> = text.match_indices(&word).map(|(at, _)| at).filter(|&at| whole(at)).collect();
    let unquoted = |at: usize| text[..at].matches('\'').count().is_multiple_of(2);
    places.iter().find(|&&at| unquoted(at)).or(places.first()).copied()
}

/// All that is wrong with one spec, in the order of the text.
#[derive(Debug, Clone)]
pub struct Problems {
    file: String,
    text: String,
    list: Vec<Problem>,
}

impl Problems {
    /// Problems of a file with this text.
    pub fn new(file: impl Into<String>, text: impl Into<String>, mut list: Vec<Problem>) -> Self {
        let text = text.into();
        for problem in &mut list {
            if let (Some(span), Some(word)) = (&problem.span, &problem.word)
                && let Some(at) = text.get(span.clone()).and_then(|t| find_word(t, word))
            {
                problem.span = Some(span.start + at..span.start + at + word.len());
            }
        }
        list.sort_by_key(|p| p.span.as_ref().map_or(0, |s| s.start));
        Self { file: file.into(), text, list }
    }

    /// Each problem.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The text for a terminal: every problem with its place, then a count. Secrets are masked.
    pub fn render(&self, color: bool) -> String {
        let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
        let mut out = String::new();
        for problem in &self.list {
            let report = self.report(problem);
            if handler.render_report(&mut out, report.as_ref()).is_err() {
                out.push_str(&problem.message);
            }
            // A report ends its snippet with a line, but not always its help.
            out.truncate(out.trim_end().len());
            out.push_str("\n\n");
        }
        let n = self.list.len();
        out.push_str(&format!("{n} problem{} in {}\n", if n == 1 { "" } else { "s" }, self.file));
        crate::secret::redact(&out)
    }

    fn report(&self, problem: &Problem) -> Report {
        // Before lines are wrapped: a secret that is cut in two would not be found.
        let safe = crate::secret::redact;
        let mut diagnostic = MietteDiagnostic::new(safe(&problem.message)).with_severity(Severity::Error);
        if let Some(help) = &problem.help {
            diagnostic = diagnostic.with_help(safe(help));
        }
        let Some(span) = &problem.span else { return Report::new(diagnostic) };
        let mut labels = vec![LabeledSpan::new_primary_with_span(problem.label.clone(), self.first_line(span))];
        labels.extend(
            problem.related.iter().map(|(s, l)| LabeledSpan::new_with_span(Some(l.clone()), self.first_line(s))),
        );
        Report::new(diagnostic.with_labels(labels)).with_source_code(NamedSource::new(&self.file, self.text.clone()))
    }

    /// A place of several lines is shown by its first: the snippet stays short.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let start = span.start.min(self.text.len());
        let end = span.end.clamp(start, self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        let line = text.lines().next().unwrap_or_default().trim_end();
        start..start + line.len()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}

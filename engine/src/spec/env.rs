//! `${NAME}` and `${NAME:-default}` in the values of a spec.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::node::{Node, Value};
use super::problem::{Problem, closest};

/// Where variables come from: `--set` first, then the environment.
#[derive(Debug, Clone, Default)]
pub struct Vars {
    set: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

impl Vars {
    /// Variables of this process's environment, overridden by `set`.
    pub fn from_env(set: impl IntoIterator<Item = (String, String)>) -> Self {
        // A variable that is not Unicode cannot be written in a spec either.
        let environment =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self { set: set.into_iter().collect(), environment }
    }

    /// Only these variables; for tests.
    pub fn only(set: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { set: set.into_iter().collect(), environment: BTreeMap::new() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.set.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }
}

/// What was found while variables were replaced.
#[derive(Default)]
pub(super) struct Substituted {
    pub problems: Vec<Problem>,
    /// Places of values that are not known, because a variable in them is not defined.
    pub unknown: Vec<Range<usize>>,
    names: BTreeSet<String>,
}

/// Replaces the variables in every value below `root`. `$${` stands for a literal `${`.
pub(super) fn substitute(root: &mut Node, text: &str, vars: &Vars) -> Substituted {
    let mut found = Substituted::default();
    found.node(root, text, vars);
    found.unused(vars);
    found
}

impl Substituted {
    fn node(&mut self, node: &mut Node, text: &str, vars: &Vars) {
        match &mut node.value {
            Value::Seq(items) => items.iter_mut().for_each(|n| self.node(n, text, vars)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, n)| self.node(n, text, vars)),
            Value::Scalar { text: scalar, .. } if scalar.contains("${") => {
                let mut failures = Vec::new();
                let expanded = self.expand(scalar, vars, &mut failures);
                if failures.is_empty() {
                    *scalar = expanded;
                    return;
                }
                let source = text.get(node.span.clone()).unwrap_or_default();
                let mut from = 0;
                for failure in failures {
                    let part = failure.part();
                    // Escapes and folded lines are written otherwise: then the whole value is the place.
                    let at = source.get(from..).and_then(|s| s.find(&part)).map(|at| {
                        let start = node.span.start + from + at;
                        from += at + part.len();
                        start..start + part.len()
                    });
                    self.problems.push(failure.problem().at(at.unwrap_or(node.span.clone())));
                }
                self.unknown.push(node.span.clone());
            }
            Value::Scalar { .. } => {}
        }
    }

    fn expand(&mut self, text: &str, vars: &Vars, failures: &mut Vec<Failure>) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(kept) = before.strip_suffix('$') {
                out.push_str(kept);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((inner, next)) = after.split_once('}') else {
                failures.push(Failure::Open(format!("${{{after}")));
                return out;
            };
            rest = next;
            let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
            let valid = !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !valid || default.is_some_and(|d| d.contains("${")) {
                failures.push(Failure::Malformed(format!("${{{inner}}}")));
                continue;
            }
            self.names.insert(name.into());
            match (vars.get(name), default) {
                // As in a shell, `:-` also replaces an empty value.
                (Some(value), _) if !value.is_empty() || default.is_none() => {
                    crate::secret::learn(name, value);
                    out.push_str(value);
                }
                (_, Some(default)) => out.push_str(default),
                _ => failures.push(Failure::Undefined(name.into())),
            }
        }
        out.push_str(rest);
        out
    }

    /// A misspelt `--set` would silently leave the default in place.
    fn unused(&mut self, vars: &Vars) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        for name in vars.set.keys().filter(|n| !self.names.contains(*n)) {
            let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
            let there =
                if names.is_empty() { "the spec has no variables".to_owned() } else { format!("variables: {list}") };
            let near = closest(name, &names).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
            self.problems.push(
                Problem::new(format!("`--set {name}=…` sets a variable that the spec does not use"))
                    .help(near + &there),
            );
        }
    }
}

enum Failure {
    Undefined(String),
    Malformed(String),
    Open(String),
}

impl Failure {
    /// As written in the spec.
    fn part(&self) -> String {
        match self {
            Self::Undefined(name) => format!("${{{name}}}"),
            Self::Malformed(part) | Self::Open(part) => part.clone(),
        }
    }

    fn problem(self) -> Problem {
        match self {
            Self::Undefined(name) => Problem::new(format!("the variable `{name}` is not defined"))
                .label("used here")
                .help(format!("set it in the environment, pass `--set {name}=VALUE`, or give a default: `${{{name}:-VALUE}}`")),
            Self::Malformed(part) => Problem::new(format!("`{part}` is not a variable"))
                .label("here")
                .help("write `${NAME}` or `${NAME:-default}` (without a variable in the default); a literal `${` is written `$${`"),
            Self::Open(_) => Problem::new("a variable has no closing `}`")
                .label("begins here")
                .help("write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`"),
        }
    }
}

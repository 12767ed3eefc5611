//! `${NAME}` and `${NAME:-default}` in the values of a spec.

use std::collections::BTreeMap;

use super::node::{Node, Value};
use super::problem::Problem;

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

/// Replaces the variables in every value below `node`. `$${` stands for a literal `${`.
pub fn substitute(node: &mut Node, text: &str, vars: &Vars, problems: &mut Vec<Problem>) {
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(|n| substitute(n, text, vars, problems)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, n)| substitute(n, text, vars, problems)),
        Value::Scalar { text: scalar, .. } if scalar.contains("${") => {
            let source = text.get(node.span.clone()).unwrap_or_default();
            let place = |needle: &str| {
                let offset = source.find(needle);
                offset.map_or(node.span.clone(), |o| {
                    let start = node.span.start + o;
                    start..start + needle.len()
                })
            };
            match expand(scalar, vars) {
                Ok(expanded) => *scalar = expanded,
                Err(Failure::Undefined(name)) => problems.push(
                    Problem::new(format!("the variable `{name}` is not defined"))
                        .at(place(&format!("${{{name}")))
                        .label("used here")
                        .help(format!("set it in the environment, pass `--set {name}=VALUE`, or give a default: `${{{name}:-VALUE}}`")),
                ),
                Err(Failure::Malformed(part)) => problems.push(
                    Problem::new(format!("`{part}` is not a variable"))
                        .at(place(&part))
                        .label("here")
                        .help("write `${NAME}` or `${NAME:-default}`; a literal `${` is written `$${`"),
                ),
            }
        }
        Value::Scalar { .. } => {}
    }
}

enum Failure {
    Undefined(String),
    Malformed(String),
}

fn expand(text: &str, vars: &Vars) -> Result<String, Failure> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let after = &after[2..];
        if let Some(kept) = before.strip_suffix('$') {
            out.push_str(kept);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else { return Err(Failure::Malformed(format!("${{{after}"))) };
        let (name, default) = match after[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[..end], None),
        };
        let valid = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(Failure::Malformed(format!("${{{}}}", &after[..end])));
        }
        match (vars.get(name), default) {
            // As in a shell, `:-` also replaces an empty value.
            (Some(value), _) if !value.is_empty() || default.is_none() => {
                crate::secret::learn(name, value);
                out.push_str(value);
            }
            (_, Some(default)) => out.push_str(default),
            _ => return Err(Failure::Undefined(name.into())),
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

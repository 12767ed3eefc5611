//! Configuration against the JSON Schema of its kind: every problem at once, each with its path.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

use super::choice;
use super::problem::{Problem, closest};

/// What a value should be, in words, where its schema says it in a way that is not for people.
const EXPECTED: &str = "x-expected";

/// All that is wrong with `value` under `schema`. Paths are those of the value.
pub fn validate(schema: &Json, value: &Json) -> Vec<Problem> {
    match jsonschema::options().should_validate_formats(true).build(schema) {
        Ok(validator) => problems(validator.iter_errors(value).flat_map(|e| explain(schema, &e)).collect()),
        // The schema comes from a kind's own types: a plugin author's mistake, not the spec's.
        Err(error) => vec![Problem::new(format!("the kind's JSON Schema is not valid: {error}"))],
    }
}

/// Something that was found; keys are kept apart, because a misspelt key is also a missing one.
pub(super) enum Finding {
    /// A key that is not known, and the one that was probably meant.
    Unknown(Problem, Option<String>),
    /// A key that is missing.
    Missing(Problem, String),
    /// Anything else.
    Other(Problem),
}

fn problems(findings: Vec<Finding>) -> Vec<Problem> {
    let misspelt: Vec<(Vec<String>, String)> = findings
        .iter()
        .filter_map(|f| match f {
            Finding::Unknown(p, Some(meant)) => {
                Some((p.path[..p.path.len().saturating_sub(1)].to_vec(), meant.clone()))
            }
            _ => None,
        })
        .collect();
    let keep = findings.into_iter().filter_map(|f| match f {
        Finding::Missing(p, name) => (!misspelt.contains(&(p.path.clone(), name))).then_some(p),
        Finding::Unknown(p, _) | Finding::Other(p) => Some(p),
    });
    keep.collect()
}

pub(super) fn explain(schema: &Json, error: &ValidationError<'_>) -> Vec<Finding> {
    let path = path(error);
    let value = error.instance();
    let at = |message: String| Problem { path: path.clone(), ..Problem::new(message) };
    let one = |problem: Problem| vec![Finding::Other(help(schema, problem, None))];
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = keys(schema, &path);
            return unexpected.iter().map(|key| unknown(&path, key, &known)).collect();
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let mut inner = path.clone();
            inner.push(name.into());
            let problem = Problem { at_key: true, ..at(format!("`{name}` is missing")) }.label("lacks it");
            let problem = help(schema, problem, Some(&inner));
            let problem = if problem.help.is_none() { problem.help(format!("add `{name}: …`")) } else { problem };
            return vec![Finding::Missing(problem, name.into())];
        }
        _ => {}
    }
    if let Some(expected) = places(schema, &path).into_iter().find_map(|p| p.get(EXPECTED)?.as_str()) {
        return one(at(format!("expected {expected}, found {}", found(value))).label("not of this form"));
    }
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            let types: Vec<String> = match kind {
                TypeKind::Single(one) => vec![one.to_string()],
                TypeKind::Multiple(set) => set.iter().map(|t| t.to_string()).collect(),
            };
            vec![Finding::Other(wrong_type(schema, at, &types, value))]
        }
        ValidationErrorKind::Enum { options } => {
            one(choice::one_of(at(String::new()), value, options.as_array().cloned().unwrap_or_default()))
        }
        ValidationErrorKind::Constant { expected_value } => {
            one(choice::one_of(at(String::new()), value, vec![expected_value.as_ref().clone()]))
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            choice::alternatives(schema, error, at, context)
        }
        ValidationErrorKind::Minimum { limit } => {
            one(at(format!("must be at least {limit}, found {value}")).label("too small"))
        }
        ValidationErrorKind::Maximum { limit } => {
            one(at(format!("must be at most {limit}, found {value}")).label("too large"))
        }
        ValidationErrorKind::MinLength { limit: 1 } => one(at("must not be empty".into()).label("empty")),
        ValidationErrorKind::MinLength { limit } => {
            one(at(format!("needs at least {limit} characters")).label("too short"))
        }
        ValidationErrorKind::MaxLength { limit } => {
            one(at(format!("must have at most {limit} character{}", if *limit == 1 { "" } else { "s" }))
                .label("too long"))
        }
        ValidationErrorKind::MinItems { limit: 1 } | ValidationErrorKind::MinProperties { limit: 1 } => {
            one(at("must not be empty".into()).label("empty"))
        }
        ValidationErrorKind::MinItems { limit } | ValidationErrorKind::MinProperties { limit } => {
            one(at(format!("needs at least {limit} entries")).label("too few"))
        }
        ValidationErrorKind::Format { format } if format == "date-time" => {
            let problem = at(format!("expected a moment, found {}", found(value))).label("not a moment");
            one(problem.help("write date, time and zone: 2026-03-01T10:00:00Z"))
        }
        ValidationErrorKind::Pattern { pattern } => {
            one(at(format!("{} does not match `{pattern}`", found(value))).label("not of this form"))
        }
        _ => one(at(error.to_string()).label("here")),
    }
}

/// A value of the wrong type: what was expected, and how to write it if that is easy to say.
pub(super) fn wrong_type(schema: &Json, at: impl Fn(String) -> Problem, types: &[String], value: &Json) -> Problem {
    let mut names: Vec<&str> = types.iter().filter(|t| *t != "null").map(|t| article(t)).collect();
    names.dedup();
    let expected = names.join(" or ");
    let problem = at(format!("expected {expected}, found {}", found(value))).label(format!("not {expected}"));
    let scalar = choice::text(value);
    let hint = match value {
        Json::Number(_) | Json::Bool(_) if names.contains(&"a text") => Some("put it in quotes".to_owned()),
        Json::String(_) | Json::Number(_) if names == ["a list"] => Some(format!("write `[{scalar}]`")),
        Json::String(s) if names == ["a whole number"] && s.parse::<i64>().is_ok() => {
            Some("write it without quotes".to_owned())
        }
        _ => None,
    };
    let problem = match hint {
        Some(hint) => problem.help(hint),
        None => problem,
    };
    help(schema, problem, None)
}

pub(super) fn unknown(path: &[String], key: &str, known: &[String]) -> Finding {
    let mut path = path.to_vec();
    path.push(key.into());
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let meant = closest(key, &known).map(Into::into);
    let problem = Problem { path, at_key: true, ..Problem::new(format!("unknown key `{key}`")) };
    Finding::Unknown(problem.label("not known here").suggest(key, known, "known keys"), meant)
}

/// Adds what the reference says about the value.
pub(crate) fn help(schema: &Json, problem: Problem, of: Option<&[String]>) -> Problem {
    let path = of.unwrap_or(&problem.path);
    let text = path.last().and_then(|name| Some(format!("`{name}`: {}", describe(schema, path)?)));
    match (problem.help.clone(), text) {
        (Some(hint), Some(text)) => problem.help(format!("{hint}; {text}")),
        (None, Some(text)) => problem.help(text),
        (_, None) => problem,
    }
}

pub(super) fn path(error: &ValidationError<'_>) -> Vec<String> {
    error.instance_path().as_str().split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

pub(super) fn found(value: &Json) -> String {
    match value {
        Json::Null => "nothing".into(),
        Json::Bool(b) => format!("`{b}`"),
        Json::Number(n) => format!("the number {n}"),
        Json::String(s) => format!("the text `{s}`"),
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "a mapping".into(),
    }
}

fn article(name: &str) -> &str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
}

/// The keys that the object at `path` may have.
pub(super) fn keys(schema: &Json, path: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for place in places(schema, path) {
        if let Some(properties) = place.get("properties").and_then(Json::as_object) {
            all.extend(properties.keys().cloned());
        }
    }
    all
}

/// The beginning of what is said about the value at `path`.
fn describe(schema: &Json, path: &[String]) -> Option<String> {
    let text = places(schema, path).into_iter().find_map(|p| p.get("description")?.as_str())?;
    let text = text.replace('\n', " ");
    // A sentence that only says the name again is followed by one that says more.
    let end = text.match_indices(". ").map(|(at, _)| at).find(|&at| at >= 20).unwrap_or(text.len());
    Some(text[..end].trim_end_matches('.').to_owned())
}

/// Every subschema that speaks of the value at `path`.
fn places<'a>(root: &'a Json, path: &[String]) -> Vec<&'a Json> {
    let mut here = open(root, root);
    for part in path {
        let below: Vec<&Json> = here
            .iter()
            .filter_map(|s| {
                let named = s.get("properties").and_then(|p| p.get(part));
                named.or_else(|| s.get("items")).or_else(|| s.get("additionalProperties"))
            })
            .collect();
        here = below.into_iter().flat_map(|s| open(root, s)).collect();
    }
    here
}

/// Follows references and choices.
fn open<'a>(root: &'a Json, schema: &'a Json) -> Vec<&'a Json> {
    let mut out = vec![schema];
    let reference = schema.get("$ref").and_then(Json::as_str).and_then(|r| root.pointer(r.trim_start_matches('#')));
    out.extend(reference.into_iter().flat_map(|s| open(root, s)));
    for choice in ["anyOf", "oneOf", "allOf"] {
        let branches = schema.get(choice).and_then(Json::as_array);
        out.extend(branches.into_iter().flatten().flat_map(|s| open(root, s)));
    }
    out
}

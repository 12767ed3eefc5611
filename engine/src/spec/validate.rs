//! Configuration against the JSON Schema of its kind: every problem at once, each with its path.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

use super::problem::{Problem, closest};

/// All that is wrong with `value` under `schema`. Paths are those of the value.
pub fn validate(schema: &Json, value: &Json) -> Vec<Problem> {
    match jsonschema::validator_for(schema) {
        Ok(validator) => validator.iter_errors(value).flat_map(|e| explain(schema, &e)).collect(),
        // The schema comes from a kind's own types: a plugin author's mistake, not the spec's.
        Err(error) => vec![Problem::new(format!("the kind's JSON Schema is not valid: {error}"))],
    }
}

fn explain(schema: &Json, error: &ValidationError<'_>) -> Vec<Problem> {
    let path: Vec<String> = error.instance_path().as_str().split('/').skip(1).map(unescape).collect();
    let at = |message: String| Problem { path: path.clone(), ..Problem::new(message) };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|key| {
                let known = keys(schema, &path);
                let mut problem = at(format!("unknown key `{key}`"));
                problem.path.push(key.clone());
                problem.at_key = true;
                problem.label("not known here").suggest(key, known.iter().map(String::as_str), "known keys")
            })
            .collect(),
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let mut problem = at(format!("`{name}` is missing"));
            if let Some(text) = describe(schema, &path, name) {
                problem = problem.help(format!("`{name}`: {text}"));
            }
            vec![problem]
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(one) => article(&one.to_string()),
                TypeKind::Multiple(set) => set.iter().filter(|t| t.to_string() != "null").map(|t| article(&t.to_string())).collect::<Vec<_>>().join(" or "),
            };
            let problem = at(format!("expected {expected}, found {}", found(error.instance()))).label(format!("not {expected}"));
            vec![match error.instance().as_ref() {
                Json::Number(_) | Json::Bool(_) if expected.contains("a text") => problem.help("put it in quotes"),
                _ => problem,
            }]
        }
        ValidationErrorKind::Enum { options } => vec![one_of(at(String::new()), error.instance(), options.as_array().cloned().unwrap_or_default())],
        ValidationErrorKind::Constant { expected_value } => vec![one_of(at(String::new()), error.instance(), vec![expected_value.as_ref().clone()])],
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => alternatives(schema, error, &at, context),
        ValidationErrorKind::Minimum { limit } => vec![at(format!("must be at least {limit}")).label("too small")],
        ValidationErrorKind::Maximum { limit } => vec![at(format!("must be at most {limit}")).label("too large")],
        ValidationErrorKind::MinLength { .. } => vec![at("must not be empty".into()).label("empty")],
        ValidationErrorKind::MinItems { limit } => vec![at(format!("needs at least {limit} item(s)")).label("too few")],
        ValidationErrorKind::MinProperties { limit } => vec![at(format!("needs at least {limit} key(s)")).label("too few")],
        ValidationErrorKind::Pattern { pattern } => vec![at(format!("{} does not match `{pattern}`", error.instance())).label("not of this form")],
        _ => vec![at(error.to_string())],
    }
}

/// No branch of a choice fits: names the choices, or goes on into the branch that was probably meant.
fn alternatives(schema: &Json, error: &ValidationError<'_>, at: &dyn Fn(String) -> Problem, context: &[Vec<ValidationError<'static>>]) -> Vec<Problem> {
    let mut options = Vec::new();
    let mut types = Vec::new();
    for branch in context.iter().flatten() {
        match branch.kind() {
            ValidationErrorKind::Constant { expected_value } => options.push(expected_value.as_ref().clone()),
            ValidationErrorKind::Enum { options: more } => options.extend(more.as_array().cloned().unwrap_or_default()),
            ValidationErrorKind::Type { kind: TypeKind::Single(one) } if branch.instance_path() == error.instance_path() => {
                types.push(one.to_string());
            }
            _ => {}
        }
    }
    // The branch that got past the type of the value is the one to explain.
    let deeper = context.iter().find(|branch| {
        !branch.is_empty()
            && branch.iter().all(|e| {
                !matches!(e.kind(), ValidationErrorKind::Type { .. } | ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. })
                    || e.instance_path() != error.instance_path()
            })
    });
    if let Some(branch) = deeper {
        return branch.iter().flat_map(|e| explain(schema, e)).collect();
    }
    if !options.is_empty() {
        return vec![one_of(at(String::new()), error.instance(), options)];
    }
    types.retain(|t| t != "null");
    types.dedup();
    let expected = types.iter().map(|t| article(t)).collect::<Vec<_>>().join(" or ");
    vec![at(format!("expected {expected}, found {}", found(error.instance()))).label("does not fit")]
}

fn one_of(problem: Problem, value: &Json, options: Vec<Json>) -> Problem {
    let names: Vec<String> = options.iter().filter(|o| !o.is_null()).map(text).collect();
    let list = names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = closest(&text(value), &known).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
    Problem { message: format!("`{}` is not one of the choices", text(value)), ..problem }
        .label("not a choice")
        .help(format!("{near}expected one of {list}"))
}

fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn found(value: &Json) -> String {
    match value {
        Json::Null => "nothing".into(),
        Json::Bool(b) => format!("`{b}`"),
        Json::Number(n) => format!("the number {n}"),
        Json::String(s) => format!("the text `{s}`"),
        Json::Array(_) => "a list".into(),
        Json::Object(_) => "a mapping".into(),
    }
}

fn article(name: &str) -> String {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        other => other,
    }
    .into()
}

/// The keys that the object at `path` may have.
fn keys(schema: &Json, path: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for place in places(schema, path) {
        if let Some(properties) = place.get("properties").and_then(Json::as_object) {
            all.extend(properties.keys().cloned());
        }
    }
    all
}

/// The first sentence of a property's description.
fn describe(schema: &Json, path: &[String], name: &str) -> Option<String> {
    let text = places(schema, path).into_iter().find_map(|p| p.get("properties")?.get(name)?.get("description")?.as_str())?;
    let sentence = text.split(". ").next().unwrap_or(text).trim_end_matches('.');
    Some(sentence.replace('\n', " "))
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

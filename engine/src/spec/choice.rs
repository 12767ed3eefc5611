//! Values that may have one of several shapes: names the choices, or goes on into the shape that was meant.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value as Json;

use super::problem::{Problem, closest};
use super::validate::{Finding, explain, help, keys, path, unknown, wrong_type};

/// No shape fits; `context` says for each why.
pub(super) fn alternatives(
    schema: &Json,
    error: &ValidationError<'_>,
    at: impl Fn(String) -> Problem,
    context: &[Vec<ValidationError<'static>>],
) -> Vec<Finding> {
    let value = error.instance();
    let here = |e: &&ValidationError<'_>| e.instance_path() == error.instance_path();
    let recognised =
        |branch: &&Vec<ValidationError<'static>>| !branch.is_empty() && !branch.iter().filter(here).any(decides);
    let meant: Vec<&Vec<ValidationError<'static>>> = context.iter().filter(recognised).collect();
    match meant.as_slice() {
        [] => {}
        [one] => return one.iter().flat_map(|e| explain(schema, e)).collect(),
        several => {
            let extra = several.iter().flat_map(|b| b.iter()).filter(here).find_map(|e| match e.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => Some(unexpected.clone()),
                _ => None,
            });
            if extra.is_some() {
                let given = value.as_object().map(|o| names(o.keys())).unwrap_or_default();
                let problem = at(format!("only one of {given} can be given")).label("several").help("keep one of them");
                return vec![Finding::Other(help(schema, problem, None))];
            }
            return several.first().into_iter().flat_map(|b| b.iter()).flat_map(|e| explain(schema, e)).collect();
        }
    }
    let (mut options, mut types, mut tags) = (Vec::new(), Vec::new(), Vec::new());
    for reason in context.iter().flatten().filter(here) {
        match reason.kind() {
            ValidationErrorKind::Constant { expected_value } => options.push(expected_value.as_ref().clone()),
            ValidationErrorKind::Enum { options: more } => options.extend(more.as_array().cloned().unwrap_or_default()),
            ValidationErrorKind::Type { kind: TypeKind::Single(one) } => types.push(one.to_string()),
            ValidationErrorKind::Required { property } => tags.extend(property.as_str().map(str::to_owned)),
            _ => {}
        }
    }
    match value.as_object() {
        Some(given) if !tags.is_empty() => {
            let known = keys(schema, &path(error));
            let strange: Vec<&String> = given.keys().filter(|k| !known.contains(k)).collect();
            if strange.is_empty() {
                let problem = at(format!("one of {} is needed", names(tags.iter()))).label("lacks it");
                return vec![Finding::Other(help(schema, problem, None))];
            }
            strange.into_iter().map(|key| unknown(&path(error), key, &known)).collect()
        }
        // A list is no misspelt word.
        _ if !options.is_empty() && (!value.is_array() || types.is_empty()) => {
            vec![Finding::Other(help(schema, one_of(at(String::new()), value, options), None))]
        }
        _ => {
            let object = (!tags.is_empty()).then(|| "object".to_owned());
            types.extend(object);
            vec![Finding::Other(wrong_type(schema, at, &types, value))]
        }
    }
}

/// Whether a reason rules a shape out, instead of being a mistake within it.
fn decides(error: &ValidationError<'_>) -> bool {
    matches!(
        error.kind(),
        ValidationErrorKind::Type { .. }
            | ValidationErrorKind::Constant { .. }
            | ValidationErrorKind::Enum { .. }
            | ValidationErrorKind::Required { .. }
    )
}

pub(super) fn one_of(problem: Problem, value: &Json, options: Vec<Json>) -> Problem {
    let words: Vec<String> = options.iter().filter(|o| !o.is_null()).map(text).collect();
    let known: Vec<&str> = words.iter().map(String::as_str).collect();
    let near = closest(&text(value), &known).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
    Problem { message: format!("`{}` is not one of the choices", text(value)), ..problem }
        .label("not a choice")
        .help(format!("{near}choices: {}", names(words.iter())))
}

pub(super) fn text(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn names<'a>(words: impl Iterator<Item = &'a String>) -> String {
    words.map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

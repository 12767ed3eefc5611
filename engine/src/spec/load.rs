//! From text to [`Spec`]: goes on after an error, so that all problems are shown at once.

use std::ops::Range;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::env::{self, Vars};
use super::node::{Key, Node, Value};
use super::problem::{Problem, Problems, closest};
use super::validate::validate;
use super::{Header, InputSpec, Spec, StageSpec, yaml};
use crate::secret;

/// Reads and loads a spec from a file.
///
/// # Errors
/// What keeps the text from being looked at: the file cannot be read, or is not YAML.
pub fn load_file(path: &Path, vars: &Vars) -> Result<Spec, Problems> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => load(&file, &text, vars),
        Err(error) => {
            let problem = Problem::new(format!("`{file}` cannot be read: {error}"))
                .help("give the path of a pipeline spec, a YAML file");
            Err(Problems::new(file, "", vec![problem]))
        }
    }
}

/// Loads a spec from its text. Problems of its parts are kept in it.
///
/// # Errors
/// What keeps the text from being looked at: it is not YAML, or not a mapping.
pub fn load(file: &str, text: &str, vars: &Vars) -> Result<Spec, Problems> {
    let fail = |list| Problems::new(file, text, list);
    secret::learn_urls(text);
    let mut root = yaml::parse(text).map_err(|problems| {
        // What is secret can only be guessed where the structure is not known.
        secret::learn_lines(text);
        fail(problems)
    })?;
    let mut found = env::substitute(&mut root, text, vars);
    learn_secrets(&root);
    if !matches!(root.value, Value::Map(_)) {
        secret::learn_lines(text);
        let problem = Problem::new("a spec is a mapping")
            .at(root.span.clone())
            .label("not a mapping")
            .help("begin with `pipeline: NAME`, `state: FOLDER` and `stages:`");
        return Err(fail(vec![problem]));
    }
    let mut problems = Vec::new();
    let header = header(&root, &mut problems);
    let stages = stages(&root, &mut problems);
    let mut spec = Spec {
        file: file.into(),
        text: text.into(),
        header,
        stages,
        state_span: root.locate(&["state".into()], false),
        report: root.get("report").cloned(),
        problems: Vec::new(),
        unknown: found.unknown,
    };
    problems.retain(|p| !spec.is_consequence(p));
    found.problems.append(&mut problems);
    spec.problems = found.problems;
    Ok(spec)
}

/// Remembers what must not be shown: passwords in URLs, and options whose names say that they are secret. Only the
/// storage options and a stage's own keys are judged by name: deeper down stand columns, and `token: string` is none.
fn learn_secrets(root: &Node) {
    fn visit(node: &Node, name: &str, by_name: usize) {
        match &node.value {
            Value::Scalar { text, .. } if by_name > 0 => secret::learn(name, text),
            Value::Scalar { text, .. } => secret::learn_urls(text),
            Value::Seq(items) => items.iter().for_each(|n| visit(n, name, by_name)),
            Value::Map(entries) => entries.iter().for_each(|(k, n)| visit(n, &k.name, by_name.saturating_sub(1))),
        }
    }
    for (key, node) in root.entries() {
        // How deep names count: `stages` holds names, then keys.
        visit(node, "", if key.name == "storage" { usize::MAX } else { 3 });
    }
}

fn header(root: &Node, problems: &mut Vec<Problem>) -> Option<Header> {
    let mut json = root.to_json();
    let mut schema = schemars::schema_for!(Header).to_value();
    // So that `stage:` is answered with "did you mean `stages`"; what is in them is looked at elsewhere.
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert("stages".into(), json!({ "description": "the stages by name" }));
    }
    if let Some(required) = schema.get_mut("required").and_then(Json::as_array_mut) {
        required.push("stages".into());
    }
    let found = validate(&schema, &json);
    json.as_object_mut()?.remove("stages");
    let start = root.span.start;
    let top = start..start;
    let placed = |p: Problem| {
        let p = if p.path.is_empty() { p.label("add it to the spec") } else { p };
        place(root, &top, p)
    };
    if !found.is_empty() {
        problems.extend(found.into_iter().map(placed));
        return None;
    }
    deserialize(&json).map_err(|p| problems.push(placed(p))).ok()
}

/// Deserialises with the path of the place that does not fit.
pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(json: &Json) -> Result<T, Problem> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().iter().map(ToString::to_string).collect();
        let message = error.into_inner().to_string();
        // Numbers beyond the type's range pass the JSON Schema, and serde names the type of Rust.
        let problem = match message.split_once(", expected ") {
            Some((found, _)) if found.contains("integer") || found.contains("floating point") => {
                let number = found.rsplit(' ').next().unwrap_or(found);
                Problem::new(format!("the number {number} is out of range").replace('`', ""))
                    .label("too large")
                    .help("use a smaller number")
            }
            _ => Problem::new(message).label("here"),
        };
        Problem { path, ..problem }
    })
}

/// Turns a problem's path below `node` into a place in the text. A problem without a place of its own stands at
/// `name`, and one of a value that is not given says so.
pub(crate) fn place(node: &Node, name: &Range<usize>, problem: Problem) -> Problem {
    if problem.span.is_some() {
        return problem;
    }
    let (span, found) = node.find(&problem.path, problem.at_key);
    let span = if found == 0 { name.clone() } else { span };
    let problem = match problem.path.get(found..) {
        Some(rest) if !rest.is_empty() => {
            let label = format!("`{}` is not given here", rest.join("."));
            Problem { word: None, ..problem }.label(label)
        }
        _ => problem,
    };
    Problem { span: Some(span), ..problem }
}

fn stages(root: &Node, problems: &mut Vec<Problem>) -> Vec<StageSpec> {
    let Some(node) = root.get("stages") else { return Vec::new() };
    if node.entries().is_empty() {
        problems.push(
            Problem::new("`stages` must be a mapping of names to stages")
                .at(node.span.clone())
                .label("no stages here")
                .help("write each as `NAME: { kind: KIND, … }`; `alluvium stages` lists the kinds there are"),
        );
    }
    node.entries().iter().map(|(name, node)| stage(name, node, problems)).collect()
}

fn stage(name: &Key, node: &Node, problems: &mut Vec<Problem>) -> StageSpec {
    let valid = name.name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        problems.push(
            Problem::new(format!("`{}` is not a stage name", name.name))
                .at(name.span.clone())
                .label("here")
                .help("use letters, digits and `_`, beginning with a letter: stages are table names in SQL"),
        );
    }
    let (inputs, inputs_unclear) = inputs(node, problems);
    StageSpec { name: name.clone(), kind: kind(name, node, problems), inputs, inputs_unclear, node: node.clone() }
}

fn kind(name: &Key, node: &Node, problems: &mut Vec<Problem>) -> Option<Key> {
    let known = "`alluvium stages` lists the kinds there are";
    if !matches!(node.value, Value::Map(_)) {
        problems.push(
            Problem::new(format!("stage `{}` is not a mapping", name.name))
                .at(node.span.clone())
                .label("not a mapping")
                .help(format!("write `{}: {{ kind: KIND, … }}`; {known}", name.name)),
        );
        return None;
    }
    let Some(kind) = node.get("kind") else {
        let problem = Problem::new(format!("stage `{}` has no `kind`", name.name));
        let misspelt = node.entries().iter().find(|(key, _)| closest(&key.name, &["kind"]).is_some());
        problems.push(match misspelt {
            Some((key, _)) => {
                problem.at(key.span.clone()).label("not known here").help(format!("did you mean `kind`? {known}"))
            }
            None => problem.at(name.span.clone()).label("this stage").help(format!("add `kind:`; {known}")),
        });
        return None;
    };
    match kind.text() {
        Some(text) if !text.is_empty() => Some(Key { name: text.into(), span: kind.span.clone() }),
        _ => {
            problems.push(Problem::new("`kind` must be a name").at(kind.span.clone()).label("not a name").help(known));
            None
        }
    }
}

/// The inputs of a stage, and whether there are any that cannot be read.
fn inputs(node: &Node, problems: &mut Vec<Problem>) -> (Vec<InputSpec>, bool) {
    let Some(input) = node.get("input") else { return (Vec::new(), false) };
    let items: Vec<&Node> = match &input.value {
        Value::Seq(items) if !items.is_empty() => items.iter().collect(),
        _ => vec![input],
    };
    let (mut out, mut unclear) = (Vec::new(), false);
    for item in items {
        match item.text() {
            Some(text) if !text.is_empty() => {
                let (stage, rejects) = text.strip_suffix(".rejects").map_or((text, false), |s| (s, true));
                out.push(InputSpec { stage: stage.into(), rejects, span: item.span.clone() });
            }
            _ => {
                unclear = true;
                problems.push(
                    Problem::new("`input` must be the name of a stage, or a list of names")
                        .at(item.span.clone())
                        .label("not a name")
                        .help("for example `input: bronze`, or `input: [tweets.rejects, clean.rejects]`"),
                );
            }
        }
    }
    (out, unclear)
}

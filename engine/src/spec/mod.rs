//! The text of a pipeline: YAML with places, variables substituted, its outer shape checked.
//!
//! What stands inside a stage is the business of its kind; see [`plan`](crate::plan).

mod columns;
mod env;
mod node;
mod problem;
mod units;
mod validate;

pub use columns::{ColumnType, Columns, timestamp};
pub use env::Vars;
pub use node::{Key, Node, Value};
pub use problem::{Problem, Problems, closest};
pub use units::ByteSize;
pub use validate::validate;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What every spec says besides its stages.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The pipeline's name. It is part of the identity under which tables remember what they hold, so do not change it
    /// once tables exist.
    #[schemars(regex(pattern = r"^[A-Za-z][A-Za-z0-9_-]*$"))]
    pub pipeline: String,
    /// What the pipeline is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Where bindings, ledger and operator state are kept: a folder or a URL of the pipeline's own.
    #[schemars(length(min = 1))]
    pub state: String,
    /// How much goes into one epoch, the unit of atomic commit.
    #[serde(default)]
    pub epoch: EpochLimits,
    /// Options of the object store for every URL of the spec, such as `aws_endpoint_url` or `aws_region`. `AWS_…`
    /// variables of the environment are read as well.
    #[serde(default)]
    pub storage: BTreeMap<String, String>,
}

/// How much goes into one epoch.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EpochLimits {
    /// An epoch is closed before the split that would make it larger than this.
    pub bytes: ByteSize,
    /// An epoch has at most this many splits (objects).
    #[schemars(range(min = 1))]
    pub splits: usize,
    /// Epochs that may be open at once: reading goes on while earlier epochs are being committed.
    #[schemars(range(min = 1))]
    pub open: u64,
}

impl Default for EpochLimits {
    fn default() -> Self {
        Self { bytes: ByteSize(64_000_000), splits: 1_000, open: 3 }
    }
}

/// A spec whose outer shape is right.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The file's name, for messages.
    pub file: String,
    /// The text as written.
    pub text: String,
    /// Everything besides the stages.
    pub header: Header,
    /// The stages, in the order of the text.
    pub stages: Vec<StageSpec>,
    /// Place of `state`.
    pub state_span: Range<usize>,
}

/// One stage as written.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Its name and place.
    pub name: Key,
    /// Its kind and place.
    pub kind: Key,
    /// What it reads, in order.
    pub inputs: Vec<InputSpec>,
    /// The whole mapping, with places.
    pub node: Node,
}

/// One input as written: `stage` or `stage.rejects`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// The stage's name.
    pub stage: String,
    /// The rejects port is meant, not the rows.
    pub rejects: bool,
    /// Place of the reference.
    pub span: Range<usize>,
}

impl InputSpec {
    /// As written in a spec.
    pub fn text(&self) -> String {
        if self.rejects { format!("{}.rejects", self.stage) } else { self.stage.clone() }
    }
}

/// Keys of a stage that belong to the engine and not to the kind.
pub const STAGE_KEYS: [&str; 3] = ["kind", "input", "description"];

/// Reads and loads a spec from a file.
///
/// # Errors
/// All problems at once; a file that cannot be read is one.
pub fn load_file(path: &Path, vars: &Vars) -> Result<Spec, Problems> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => load(&file, &text, vars),
        Err(error) => {
            let problem = Problem::new(format!("`{file}` cannot be read: {error}")).help("give the path of a pipeline spec");
            Err(Problems::new(file, "", vec![problem]))
        }
    }
}

/// Loads a spec from its text.
///
/// # Errors
/// All problems at once.
pub fn load(file: &str, text: &str, vars: &Vars) -> Result<Spec, Problems> {
    let fail = |list| Problems::new(file, text, list);
    let mut root = node::parse(text).map_err(fail)?;
    let mut problems = Vec::new();
    env::substitute(&mut root, text, vars, &mut problems);
    if !matches!(root.value, Value::Map(_)) {
        let problem = Problem::new("a spec is a mapping").at(root.span.clone()).help("begin with `pipeline: NAME`, `state: FOLDER` and `stages:`");
        return Err(fail(vec![problem]));
    }
    let header = header(&root, &mut problems);
    let stages = stages(&root, &mut problems);
    match header {
        Some(header) if problems.is_empty() => Ok(Spec {
            file: file.into(),
            text: text.into(),
            header,
            stages,
            state_span: root.locate(&["state".into()], false),
        }),
        _ => Err(fail(problems)),
    }
}

fn header(root: &Node, problems: &mut Vec<Problem>) -> Option<Header> {
    let mut json = root.to_json();
    json.as_object_mut()?.remove("stages");
    let mut schema = schemars::schema_for!(Header).to_value();
    // So that `stage:` is answered with "did you mean `stages`".
    if let Some(properties) = schema.get_mut("properties").and_then(|p| p.as_object_mut()) {
        properties.insert("stages".into(), serde_json::Value::Bool(true));
    }
    let found = validate(&schema, &json);
    if !found.is_empty() {
        problems.extend(found.into_iter().map(|p| place(root, p)));
        return None;
    }
    deserialize(&json).map_err(|p| problems.push(place(root, p))).ok()
}

/// Deserialises with the path of the place that does not fit.
pub(crate) fn deserialize<T: serde::de::DeserializeOwned>(json: &serde_json::Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().iter().map(ToString::to_string).collect();
        Problem { path, ..Problem::new(error.into_inner().to_string()) }
    })
}

/// Turns a problem's path below `node` into a place in the text.
pub(crate) fn place(node: &Node, problem: Problem) -> Problem {
    if problem.span.is_some() {
        return problem;
    }
    let span = node.locate(&problem.path, problem.at_key);
    Problem { span: Some(span), ..problem }
}

fn stages(root: &Node, problems: &mut Vec<Problem>) -> Vec<StageSpec> {
    let Some(node) = root.get("stages") else {
        problems.push(Problem::new("`stages` is missing").at(root.span.start..root.span.start).help("add `stages:` with at least one stage"));
        return Vec::new();
    };
    if node.entries().is_empty() {
        problems.push(
            Problem::new("`stages` must be a mapping of names to stages")
                .at(node.span.clone())
                .label("no stages here")
                .help("for example `stages: { tweets: { kind: files, … } }`"),
        );
    }
    node.entries().iter().filter_map(|(name, node)| stage(name, node, problems)).collect()
}

fn stage(name: &Key, node: &Node, problems: &mut Vec<Problem>) -> Option<StageSpec> {
    let valid = name.name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !valid {
        problems.push(
            Problem::new(format!("`{}` is not a stage name", name.name))
                .at(name.span.clone())
                .label("here")
                .help("use letters, digits and `_`, beginning with a letter: stages are table names in SQL"),
        );
    }
    let Some(kind) = node.get("kind") else {
        problems.push(
            Problem::new(format!("stage `{}` has no `kind`", name.name))
                .at(name.span.clone())
                .label("this stage")
                .help("add `kind:`; `alluvium stages` lists the kinds there are"),
        );
        return None;
    };
    let Some(kind_text) = kind.text() else {
        problems.push(Problem::new("`kind` must be a name").at(kind.span.clone()).label("here"));
        return None;
    };
    Some(StageSpec {
        name: name.clone(),
        kind: Key { name: kind_text.into(), span: kind.span.clone() },
        inputs: inputs(node, problems),
        node: node.clone(),
    })
}

fn inputs(node: &Node, problems: &mut Vec<Problem>) -> Vec<InputSpec> {
    let Some(input) = node.get("input") else { return Vec::new() };
    let items: Vec<&Node> = match &input.value {
        Value::Seq(items) => items.iter().collect(),
        _ => vec![input],
    };
    let mut out = Vec::new();
    for item in items {
        match item.text() {
            Some(text) => {
                let (stage, rejects) = text.strip_suffix(".rejects").map_or((text, false), |s| (s, true));
                out.push(InputSpec { stage: stage.into(), rejects, span: item.span.clone() });
            }
            None => problems.push(
                Problem::new("`input` must be the name of a stage, or a list of names").at(item.span.clone()).label("not a name"),
            ),
        }
    }
    out
}

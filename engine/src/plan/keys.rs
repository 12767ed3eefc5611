//! Keys of a stage: those of the engine and those of the kind.

use serde_json::{Value as Json, json};

use crate::registry::{Kind, Registry};
use crate::spec::{Problem, STAGE_KEYS, StageSpec, closest};
use crate::stage::Role;

/// What belongs to the kind: the stage's mapping without the engine's keys.
pub(super) fn own_config(stage: &StageSpec) -> Json {
    let mut json = stage.node.to_json();
    if let Some(map) = json.as_object_mut() {
        map.retain(|key, _| !STAGE_KEYS.contains(&key.as_str()));
    }
    json
}

/// The kind's schema with the engine's keys, so that a misspelt `input` is found like any other key.
pub(super) fn with_engine_keys(kind: &Kind) -> Json {
    let mut schema = kind.schema.clone();
    if let Some(map) = schema.as_object_mut()
        && let Some(properties) = map.entry("properties").or_insert_with(|| json!({})).as_object_mut()
    {
        if kind.role != Role::Source {
            properties.insert("input".into(), json!(true));
        }
        properties.insert(
            "description".into(),
            json!({ "type": ["string", "null"], "description": "What the stage is for." }),
        );
    }
    schema
}

/// Whether a stage is meant to have an input: it has one, or something that was meant to be one.
pub(super) fn has_input(registry: &Registry, stage: &StageSpec) -> bool {
    let reader = stage.kind.as_ref().and_then(|k| registry.kind(&k.name, true));
    !stage.inputs.is_empty() || stage.inputs_unclear || reader.is_some_and(|kind| misspelt_input(kind, stage))
}

/// Whether a stage has a key that was probably meant to be `input`.
pub(super) fn misspelt_input(kind: &Kind, stage: &StageSpec) -> bool {
    let schema = with_engine_keys(kind);
    let known: Vec<&str> = known_keys(&schema).collect();
    let misspelt = |key: &str| !known.contains(&key) && closest(key, &known) == Some("input");
    stage.node.entries().iter().any(|(key, _)| misspelt(&key.name))
}

/// Says of a key that is not known whether the other kind of the same name has it.
pub(super) fn other_side(kind: &Kind, twin: Option<&Kind>, problem: Problem) -> Problem {
    let ([key], Some(twin)) = (problem.path.as_slice(), twin) else { return problem };
    if known_keys(&kind.schema).any(|k| k == key) || !known_keys(&twin.schema).any(|k| k == key) {
        return problem;
    }
    let (role, other) = (kind.role.name(), twin.role.name());
    let (has, change) =
        if kind.role == Role::Source { ("without", "add `input:`") } else { ("with", "remove `input:`") };
    let help = format!(
        "a `{name}` stage {has} `input` is a {role}; `{key}` is for a {other}: {change}, or remove `{key}`",
        name = kind.name
    );
    problem.help(help)
}

fn known_keys(schema: &Json) -> impl Iterator<Item = &str> {
    schema.get("properties").and_then(Json::as_object).into_iter().flat_map(|p| p.keys().map(String::as_str))
}

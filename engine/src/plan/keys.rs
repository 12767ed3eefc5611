//! Keys of a stage: those of the engine and those of the kind.

use serde_json::{Value as Json, json};

use crate::registry::Kind;
use crate::spec::{STAGE_KEYS, StageSpec};
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

pub(super) fn known_keys(schema: &Json) -> impl Iterator<Item = &str> {
    schema.get("properties").and_then(Json::as_object).into_iter().flat_map(|p| p.keys().map(String::as_str))
}

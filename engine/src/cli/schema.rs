//! `schema`: the JSON Schema of a whole spec, for editors.

use serde_json::{Value as Json, json};

use super::{Cli, DONE, FAILED, say, say_error};
use crate::registry::Registry;
use crate::spec::Header;
use crate::stage::Role;

pub(super) fn show(cli: &Cli<'_>) -> u8 {
    match serde_json::to_string_pretty(&spec_schema(cli.registry)) {
        Ok(text) => {
            say(&(text + "\n"));
            DONE
        }
        Err(error) => {
            say_error(&format!("error: {error}\n"));
            FAILED
        }
    }
}

/// The JSON Schema of a whole spec.
pub(super) fn spec_schema(registry: &Registry) -> Json {
    let mut schema = schemars::schema_for!(Header).to_value();
    let mut definitions = schema.get("$defs").cloned().unwrap_or_else(|| json!({}));
    let mut stages = Vec::new();
    for kind in registry.kinds() {
        let mut own = kind.schema.clone();
        let twin = registry.twin(kind).is_some();
        let prefix = if twin { format!("{}-{}", kind.name, kind.role.name()) } else { kind.name.to_owned() };
        hoist(&mut own, &prefix, &mut definitions);
        let map = own.as_object_mut();
        if let Some(properties) = map.and_then(|m| m.entry("properties").or_insert_with(|| json!({})).as_object_mut()) {
            properties.insert("kind".into(), json!({ "const": kind.name }));
            properties
                .insert("description".into(), json!({ "type": "string", "description": "What the stage is for." }));
            if kind.role != Role::Source {
                let name = json!({ "type": "string", "description": "The stage whose rows are read; `NAME.rejects` for those it rejects." });
                properties.insert(
                    "input".into(),
                    json!({ "anyOf": [name, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] }),
                );
            }
        }
        if kind.role != Role::Source
            && let Some(map) = own.as_object_mut()
        {
            let required = map.entry("required").or_insert_with(|| json!([]));
            if let Some(list) = required.as_array_mut() {
                list.push(json!("input"));
            }
        }
        let mut when = json!({ "properties": { "kind": { "const": kind.name } }, "required": ["kind"] });
        if let Some(map) = when.as_object_mut().filter(|_| twin) {
            let with_input = json!({ "required": ["input"] });
            let condition = if kind.role == Role::Source { json!({ "not": with_input }) } else { with_input };
            map.insert("allOf".into(), json!([condition]));
        }
        stages.push(json!({ "if": when, "then": own }));
    }
    let kinds = registry.names();
    if let Some(map) = schema.as_object_mut() {
        if let Some(properties) = map.get_mut("properties").and_then(Json::as_object_mut) {
            properties.insert(
                "stages".into(),
                json!({
                    "type": "object",
                    "description": "The stages by name, in any order.",
                    "minProperties": 1,
                    "additionalProperties": {
                        "type": "object",
                        "required": ["kind"],
                        "properties": { "kind": { "enum": kinds } },
                        "allOf": stages
                    }
                }),
            );
        }
        if let Some(required) = map.get_mut("required").and_then(Json::as_array_mut) {
            required.push(json!("stages"));
        }
        map.insert("$defs".into(), definitions);
        map.insert("title".into(), json!("Alluvium pipeline"));
    }
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    allow_variables(&mut schema, &definitions);
    if let Some(all) = schema.get_mut("$defs").and_then(Json::as_object_mut) {
        all.insert("variable".into(), json!({ "type": "string", "pattern": r"\$\{[A-Za-z_]" }));
    }
    schema
}

/// Wherever a value stands that is not any text, a variable may stand too.
fn allow_variables(schema: &mut Json, definitions: &Json) {
    if let Some(map) = schema.as_object_mut() {
        for key in ["properties", "additionalProperties", "items"] {
            let Some(below) = map.get_mut(key) else { continue };
            match below.as_object_mut() {
                Some(named) if key == "properties" => {
                    named.iter_mut().filter(|(name, _)| *name != "kind").for_each(|(_, s)| widen(s, definitions));
                }
                Some(_) => widen(below, definitions),
                None => {}
            }
        }
        map.iter_mut().filter(|(key, _)| *key != "if").for_each(|(_, s)| allow_variables(s, definitions));
    } else if let Some(items) = schema.as_array_mut() {
        items.iter_mut().for_each(|s| allow_variables(s, definitions));
    }
}

fn widen(schema: &mut Json, definitions: &Json) {
    let reference = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
    let resolved = reference.and_then(|r| definitions.get(r)).unwrap_or(schema);
    let scalar = |t: &Json| ["integer", "number", "boolean"].iter().any(|s| t.as_str() == Some(s));
    let types = resolved.get("type");
    let narrow = types.is_some_and(|t| scalar(t) || t.as_array().is_some_and(|all| all.iter().any(scalar)))
        || resolved.get("enum").is_some()
        || resolved.get("pattern").is_some()
        || resolved
            .get("oneOf")
            .and_then(Json::as_array)
            .is_some_and(|all| all.iter().any(|s| s.get("const").is_some()));
    let Some(map) = schema.as_object_mut().filter(|_| narrow) else { return };
    let mut wide = serde_json::Map::new();
    for key in ["description", "default"] {
        wide.extend(map.remove(key).map(|value| (key.to_owned(), value)));
    }
    wide.insert("anyOf".into(), json!([schema.take(), { "$ref": "#/$defs/variable" }]));
    *schema = Json::Object(wide);
}

/// Moves the definitions of a kind to the top, under names of its own.
fn hoist(schema: &mut Json, kind: &str, definitions: &mut Json) {
    let own = schema.as_object_mut().and_then(|map| {
        map.remove("$schema");
        map.remove("title");
        map.remove("$defs")
    });
    rename(schema, kind);
    if let (Some(Json::Object(own)), Some(all)) = (own, definitions.as_object_mut()) {
        for (name, mut definition) in own {
            rename(&mut definition, kind);
            all.insert(format!("{kind}.{name}"), definition);
        }
    }
}

fn rename(schema: &mut Json, kind: &str) {
    match schema {
        Json::Object(map) => {
            if let Some(Json::String(reference)) = map.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/$defs/{kind}.{name}");
            }
            map.values_mut().for_each(|v| rename(v, kind));
        }
        Json::Array(items) => items.iter_mut().for_each(|v| rename(v, kind)),
        _ => {}
    }
}

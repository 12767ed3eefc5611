//! `stages` and `schema`: the reference, made from the doc comments of the kinds.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value as Json, json};

use super::{Cli, DONE, USAGE, say, say_error};
use crate::registry::{Kind, Registry};
use crate::spec::{Header, closest};
use crate::stage::Role;

#[derive(Args)]
pub(super) struct StagesArguments {
    /// A kind; without it all kinds are listed.
    kind: Option<String>,
    /// Print Markdown: the whole reference, or that of one kind.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn stages(cli: &Cli<'_>, arguments: &StagesArguments) -> u8 {
    let registry = cli.registry;
    let Some(name) = &arguments.kind else {
        say(&if arguments.markdown { all_markdown(registry) } else { list(registry) });
        return DONE;
    };
    let Some(kind) = registry.kind(name) else {
        let known: Vec<&str> = registry.kinds().map(|k| k.name).collect();
        let near = closest(name, &known).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
        say_error(&format!("error: unknown kind `{name}`\n  {near}kinds: {}\n", known.join(", ")));
        return USAGE;
    };
    say(&markdown(kind, if arguments.markdown { 2 } else { 1 }));
    DONE
}

fn list(registry: &Registry) -> String {
    let mut out = String::new();
    let width = registry.kinds().map(|k| k.name.len()).max().unwrap_or(0);
    for kind in registry.kinds() {
        let first = kind.description().lines().next().unwrap_or_default();
        let _ = writeln!(out, "{:<width$}  {:<9}  {first}", kind.name, kind.role.name());
    }
    out.push_str("\n`alluvium stages KIND` shows fields, types, defaults and an example.\n");
    out
}

fn all_markdown(registry: &Registry) -> String {
    let mut out = String::from("# Reference of a spec\n\nMade by `alluvium stages --markdown`.\n\n");
    let header = schemars::schema_for!(Header).to_value();
    out.push_str("## The outer keys\n\n");
    out.push_str(&fields(&header, &header, ""));
    out.push_str("- `stages` (mapping, required): the stages by name, in any order.\n\n");
    out.push_str("Every stage has `kind`, and every stage but a source has `input`: the name of a stage, or a list of\nnames. `NAME.rejects` reads the rows that stage `NAME` could not process.\n\n");
    for kind in registry.kinds() {
        out.push_str(&markdown(kind, 2));
        out.push('\n');
    }
    out
}

fn markdown(kind: &Kind, level: usize) -> String {
    let mut out = format!("{} {} ({})\n\n{}\n\n", "#".repeat(level), kind.name, kind.role.name(), kind.description());
    out.push_str(&fields(&kind.schema, &kind.schema, ""));
    out
}

/// One line for each field, nested ones below.
fn fields(root: &Json, schema: &Json, indent: &str) -> String {
    let mut out = String::new();
    let required = schema.get("required").and_then(Json::as_array).cloned().unwrap_or_default();
    let properties = schema.get("properties").and_then(Json::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let resolved = resolve(root, property);
        let need = if required.iter().any(|r| r.as_str() == Some(name)) {
            "required".to_owned()
        } else {
            match property.get("default") {
                None | Some(Json::Null) => "optional".to_owned(),
                Some(default) => format!("default `{}`", compact(default)),
            }
        };
        let text = property.get("description").or_else(|| resolved.get("description")).and_then(Json::as_str).unwrap_or_default();
        let _ = writeln!(out, "{indent}- `{name}` ({}, {need}): {}", type_of(root, property), text.replace('\n', " "));
        let deeper = format!("{indent}  ");
        out.push_str(&choices(resolved, &deeper));
        for inner in [Some(resolved), resolved.get("items"), resolved.get("additionalProperties")].into_iter().flatten() {
            out.push_str(&fields(root, resolve(root, inner), &deeper));
        }
    }
    out
}

/// The documented choices of an enumeration.
fn choices(schema: &Json, indent: &str) -> String {
    let mut out = String::new();
    for choice in schema.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        if let (Some(value), Some(text)) = (choice.get("const"), choice.get("description").and_then(Json::as_str)) {
            let _ = writeln!(out, "{indent}- `{}`: {}", compact(value), text.replace('\n', " "));
        }
    }
    out
}

fn compact(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

/// Follows a reference, and the one branch of an optional value.
fn resolve<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        return root.pointer(reference.trim_start_matches('#')).map_or(schema, |s| resolve(root, s));
    }
    let branches = schema.get("anyOf").and_then(Json::as_array);
    let some = branches.and_then(|b| b.iter().find(|s| s.get("type").and_then(Json::as_str) != Some("null")));
    some.map_or(schema, |s| resolve(root, s))
}

fn type_of(root: &Json, schema: &Json) -> String {
    let schema = resolve(root, schema);
    if schema.get("oneOf").is_some() || schema.get("enum").is_some() {
        let plain = schema.get("enum").and_then(Json::as_array);
        return plain.map_or("choice".into(), |options| options.iter().map(compact).collect::<Vec<_>>().join(" | "));
    }
    let word = |t: &str| match t {
        "string" => "text",
        "array" => "list",
        "object" => "mapping",
        other => other,
    }
    .to_owned();
    match schema.get("type") {
        Some(Json::String(t)) if t == "array" => {
            let items = schema.get("items").map(|i| type_of(root, i)).unwrap_or_default();
            format!("list of {items}")
        }
        Some(Json::String(t)) => word(t),
        Some(Json::Array(types)) => {
            let names: Vec<String> = types.iter().filter_map(Json::as_str).filter(|t| *t != "null").map(word).collect();
            names.join(" or ")
        }
        _ => "any".into(),
    }
}

pub(super) fn schema(cli: &Cli<'_>) -> u8 {
    match serde_json::to_string_pretty(&spec_schema(cli.registry)) {
        Ok(text) => {
            say(&(text + "\n"));
            DONE
        }
        Err(error) => {
            say_error(&format!("error: {error}\n"));
            super::FAILED
        }
    }
}

/// The JSON Schema of a whole spec.
pub fn spec_schema(registry: &Registry) -> Json {
    let mut schema = schemars::schema_for!(Header).to_value();
    let mut definitions = schema.get("$defs").cloned().unwrap_or_else(|| json!({}));
    let mut stages = Vec::new();
    for kind in registry.kinds() {
        let mut own = kind.schema.clone();
        hoist(&mut own, kind.name, &mut definitions);
        if let Some(properties) = own.get_mut("properties").and_then(Json::as_object_mut) {
            properties.insert("kind".into(), json!({ "const": kind.name }));
            properties.insert("description".into(), json!({ "type": "string", "description": "What the stage is for." }));
            if kind.role != Role::Source {
                let name = json!({ "type": "string", "description": "The stage whose rows are read; `NAME.rejects` for those it rejects." });
                properties.insert("input".into(), json!({ "anyOf": [name, { "type": "array", "items": { "type": "string" }, "minItems": 1 }] }));
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
        stages.push(json!({ "if": { "properties": { "kind": { "const": kind.name } } }, "then": own }));
    }
    let kinds: Vec<&str> = registry.kinds().map(|k| k.name).collect();
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
    schema
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

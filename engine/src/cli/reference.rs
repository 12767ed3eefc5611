//! `stages`: the reference, made from the doc comments of the kinds.

use std::fmt::Write;

use clap::Args;
use serde_json::Value as Json;

use super::{Cli, DONE, USAGE, say, say_error};
use crate::registry::{Kind, Registry};
use crate::spec::{Header, closest};

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
    let kinds: Vec<&Kind> = registry.kinds().filter(|k| k.name == name).collect();
    if kinds.is_empty() {
        let known = registry.names();
        let near = closest(name, &known).map(|n| format!("did you mean `{n}`? ")).unwrap_or_default();
        say_error(&format!("error: unknown kind `{name}`\n  {near}kinds: {}\n", known.join(", ")));
        return USAGE;
    }
    let level = if arguments.markdown { 2 } else { 1 };
    let texts: Vec<String> = kinds.into_iter().map(|kind| markdown(kind, level)).collect();
    say(&texts.join("\n"));
    DONE
}

fn list(registry: &Registry) -> String {
    let mut out = String::new();
    let width = registry.kinds().map(|k| k.name.len()).max().unwrap_or(0);
    for kind in registry.kinds() {
        let text = kind.description().replace('\n', " ");
        let first = text.split(". ").next().unwrap_or_default().trim_end_matches('.');
        let _ = writeln!(out, "{:<width$}  {:<9}  {first}.", kind.name, kind.role.name());
    }
    out.push_str("\n`alluvium stages KIND` shows fields, types, defaults and an example.\n");
    out
}

fn all_markdown(registry: &Registry) -> String {
    let mut out = String::from("# Reference of a spec\n\nMade by `alluvium stages --markdown`.\n\n");
    let header = schemars::schema_for!(Header).to_value();
    out.push_str("## The outer keys\n\n");
    out.push_str(&fields(&header, &header, ""));
    out.push_str("- `stages` (mapping, required): The stages by name, in any order.\n\n");
    out.push_str("Every stage has `kind`, and every stage but a source has `input`: the name of a stage, or a list of\nnames. `NAME.rejects` reads the rows that stage `NAME` could not process. `description` says what a stage is for.\n\n\
         Values may use variables of the environment or of `--set NAME=VALUE`: `${NAME}`, or `${NAME:-default}`.\n\n");
    let kinds: Vec<String> = registry.kinds().map(|k| markdown(k, 2).trim_end().to_owned()).collect();
    out.push_str(&kinds.join("\n\n"));
    out.push('\n');
    out
}

fn markdown(kind: &Kind, level: usize) -> String {
    let mut out = format!("{} {} ({})\n\n{}\n\n", "#".repeat(level), kind.name, kind.role.name(), kind.description());
    out.push_str(&fields(&kind.schema, &kind.schema, ""));
    out.truncate(out.trim_end().len());
    out.push('\n');
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
                // The defaults of what is in it are shown below.
                None | Some(Json::Null | Json::Object(_) | Json::Array(_)) => "optional".to_owned(),
                Some(default) => format!("default `{}`", compact(default)),
            }
        };
        let text = property
            .get("description")
            .or_else(|| resolved.get("description"))
            .and_then(Json::as_str)
            .unwrap_or_default();
        let _ = writeln!(out, "{indent}- `{name}` ({}, {need}): {}", type_of(root, property), text.replace('\n', " "));
        let deeper = format!("{indent}  ");
        for inner in [Some(resolved), resolved.get("items"), resolved.get("additionalProperties")].into_iter().flatten()
        {
            let inner = resolve(root, inner);
            out.push_str(&choices(root, inner, &deeper));
            out.push_str(&fields(root, inner, &deeper));
        }
    }
    out
}

/// The documented choices of an enumeration: words, or mappings with one key.
fn choices(root: &Json, schema: &Json, indent: &str) -> String {
    let mut out = String::new();
    for choice in schema.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
        let text = choice.get("description").and_then(Json::as_str).unwrap_or_default().replace('\n', " ");
        if let Some(value) = choice.get("const") {
            let _ = writeln!(out, "{indent}- `{}`: {text}", compact(value));
        }
        for (name, property) in choice.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let inner = resolve(root, property);
            let parts = inner.get("properties").and_then(Json::as_object).into_iter().flatten();
            let parts: Vec<String> = parts.map(|(n, p)| format!("{n}: {}", type_of(root, p))).collect();
            let form = if parts.is_empty() { type_of(root, property) } else { format!("{{ {} }}", parts.join(", ")) };
            let _ = writeln!(out, "{indent}- `{{ {name}: … }}` ({form}): {text}");
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
    let reference = schema.get("$ref").and_then(Json::as_str);
    let schema = reference.and_then(|r| root.pointer(r.trim_start_matches('#'))).unwrap_or(schema);
    let branches = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    let some: Vec<&Json> = branches.filter(|s| s.get("type").and_then(Json::as_str) != Some("null")).collect();
    if some.len() > 1 {
        return some.into_iter().map(|s| type_of(root, s)).collect::<Vec<_>>().join(" or ");
    }
    let schema = resolve(root, schema);
    if schema.get("oneOf").is_some() || schema.get("enum").is_some() {
        let plain = schema.get("enum").and_then(Json::as_array);
        return plain.map_or("choice".into(), |options| options.iter().map(compact).collect::<Vec<_>>().join(" | "));
    }
    let word = |t: &str| {
        match t {
            "string" => "text",
            "array" => "list",
            "object" => "mapping",
            "integer" => "whole number",
            "boolean" => "true or false",
            other => other,
        }
        .to_owned()
    };
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

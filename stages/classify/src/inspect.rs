//! `alluvium model inspect`: what a model is, and what it says about a text.

use std::collections::BTreeMap;
use std::fmt::Write;

use alluvium_engine::cli::{Cli, Command, DONE, FAILED, USAGE, say, say_error};
use alluvium_engine::storage::Storage;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};

use crate::{Device, Model, ModelError, Options, Precision, Preprocess};

/// The command.
pub struct ModelCommand;

/// Look at transformer models.
#[derive(Args)]
struct ModelArguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Check a model and show what it is; with --text, what it says.
    Inspect(InspectArguments),
}

#[derive(Args)]
struct InspectArguments {
    /// `builtin`, a Hugging Face directory, or the URL of one.
    #[arg(value_name = "MODEL")]
    model: String,
    /// Classify this text.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// What is done to the text first: `none` or `tweet`.
    #[arg(long, value_name = "HOW", default_value = "none", value_parser = parse::<Preprocess>)]
    preprocess: Preprocess,
    /// How exactly to compute: `float32`, `bfloat16` or `int8`.
    #[arg(long, value_name = "PRECISION", default_value = "float32", value_parser = parse::<Precision>)]
    precision: Precision,
    /// Where to compute: `cpu` or `cuda`.
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = parse::<Device>)]
    device: Device,
}

/// A choice by the name that a spec has for it.
fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

impl Command for ModelCommand {
    fn describe(&self) -> clap::Command {
        ModelArguments::augment_args(clap::Command::new("model"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let Verb::Inspect(arguments) = match ModelArguments::from_arg_matches(arguments) {
            Ok(arguments) => arguments.command,
            Err(error) => {
                let _ = error.print();
                return USAGE;
            }
        };
        let runtime = match cli.runtime(1) {
            Ok(runtime) => runtime,
            Err(code) => return code,
        };
        match inspect(&arguments, runtime.handle()) {
            Ok(text) => {
                say(&text);
                DONE
            }
            Err(error) => {
                say_error(&format!("error: {error}\n"));
                FAILED
            }
        }
    }
}

fn inspect(arguments: &InspectArguments, runtime: &tokio::runtime::Handle) -> Result<String, ModelError> {
    let options = Options {
        precision: arguments.precision,
        device: arguments.device,
        preprocess: arguments.preprocess,
        labels: None,
    };
    let storage = Storage::new(BTreeMap::new());
    let model = crate::config::open(&arguments.model, options, &storage, runtime)?;
    let mut text = description(&model);
    if let Some(content) = &arguments.text {
        text += "\n";
        text += &said(&model, content)?;
    }
    Ok(text)
}

fn description(model: &Model) -> String {
    let info = &model.info;
    let mebibytes = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let one_or_many = if info.multi_label { "any of them" } else { "one of them" };
    let lines = [
        ("model", format!("{}, version {}", info.name, info.version)),
        (
            "architecture",
            format!(
                "{}: {} layers, hidden {}, {} heads, feed-forward {}",
                info.architecture, info.layers, info.hidden, info.heads, info.intermediate
            ),
        ),
        ("labels", format!("{} ({one_or_many})", info.labels.join(", "))),
        ("tokenizer", format!("{}, {} tokens, {} at most in a text", info.tokenizer, info.vocabulary, info.max_tokens)),
        ("weights", format!("{} numbers, {} on disk", info.parameters, mebibytes(info.bytes))),
        ("memory", format!("{}, and up to 200 MiB while it works", mebibytes(info.memory))),
        ("computes", format!("in {:?} with {}", info.precision, info.instructions).to_lowercase()),
        ("hash", info.hash.clone()),
    ];
    lines.into_iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<13} {value}");
        text
    })
}

fn said(model: &Model, content: &str) -> Result<String, ModelError> {
    let (predictions, usage) = model.classify(&[Some(content)])?;
    let Some(prediction) = predictions.into_iter().flatten().next() else { return Ok(String::new()) };
    let width = model.info.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, (label, share)) in model.info.labels.iter().zip(&prediction.probabilities).enumerate() {
        let mark = if index == prediction.label { "  <-" } else { "" };
        let _ = writeln!(text, "{label:<width$}  {:>6.2} %{mark}", share * 100.0);
    }
    let cut = if prediction.truncated { ", its end was cut off" } else { "" };
    let _ = writeln!(text, "({} tokens{cut})", usage.tokens);
    Ok(text)
}

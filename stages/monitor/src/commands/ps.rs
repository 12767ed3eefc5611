//! `ps`: the pipelines that run on this machine.

use std::path::{Path, PathBuf};

use alluvium_engine::checkpoint::{self, Standing};
use alluvium_engine::cli::{Cli, Command, DONE, parse_assignment, say};
use alluvium_engine::progress::Status;
use clap::{ArgMatches, Args, ValueEnum};
use serde::Serialize;

use super::{failed, parsed, show};
use crate::client;
use crate::runs::{self, Record};

/// The command.
pub struct Ps;

/// List the pipelines that run on this machine, and what the state of others says.
#[derive(Args)]
struct PsArguments {
    /// Also these pipelines, wherever they run: their state says whether they do.
    #[arg(value_name = "SPEC")]
    specs: Vec<PathBuf>,
    /// Set a variable of the specs; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_assignment)]
    set: Vec<(String, String)>,
    /// How they are shown.
    #[arg(long, value_enum, default_value_t = PsFormat::Table)]
    format: PsFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PsFormat {
    /// A line for each.
    Table,
    /// One JSON object a line, with the whole status.
    Json,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    record: &'a Record,
    /// `None` if it does not answer.
    status: Option<&'a Status>,
}

/// A pipeline that does not run on this machine.
#[derive(Serialize)]
struct Elsewhere<'a> {
    pipeline: &'a str,
    spec: &'a Path,
    standing: &'a Standing,
}

impl Command for Ps {
    fn describe(&self) -> clap::Command {
        PsArguments::augment_args(clap::Command::new("ps"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        match parsed(arguments).and_then(|arguments| list(cli, &arguments)) {
            Ok(()) => DONE,
            Err(code) => code,
        }
    }
}

fn list(cli: &Cli<'_>, arguments: &PsArguments) -> Result<(), u8> {
    let runtime = cli.runtime(1)?;
    let runs = runs::all().map_err(|e| failed(&e))?;
    let mut rows = Vec::new();
    for (record, socket) in &runs {
        let status: Option<Status> = runtime.block_on(client::get(socket, "/api/status")).ok();
        if arguments.format == PsFormat::Json {
            let line =
                serde_json::to_string(&Line { record, status: status.as_ref() }).map_err(|e| failed(&e.to_string()))?;
            say(&format!("{line}\n"));
            continue;
        }
        let (state, epoch, rate, lag) = status.map_or_else(
            || ("no answer".to_owned(), String::new(), String::new(), String::new()),
            |s| {
                (
                    show::state(s.state).to_owned(),
                    s.epochs.completed.to_string(),
                    show::grouped(s.rows_per_second as u64),
                    show::seconds(s.epochs.lag_seconds),
                )
            },
        );
        let started = record.started.split('.').next().unwrap_or_default().replace('T', " ");
        rows.push([
            record.pipeline.clone(),
            state,
            record.pid.to_string(),
            epoch,
            rate,
            lag,
            started,
            record.spec.display().to_string(),
        ]);
    }
    for spec in &arguments.specs {
        let plan = cli.compile(spec, &arguments.set, runtime.handle())?;
        if runs.iter().any(|(record, _)| record.state == runs::identity(&plan)) {
            continue;
        }
        let standing = runtime.block_on(checkpoint::standing(&plan)).map_err(|e| failed(&e.text()))?;
        if arguments.format == PsFormat::Json {
            let line = serde_json::to_string(&Elsewhere { pipeline: &plan.pipeline, spec, standing: &standing });
            say(&format!("{}\n", line.map_err(|e| failed(&e.to_string()))?));
            continue;
        }
        let state = standing
            .holder
            .map_or_else(|| "not running".to_owned(), |holder| format!("elsewhere, or killed: {holder}"));
        let epoch = standing.epoch.map(|e| e.to_string()).unwrap_or_default();
        let none = String::new;
        rows.push([plan.pipeline.clone(), state, none(), epoch, none(), none(), none(), spec.display().to_string()]);
    }
    if arguments.format == PsFormat::Table {
        let head = ["pipeline", "state", "pid", "epoch", "rows/s", "lag", "since (UTC)", "spec"];
        say(&show::table(&head, &rows));
    }
    Ok(())
}

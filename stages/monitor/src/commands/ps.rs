//! `ps`: the pipelines that run on this machine.

use alluvium_engine::cli::{Cli, Command, DONE, say};
use alluvium_engine::progress::Status;
use clap::{ArgMatches, Args, ValueEnum};
use serde::Serialize;

use super::{failed, parsed, show};
use crate::client;
use crate::runs::{self, Record};

/// The command.
pub struct Ps;

/// List the pipelines that run on this machine.
#[derive(Args)]
struct PsArguments {
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
    if arguments.format == PsFormat::Table {
        let head = ["pipeline", "state", "pid", "epoch", "rows/s", "lag", "since (UTC)", "spec"];
        say(&show::table(&head, &rows));
    }
    Ok(())
}

//! `status SPEC`: how a pipeline is, whether it runs or not.

use alluvium_engine::checkpoint::{self, Standing};
use alluvium_engine::cli::{Cli, Command, DONE, FAILED, SpecArguments, say};
use alluvium_engine::progress::{RunState, StageCondition, Status};
use clap::{ArgMatches, Args, ValueEnum};

use super::find::{Looked, look};
use super::{NOT_RUNNING, failed, parsed, show};
use crate::client;

/// The command.
pub struct StatusCommand;

/// Show how a pipeline is, whether it runs or not.
///
/// Stages, epochs, backlog, tables and warnings of one that runs; of another, what its last run has left.
///
/// Exit code 0: it runs and goes on; 1: it stands still, or its last run has failed; 3: it does not run.
#[derive(Args)]
struct StatusArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = StatusFormat::Text)]
    format: StatusFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// For people.
    Text,
    /// The document of `GET /api/status`; of a pipeline that does not run, what its state says.
    Json,
}

impl Command for StatusCommand {
    fn describe(&self) -> clap::Command {
        StatusArguments::augment_args(clap::Command::new("status"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let shown = parsed(arguments).and_then(|arguments: StatusArguments| match look(cli, &arguments.spec)? {
            Looked::Running(found) => {
                let status = found.runtime.block_on(client::get::<Status>(&found.socket, "/api/status"));
                let status = status.map_err(|e| failed(&format!("process {}: {e}", found.record.pid)))?;
                tell(&status, arguments.format)
            }
            Looked::Not(runtime, plan) => {
                let standing = runtime.block_on(checkpoint::standing(&plan)).map_err(|e| failed(&e.text()))?;
                tell_standing(&plan.pipeline, &standing, arguments.format)
            }
        });
        shown.unwrap_or_else(|code| code)
    }
}

fn json(of: &impl serde::Serialize) -> Result<(), u8> {
    let text = serde_json::to_string_pretty(of).map_err(|e| failed(&e.to_string()))?;
    say(&format!("{text}\n"));
    Ok(())
}

fn tell(status: &Status, format: StatusFormat) -> Result<u8, u8> {
    match format {
        StatusFormat::Json => json(status)?,
        StatusFormat::Text => say(&text(status)),
    }
    let stalled = status.stages.iter().any(|s| s.condition == StageCondition::Stalled);
    Ok(if stalled || status.state == RunState::Failed { FAILED } else { DONE })
}

/// A run for people.
fn text(status: &Status) -> String {
    let since = (status.now - status.started).num_milliseconds() as f64 / 1e3;
    let mut out = format!(
        "{} is {} for {}: {} rows, {} rows/s, {} workers in {} process{}\n",
        status.pipeline,
        show::state(status.state),
        show::seconds(since),
        show::grouped(status.rows),
        show::grouped(status.rows_per_second as u64),
        status.workers,
        status.processes,
        if status.processes == 1 { "" } else { "es" },
    );
    let oldest = status.backlog.oldest_seconds.map(|s| format!(", the oldest of {} ago", show::seconds(s)));
    out += &format!(
        "epoch {} complete, {} open, {} behind; {} objects ({}) outstanding{}\n\n",
        status.epochs.completed,
        status.epochs.open,
        show::seconds(status.epochs.lag_seconds),
        show::grouped(status.backlog.objects),
        show::bytes(status.backlog.bytes),
        oldest.unwrap_or_default(),
    );
    let stages = status.stages.iter().map(|s| {
        [
            s.name.clone(),
            s.kind.clone(),
            show::grouped(s.rows),
            show::grouped(s.rows_per_second as u64),
            format!("{:.0}%", s.busy * 100.0),
            show::grouped(s.queue_rows),
            show::grouped(s.rejects),
            show::place(s),
        ]
    });
    let head = ["stage", "kind", "rows", "rows/s", "busy", "waiting", "rejects", "frontier"];
    out += &show::table(&head, &stages.collect::<Vec<_>>());
    let tables = status.tables.iter().map(|t| {
        [
            t.stage.clone(),
            t.version.map(|v| v.to_string()).unwrap_or_default(),
            t.epoch.to_string(),
            show::grouped(t.rows),
            show::grouped(t.files),
            show::bytes(t.bytes),
            format!("{:.0} ms", t.commit_ms),
            t.conflicts.to_string(),
        ]
    });
    let head = ["table", "version", "epoch", "rows", "files", "size", "commit", "conflicts"];
    out += &format!("\n{}", show::table(&head, &tables.collect::<Vec<_>>()));
    for warning in &status.warnings {
        let stage = warning.stage.as_ref().map(|s| format!("stage `{s}`: ")).unwrap_or_default();
        let epoch = warning.epoch.map(|e| format!("epoch {e}: ")).unwrap_or_default();
        out += &format!("\nwarning: {stage}{epoch}{}\n", warning.message);
    }
    if let Some(fault) = &status.fault {
        out += &format!("\nfailed: {}\n", fault.message);
    }
    out
}

fn tell_standing(pipeline: &str, standing: &Standing, format: StatusFormat) -> Result<u8, u8> {
    let fault = standing.last_run.as_ref().and_then(|run| run.fault.as_ref());
    if format == StatusFormat::Json {
        json(standing)?;
    } else {
        let mut out = match &standing.holder {
            Some(holder) => format!("{pipeline} runs elsewhere, or was killed: {holder}\n"),
            None => format!("{pipeline} does not run\n"),
        };
        out += &match (standing.epoch, standing.finished) {
            (Some(epoch), Some(at)) => {
                format!("complete up to epoch {epoch}, since {}\n", at.format("%Y-%m-%d %H:%M:%S UTC"))
            }
            _ => "no epoch is complete\n".to_owned(),
        };
        if let Some(run) = &standing.last_run {
            let at = run.ended.format("%Y-%m-%d %H:%M:%S UTC");
            out += &match fault {
                Some(fault) => format!("the last run failed at {at}: {}\n", fault.message),
                None => format!("the last run ended in order at {at}\n"),
            };
        }
        say(&out);
    }
    Ok(if fault.is_some() { FAILED } else { NOT_RUNNING })
}

//! `await`: until a pipeline has nothing more to do.

use std::time::Duration;

use alluvium_engine::checkpoint;
use alluvium_engine::cli::{Cli, Command, DONE, FAILED, SpecArguments, say, say_error};
use alluvium_engine::progress::{RunState, Status};
use clap::{ArgMatches, Args};

use super::find::{Looked, look};
use super::{NOT_RUNNING, TIMED_OUT, failed, parsed, show};
use crate::client;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// The command.
pub struct Await;

/// Wait until a running pipeline has done what there is to do.
///
/// That is, until nothing is outstanding; or until an epoch is complete; or until it has ended.
///
/// Exit code 0: so it is; 1: it has failed; 3: it does not run; 124: it took longer than --timeout.
#[derive(Args)]
struct AwaitArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Wait until this epoch is complete, not until nothing is outstanding.
    #[arg(long, value_name = "N")]
    epoch: Option<u64>,
    /// Wait until the run has ended.
    #[arg(long, conflicts_with = "epoch")]
    end: bool,
    /// Wait no longer than this.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl Command for Await {
    fn describe(&self) -> clap::Command {
        AwaitArguments::augment_args(clap::Command::new("await"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments).and_then(|arguments: AwaitArguments| wait(cli, &arguments)).unwrap_or_else(|code| code)
    }
}

/// Whether the wait is over.
fn is_over(arguments: &AwaitArguments, status: &Status) -> bool {
    match arguments.epoch {
        _ if matches!(status.state, RunState::Ended | RunState::Failed) => true,
        Some(epoch) => status.epochs.completed >= epoch,
        None if arguments.end => false,
        // Before the first listing nothing is known to be outstanding.
        None => status.listed && status.backlog.objects == 0 && status.epochs.open == 0,
    }
}

fn wait(cli: &Cli<'_>, arguments: &AwaitArguments) -> Result<u8, u8> {
    let found = match look(cli, &arguments.spec)? {
        Looked::Running(found) => found,
        Looked::Not(runtime, plan) => {
            let standing = runtime.block_on(checkpoint::standing(&plan)).map_err(|e| failed(&e.text()))?;
            if arguments.epoch.is_some_and(|epoch| standing.epoch.is_some_and(|done| done >= epoch)) {
                return Ok(DONE);
            }
            say_error(&format!("`{}` does not run on this machine\n", plan.pipeline));
            return Err(NOT_RUNNING);
        }
    };
    let waiting = async {
        loop {
            match client::get::<Status>(&found.socket, "/api/status").await {
                Ok(status) if is_over(arguments, &status) => return Some(status),
                Ok(_) => tokio::time::sleep(LOOK).await,
                // It has ended between two looks.
                Err(_) if !found.record.lives() => return None,
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    };
    let status = found.runtime.block_on(async {
        match arguments.timeout {
            Some(longest) => tokio::time::timeout(longest, waiting).await.map_err(|_| TIMED_OUT),
            None => Ok(waiting.await),
        }
    })?;
    match status {
        Some(status) => {
            if let Some(fault) = &status.fault {
                say_error(&format!("{}: {}\n", status.pipeline, fault.message));
                return Ok(FAILED);
            }
            let rows = show::grouped(status.rows);
            say(&format!(
                "{}: complete up to epoch {}, {rows} rows in this run\n",
                status.pipeline, status.epochs.completed
            ));
            Ok(DONE)
        }
        None => ended(cli, arguments),
    }
}

/// How a run has ended that is gone: its state says so.
fn ended(cli: &Cli<'_>, arguments: &AwaitArguments) -> Result<u8, u8> {
    let Ok(Looked::Not(runtime, plan)) = look(cli, &arguments.spec) else { return Ok(NOT_RUNNING) };
    let standing = runtime.block_on(checkpoint::standing(&plan)).map_err(|e| failed(&e.text()))?;
    match standing.last_run.and_then(|run| run.fault) {
        Some(fault) => {
            say_error(&format!("{}: {}\n", plan.pipeline, fault.message));
            Ok(FAILED)
        }
        None => {
            say(&format!(
                "{}: the run has ended, complete up to epoch {}\n",
                plan.pipeline,
                standing.epoch.unwrap_or(0)
            ));
            Ok(DONE)
        }
    }
}

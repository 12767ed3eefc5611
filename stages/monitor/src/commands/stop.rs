//! `stop`: in order, or at once.

use std::path::PathBuf;
use std::time::Duration;

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, USAGE, say, say_error};
use clap::{ArgMatches, Args};
use hyper::Method;
use tokio::runtime::Runtime;

use super::find::running;
use super::{TIMED_OUT, failed, parsed};
use crate::client;
use crate::runs::{self, Record};

/// Between two looks whether a process is gone.
const LOOK: Duration = Duration::from_millis(50);

/// The command.
pub struct StopCommand;

/// Stop a running pipeline, and wait until it has ended.
///
/// The open epochs are finished first. Of a cluster all processes stop.
#[derive(Args)]
struct StopArguments {
    /// The pipeline spec, a YAML file; or the name of a running pipeline.
    #[arg(value_name = "SPEC", required_unless_present = "all", conflicts_with = "all")]
    spec: Option<PathBuf>,
    /// Set a variable of the spec; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = alluvium_engine::cli::parse_assignment)]
    set: Vec<(String, String)>,
    /// All pipelines that run on this machine.
    #[arg(long)]
    all: bool,
    /// At once: open epochs are left to the next run, which completes them.
    #[arg(long)]
    now: bool,
    /// Wait no longer than this; the pipeline goes on stopping.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
}

impl Command for StopCommand {
    fn describe(&self) -> clap::Command {
        StopArguments::augment_args(clap::Command::new("stop"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments).and_then(|arguments: StopArguments| stop(cli, &arguments)).unwrap_or_else(|code| code)
    }
}

fn stop(cli: &Cli<'_>, arguments: &StopArguments) -> Result<u8, u8> {
    let (runtime, runs): (Runtime, Vec<(Record, PathBuf)>) = match &arguments.spec {
        Some(spec) => {
            let found = running(cli, &SpecArguments { spec: spec.clone(), set: arguments.set.clone() })?;
            // All of its processes on this machine.
            let state = found.record.state;
            let all = runs::all().map_err(|e| failed(&e))?;
            (found.runtime, all.into_iter().filter(|(record, _)| record.state == state).collect())
        }
        None if arguments.all => (cli.runtime(1)?, runs::all().map_err(|e| failed(&e))?),
        None => return Err(USAGE),
    };
    let path = if arguments.now { "/api/stop?now=true" } else { "/api/stop" };
    for (record, socket) in &runs {
        // One that ends at once may not get to answer.
        if let Err(error) = runtime.block_on(client::ask(socket, Method::POST, path))
            && !arguments.now
        {
            say_error(&format!("warning: {} (process {}): {error}\n", record.pipeline, record.pid));
        }
    }
    let waiting = async {
        for (record, _) in &runs {
            while record.lives() {
                tokio::time::sleep(LOOK).await;
            }
            say(&format!("{} has stopped (process {})\n", record.pipeline, record.pid));
        }
    };
    let waited = runtime.block_on(async {
        match arguments.timeout {
            Some(longest) => tokio::time::timeout(longest, waiting).await.is_ok(),
            None => {
                waiting.await;
                true
            }
        }
    });
    if !waited {
        say_error("still stopping: the open epochs are not finished yet; `--now` does not wait for them\n");
        return Err(TIMED_OUT);
    }
    if runs.is_empty() {
        say("no pipeline runs on this machine\n");
    }
    Ok(DONE)
}

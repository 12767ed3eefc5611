//! `pause` and `resume`: no new epochs for a while.

use alluvium_engine::cli::{Cli, Command, DONE, SpecArguments, say};
use clap::{ArgMatches, Args};
use hyper::Method;

use super::find::running;
use super::{failed, parsed};
use crate::client;

/// The command that pauses.
pub struct Pause;

/// The command that goes on.
pub struct Resume;

/// Let a running pipeline finish its open epochs, and wait.
#[derive(Args)]
struct PauseArguments {
    #[command(flatten)]
    spec: SpecArguments,
}

/// Let a paused pipeline go on.
#[derive(Args)]
struct ResumeArguments {
    #[command(flatten)]
    spec: SpecArguments,
}

impl Command for Pause {
    fn describe(&self) -> clap::Command {
        PauseArguments::augment_args(clap::Command::new("pause"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments)
            .and_then(|a: PauseArguments| {
                steer(cli, &a.spec, "/api/pause", "opens no new epochs until `alluvium resume`")
            })
            .unwrap_or_else(|code| code)
    }
}

impl Command for Resume {
    fn describe(&self) -> clap::Command {
        ResumeArguments::augment_args(clap::Command::new("resume"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        parsed(arguments)
            .and_then(|a: ResumeArguments| steer(cli, &a.spec, "/api/resume", "goes on"))
            .unwrap_or_else(|code| code)
    }
}

fn steer(cli: &Cli<'_>, spec: &SpecArguments, path: &str, done: &str) -> Result<u8, u8> {
    let found = running(cli, spec)?;
    let answer = found.runtime.block_on(client::ask(&found.socket, Method::POST, path)).map_err(|e| failed(&e))?;
    if answer.status != 200 {
        return Err(failed(String::from_utf8_lossy(&answer.body).trim()));
    }
    say(&format!("{} {done}\n", found.record.pipeline));
    Ok(DONE)
}

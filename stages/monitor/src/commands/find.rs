//! The run that a command is about.

use std::path::PathBuf;
use std::sync::Arc;

use alluvium_engine::cli::{Cli, SpecArguments, USAGE, say_error};
use alluvium_engine::plan::Plan;
use tokio::runtime::Runtime;

use super::{NOT_RUNNING, failed};
use crate::runs::{self, Record};

/// A run of this machine.
pub(super) struct Found {
    pub(super) runtime: Runtime,
    pub(super) record: Record,
    pub(super) socket: PathBuf,
}

/// What was found.
pub(super) enum Looked {
    Running(Found),
    /// It does not run on this machine.
    Not(Runtime, Arc<Plan>),
}

/// Looks for the run of a spec, or of the name of a pipeline if there is no such file.
///
/// # Errors
/// The exit code, after it was said what is wrong.
pub(super) fn look(cli: &Cli<'_>, of: &SpecArguments) -> Result<Looked, u8> {
    let runtime = cli.runtime(1)?;
    let all = runs::all().map_err(|e| failed(&e))?;
    if !of.spec.exists() {
        let name = of.spec.to_string_lossy();
        return match all.into_iter().find(|(record, _)| record.pipeline == name) {
            Some((record, socket)) => Ok(Looked::Running(Found { runtime, record, socket })),
            None => {
                say_error(&format!(
                    "error: there is no file `{name}`, and no pipeline of this name runs on this machine\n  `alluvium ps` lists those that do\n"
                ));
                Err(USAGE)
            }
        };
    }
    let plan = cli.compile(&of.spec, &of.set, runtime.handle())?;
    let identity = runs::identity(&plan);
    Ok(match all.into_iter().find(|(record, _)| record.state == identity) {
        Some((record, socket)) => Looked::Running(Found { runtime, record, socket }),
        None => Looked::Not(runtime, plan),
    })
}

/// The same for a command that needs a run.
///
/// # Errors
/// As before; also when it does not run.
pub(super) fn running(cli: &Cli<'_>, of: &SpecArguments) -> Result<Found, u8> {
    match look(cli, of)? {
        Looked::Running(found) => Ok(found),
        Looked::Not(_, plan) => {
            say_error(&format!("`{}` does not run on this machine\n", plan.pipeline));
            Err(NOT_RUNNING)
        }
    }
}

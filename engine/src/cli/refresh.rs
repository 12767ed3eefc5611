//! `refresh`: what was computed is cleared, and computed again.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use clap::Args;

use super::http::HttpArguments;
use super::run::{Show, go, listen};
use super::{Cli, FAILED, INTERRUPTED, SpecArguments, USAGE, say, say_error};
use crate::bridge::FaultCell;
use crate::checkpoint::{Records, Refresh, clear, look};
use crate::events;
use crate::plan::Plan;
use crate::runtime::{Owned, RunOptions, Stop, own};
use crate::stage::{Fault, StageError};
use crate::tables::Tables;

#[derive(Args)]
pub(super) struct RefreshArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Only this stage and those that depend on it; may be given again. Without it all stages.
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,
    /// Forget what was read as well: everything is listed anew, and read as it is now.
    #[arg(long, conflicts_with = "stage")]
    full: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Worker threads.
    #[arg(long, default_value_t = 1, value_name = "N", env = "ALLUVIUM_WORKERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
}

pub(super) fn refresh(cli: &Cli<'_>, arguments: &RefreshArguments) -> u8 {
    let workers = usize::from(arguments.workers);
    let runtime = match cli.runtime(workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let plan = match cli.compile(&arguments.spec.spec, &arguments.spec.set, runtime.handle()) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let refresh = match Refresh::of(&plan, &arguments.stage, arguments.full) {
        Ok(refresh) => refresh,
        Err(message) => {
            say_error(&format!("error: {message}\n"));
            return USAGE;
        }
    };
    let cleared = cli.tables().map_err(failed).and_then(|tables| {
        let refreshing = Refreshing { plan: &plan, tables, runtime: &runtime };
        match arguments.yes || std::io::stdin().is_terminal() {
            true => refreshing.clear(refresh, arguments.yes),
            false => refreshing.show(refresh),
        }
    });
    if let Err(code) = cleared {
        return code;
    }
    let stop = Stop::default();
    listen(&runtime, &stop);
    let options = RunOptions { workers, ..RunOptions::default() };
    // What stages had resolved may be gone, so the plan is made anew.
    let code = go(cli, &arguments.spec, &runtime, &options, &stop, Show::Text, &HttpArguments::default());
    // As after `run`.
    std::mem::forget(runtime);
    code
}

struct Refreshing<'a> {
    plan: &'a Arc<Plan>,
    tables: &'a dyn Tables,
    runtime: &'a tokio::runtime::Runtime,
}

impl Refreshing<'_> {
    /// Where nobody can be asked: says what would be done, and does nothing.
    fn show(&self, refresh: Refresh) -> Result<(), u8> {
        let looked = self.runtime.block_on(async {
            let records = Records::new(self.plan.storage.open(&self.plan.state)?);
            look(self.plan, self.tables, &records, refresh).await
        });
        let (_, text) = looked.map_err(failed)?;
        say(&text);
        say_error(
            "error: nothing was changed: there is no terminal to ask on\n  hint: `--yes` goes on without asking\n",
        );
        Err(USAGE)
    }

    /// As the only one who may write.
    fn clear(&self, refresh: Refresh, yes: bool) -> Result<(), u8> {
        let faults = FaultCell::default();
        let owned = self.runtime.block_on(own(self.plan, None, self.runtime.handle(), &faults));
        let owned = owned.map_err(|fault: Fault| failed(fault.error))?;
        let cleared = self.cleared(&owned, refresh, yes);
        self.runtime.block_on(owned.kept.release());
        cleared
    }

    fn cleared(&self, owned: &Owned, refresh: Refresh, yes: bool) -> Result<(), u8> {
        let looked = self.runtime.block_on(look(self.plan, self.tables, &owned.records, refresh));
        let (refresh, text) = looked.map_err(failed)?;
        say(&text);
        if !yes && !agreed() {
            say_error("nothing was changed\n");
            return Err(INTERRUPTED);
        }
        let cleared = async {
            clear(self.plan, self.tables, &owned.records, &owned.lease, &refresh).await?;
            events::note(self.tables, self.plan, &owned.instance, refresh.event()).await;
            Ok::<_, StageError>(())
        };
        self.runtime.block_on(cleared).map_err(|error| {
            say_error(&format!("error: {}\n  run `alluvium refresh` again to finish\n", error.text()));
            FAILED
        })
    }
}

fn agreed() -> bool {
    say_error("go on? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn failed(error: StageError) -> u8 {
    say_error(&format!("error: {}\n", error.text()));
    FAILED
}

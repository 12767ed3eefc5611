//! `ledger`: which objects were read, in which epoch.

use clap::Args;

use super::{Cli, FAILED, Format, SpecArguments, say_error, show_rows};
use crate::checkpoint;

#[derive(Args)]
pub(super) struct LedgerArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// How rows are shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn ledger(cli: &Cli<'_>, arguments: &LedgerArguments) -> u8 {
    let compiled = cli.runtime(1).and_then(|runtime| {
        let plan = cli.compile(&arguments.spec.spec, &arguments.spec.set, runtime.handle())?;
        Ok((runtime, plan))
    });
    let (runtime, plan) = match compiled {
        Ok(compiled) => compiled,
        Err(code) => return code,
    };
    match runtime.block_on(checkpoint::ledger(&plan)) {
        Ok(batches) => show_rows(&batches, arguments.format),
        Err(error) => {
            say_error(&format!("error: {}\n", error.text()));
            FAILED
        }
    }
}

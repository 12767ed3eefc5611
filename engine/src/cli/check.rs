//! `check`, `explain` and `graph`: a spec is compiled and shown, nothing is touched.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::{Cli, DONE, SpecArguments, say};
use crate::plan::{self, Plan};

#[derive(Args)]
pub(super) struct GraphArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Mermaid,
    Dot,
}

fn compiled(cli: &Cli<'_>, arguments: &SpecArguments, show: impl FnOnce(&Plan) -> String) -> u8 {
    let plan: Result<Arc<Plan>, u8> =
        cli.runtime(1).and_then(|runtime| cli.compile(&arguments.spec, &arguments.set, runtime.handle()));
    match plan {
        Ok(plan) => {
            say(&show(&plan));
            DONE
        }
        Err(code) => code,
    }
}

pub(super) fn check(cli: &Cli<'_>, arguments: &SpecArguments) -> u8 {
    compiled(cli, arguments, |plan| {
        let tables = plan.stages.iter().filter(|s| s.outputs.table.is_some()).count();
        format!("{}: ok, {} stages, {tables} tables (plan {})\n", plan.pipeline, plan.stages.len(), plan.hash)
    })
}

pub(super) fn explain(cli: &Cli<'_>, arguments: &SpecArguments) -> u8 {
    compiled(cli, arguments, plan::explain)
}

pub(super) fn graph(cli: &Cli<'_>, arguments: &GraphArguments) -> u8 {
    compiled(cli, &arguments.spec, |plan| match arguments.format {
        Format::Mermaid => plan::mermaid(plan),
        Format::Dot => plan::dot(plan),
    })
}

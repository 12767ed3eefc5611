//! `check`, `explain` and `graph`: a spec is compiled and shown, nothing is touched.

use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::{Cli, DONE, FAILED, SpecArguments, say, say_error};
use crate::checkpoint;
use crate::plan::{self, Plan};

#[derive(Args)]
pub(super) struct ExplainArguments {
    #[command(flatten)]
    spec: SpecArguments,
    /// Also tell which stages would keep, rebuild or drop their state, if a run of this spec went on from this state of an
    /// earlier one (the URL in its `state:`).
    #[arg(long, value_name = "STATE")]
    against: Option<String>,
}

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

pub(super) fn explain(cli: &Cli<'_>, arguments: &ExplainArguments) -> u8 {
    let Some(state) = &arguments.against else { return compiled(cli, &arguments.spec, plan::explain) };
    let compared = cli.runtime(1).and_then(|runtime| {
        let plan = cli.compile(&arguments.spec.spec, &arguments.spec.set, runtime.handle())?;
        Ok((runtime.block_on(checkpoint::compare(&plan, state)), plan))
    });
    match compared {
        Ok((Ok(told), plan)) => {
            say(&plan::explain(&plan));
            say(&told);
            DONE
        }
        Ok((Err(error), _)) => {
            say_error(&format!("error: {}\n", error.text()));
            FAILED
        }
        Err(code) => code,
    }
}

pub(super) fn graph(cli: &Cli<'_>, arguments: &GraphArguments) -> u8 {
    compiled(cli, &arguments.spec, |plan| match arguments.format {
        Format::Mermaid => plan::mermaid(plan),
        Format::Dot => plan::dot(plan),
    })
}

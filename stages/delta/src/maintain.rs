//! `alluvium table optimize|checkpoint|vacuum`: upkeep of a pipeline's tables by hand, also while it runs.

use std::path::PathBuf;
use std::time::Duration;

use alluvium_engine::cli::{Cli, Command, DONE, FAILED, USAGE, say, say_error};
use alluvium_engine::plan::Plan;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use deltalake::{DeltaTable, DeltaTableError};

use crate::config::Delta;
use crate::file::TARGET_BYTES;
use crate::place::Place;
use crate::upkeep;

/// The command.
pub struct TableCommand;

/// Upkeep of tables, also while the pipeline runs.
#[derive(Args)]
struct TableArguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Merge small files.
    Optimize(Which),
    /// Write a checkpoint of the log, so that opening the table reads less.
    Checkpoint(Which),
    /// Delete files that no version has named for long.
    Vacuum(VacuumArguments),
}

#[derive(Args)]
struct Which {
    /// The pipeline spec, a YAML file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// The stages that write the tables; without them all.
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// Set a variable of the spec; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = crate::query::assignment)]
    set: Vec<(String, String)>,
}

#[derive(Args)]
struct VacuumArguments {
    #[command(flatten)]
    which: Which,
    /// Keep what a version has named within this time; one day at least.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = age)]
    keep: Duration,
    /// Only show what would be deleted.
    #[arg(long)]
    dry_run: bool,
}

fn age(text: &str) -> Result<Duration, String> {
    let age = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if age < upkeep::LEAST_AGE {
        return Err("what is younger than a day may still be needed by a commit to come; write `1d` or more".into());
    }
    Ok(age)
}

impl Command for TableCommand {
    fn describe(&self) -> clap::Command {
        TableArguments::augment_args(clap::Command::new("table"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let verb = match TableArguments::from_arg_matches(arguments) {
            Ok(arguments) => arguments.command,
            Err(error) => {
                let _ = error.print();
                return USAGE;
            }
        };
        let which = verb.which();
        let compiled = cli.runtime(2).and_then(|runtime| {
            let plan = cli.compile(&which.spec, &which.set, runtime.handle())?;
            Ok((runtime, plan))
        });
        let (runtime, plan) = match compiled {
            Ok(compiled) => compiled,
            Err(code) => return code,
        };
        let tables = match tables(&plan, &which.stages) {
            Ok(tables) => tables,
            Err(message) => {
                say_error(&format!("error: {message}\n"));
                return USAGE;
            }
        };
        let mut code = DONE;
        for (stage, place) in tables {
            match runtime.block_on(verb.apply(&place)) {
                Ok(done) => say(&format!("{stage}: {done}\n")),
                Err(message) => {
                    say_error(&format!("error: {stage}: {message}\n"));
                    code = FAILED;
                }
            }
        }
        code
    }
}

impl Verb {
    fn which(&self) -> &Which {
        match self {
            Self::Optimize(which) | Self::Checkpoint(which) => which,
            Self::Vacuum(arguments) => &arguments.which,
        }
    }

    async fn apply(&self, place: &Place) -> Result<String, String> {
        let Some(table) = place.load().await.map_err(|e| e.text())? else { return Ok("not written yet".into()) };
        self.work(table).await.map_err(|e| e.to_string())
    }

    async fn work(&self, table: DeltaTable) -> Result<String, DeltaTableError> {
        let files = |count: usize| format!("{count} file{}", if count == 1 { "" } else { "s" });
        Ok(match self {
            Self::Optimize(_) => format!("{} merged", files(upkeep::optimize(table, TARGET_BYTES).await?)),
            Self::Checkpoint(_) => {
                let version = table.snapshot()?.version();
                upkeep::checkpoint(table).await?;
                format!("checkpoint of version {version} written")
            }
            Self::Vacuum(arguments) => {
                let gone = upkeep::vacuum(table, arguments.keep, arguments.dry_run).await?;
                let verb = if arguments.dry_run { "would be deleted" } else { "deleted" };
                let list: String =
                    if arguments.dry_run { gone.iter().map(|f| format!("\n  {f}")).collect() } else { String::new() };
                format!("{} {verb}{list}", files(gone.len()))
            }
        })
    }
}

/// The tables of these stages, or all.
fn tables(plan: &Plan, stages: &[String]) -> Result<Vec<(String, Place)>, String> {
    let all = plan.stages.iter().filter_map(|s| Some((s.name.clone(), s.settings.get::<Delta>()?)));
    let all: Vec<_> = all.collect();
    let known = |name: &&String| !all.iter().any(|(stage, _)| stage == *name);
    if let Some(unknown) = stages.iter().find(known) {
        let names: Vec<&str> = all.iter().map(|(stage, _)| stage.as_str()).collect();
        return Err(format!("no stage `{unknown}` writes a table; there are: {}", names.join(", ")));
    }
    let wanted = all.into_iter().filter(|(stage, _)| stages.is_empty() || stages.contains(stage));
    wanted.map(|(stage, config)| Ok((stage, Place::new(&config.table, &plan.storage).map_err(|e| e.text())?))).collect()
}

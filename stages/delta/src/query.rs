//! `alluvium query SPEC SQL`: the pipeline's tables by their stage names.

use std::path::PathBuf;
use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::cli::{Cli, Command, FAILED, Format, say_error, show_rows};
use alluvium_engine::plan::Plan;
use clap::{ArgMatches, Args, FromArgMatches};
use deltalake::datafusion::error::DataFusionError;

use crate::tables::{Opened, collect};

/// The command.
pub struct QueryCommand;

/// Query the pipeline's tables by their stage names, with SQL (DataFusion).
///
/// `alluvium.ledger` is the table of the objects that were read, `alluvium.events` that of what happened.
#[derive(Args)]
struct QueryArguments {
    /// The pipeline spec, a YAML file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// For example "select sentiment, count(*) from gold group by 1".
    #[arg(value_name = "SQL")]
    sql: String,
    /// All tables as of this epoch instead of the newest that is complete.
    #[arg(long, value_name = "N")]
    epoch: Option<Epoch>,
    /// How rows are shown.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Set a variable of the spec; wins over the environment.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| "expected KEY=VALUE".to_owned())
}

impl Command for QueryCommand {
    fn describe(&self) -> clap::Command {
        QueryArguments::augment_args(clap::Command::new("query"))
    }

    fn run(&self, cli: &Cli<'_>, arguments: &ArgMatches) -> u8 {
        let arguments = match QueryArguments::from_arg_matches(arguments) {
            Ok(arguments) => arguments,
            Err(error) => {
                let _ = error.print();
                return alluvium_engine::cli::USAGE;
            }
        };
        let compiled = cli.runtime(2).and_then(|runtime| {
            let plan = cli.compile(&arguments.spec, &arguments.set, runtime.handle())?;
            Ok((runtime, plan))
        });
        let (runtime, plan) = match compiled {
            Ok(compiled) => compiled,
            Err(code) => return code,
        };
        match runtime.block_on(answer(&plan, &arguments.sql, arguments.epoch)) {
            Ok(rows) => show_rows(&rows, arguments.format),
            Err(message) => {
                say_error(&format!("error: {message}\n"));
                FAILED
            }
        }
    }
}

/// Whether an object that was to be read was not found. Readers give the store's error as text only.
fn is_gone(error: &DataFusionError) -> bool {
    let text = error.to_string();
    text.contains("Object at location") && text.contains(" not found")
}

async fn answer(plan: &Arc<Plan>, sql: &str, epoch: Option<Epoch>) -> Result<Vec<RecordBatch>, String> {
    let tables = Opened::new(plan, epoch).await.map_err(|e| e.text())?;
    tables.prepare(sql).await?;
    let rows = async { collect(tables.context.sql(sql).await?).await };
    rows.await.map_err(|e| match epoch.filter(|_| is_gone(&e)) {
        Some(epoch) => format!(
            "a file of a table as of epoch {epoch} is not there any more\n  cause: {}\n  hint: was the table vacuumed? \
             Ask for a later epoch",
            tables.wrong(&e)
        ),
        None => tables.wrong(&e),
    })
}

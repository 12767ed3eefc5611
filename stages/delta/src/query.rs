//! `alluvium query SPEC SQL`: the pipeline's tables by their stage names.

use std::path::PathBuf;
use std::sync::Arc;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::checkpoint;
use alluvium_engine::cli::{Cli, Command, FAILED, Format, say_error, show_rows};
use alluvium_engine::plan::Plan;
use clap::{ArgMatches, Args, FromArgMatches};
use deltalake::datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};

use crate::config::Delta;
use crate::place::Place;

/// The table of the objects that were read.
const LEDGER: &str = "alluvium.ledger";

/// The command.
pub struct QueryCommand;

/// Query the pipeline's tables by their stage names, with SQL (DataFusion).
///
/// `alluvium.ledger` is the table of the objects that were read.
#[derive(Args)]
struct QueryArguments {
    /// The pipeline spec, a YAML file.
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// For example "select sentiment, count(*) from gold group by 1".
    #[arg(value_name = "SQL")]
    sql: String,
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
        match runtime.block_on(answer(&plan, &arguments.sql)) {
            Ok(rows) => show_rows(&rows, arguments.format),
            Err(message) => {
                say_error(&format!("error: {message}\n"));
                FAILED
            }
        }
    }
}

async fn answer(plan: &Arc<Plan>, sql: &str) -> Result<Vec<RecordBatch>, String> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    let mut missing = Vec::new();
    for stage in &plan.stages {
        let Some(config) = stage.settings.get::<Delta>() else { continue };
        let place = Place::new(&config.table, &plan.storage).map_err(|e| e.to_string())?;
        match place.load().await.map_err(|e| describe(&e))? {
            None => missing.push(format!("`{}`", stage.name)),
            Some(table) => {
                let provider = table.table_provider().await.map_err(|e| e.to_string())?;
                context.register_table(stage.name.as_str(), provider).map_err(|e| e.to_string())?;
            }
        }
    }
    if sql.to_ascii_lowercase().contains(LEDGER) {
        ledger(&context, plan).await?;
    }
    let rows = async {
        let frame = context.sql(sql).await?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let mut rows = frame.collect().await?;
        if rows.is_empty() {
            // So that an answer without rows still has its columns.
            rows.push(RecordBatch::new_empty(schema));
        }
        Ok(rows)
    };
    rows.await.map_err(|e: DataFusionError| {
        let hint = if missing.is_empty() {
            String::new()
        } else {
            format!("\n  not written yet: {}; `alluvium run` writes them", missing.join(", "))
        };
        format!("{}{hint}", first(&e))
    })
}

/// Which objects were read, as a table.
async fn ledger(context: &SessionContext, plan: &Plan) -> Result<(), String> {
    let rows = checkpoint::ledger(plan).await.map_err(|e| e.text())?;
    let register = || {
        let table = MemTable::try_new(checkpoint::ledger_schema(), vec![rows])?;
        let schema = MemorySchemaProvider::new();
        schema.register_table("ledger".into(), Arc::new(table))?;
        if let Some(catalog) = context.catalog("datafusion") {
            catalog.register_schema("alluvium", Arc::new(schema))?;
        }
        Ok(())
    };
    register().map_err(|e: DataFusionError| e.to_string())
}

fn describe(error: &alluvium_engine::stage::StageError) -> String {
    let cause = std::error::Error::source(error).map(|c| format!(": {c}")).unwrap_or_default();
    format!("{error}{cause}")
}

/// What is wrong, without DataFusion's wrapping.
fn first(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::SQL(error, _) => {
            let text = error.to_string();
            format!("not valid SQL: {}", text.trim_start_matches("sql parser error: "))
        }
        DataFusionError::SchemaError(error, _) => error.to_string(),
        other => {
            let text = other.strip_backtrace();
            text.trim_start_matches("Error during planning: ").replace("datafusion.public.", "")
        }
    }
}

//! The tables of a plan, opened as of one epoch and read with SQL.

use std::collections::BTreeSet;
use std::sync::Arc;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::arrow::record_batch::RecordBatch;
use alluvium_engine::checkpoint::{self, Completed};
use alluvium_engine::plan::Plan;
use alluvium_engine::spec::{Problem, in_words};
use alluvium_engine::stage::StageError;
use alluvium_engine::storage::Storage;
use alluvium_engine::tables::{Snapshot, Table, TableVersion, Tables};
use alluvium_engine::{Epoch, async_trait};
use deltalake::datafusion::catalog::MemTable;
use deltalake::datafusion::common::SchemaError;
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::execution::context::SQLOptions;
use deltalake::datafusion::prelude::{DataFrame, SessionConfig, SessionContext};

use crate::config::Delta;
use crate::epochs::{self, AsOf};
use crate::one_table::OneTable;
use crate::place::Place;
use crate::system::{self, SystemTables};

/// Reads Delta tables with DataFusion.
pub struct DeltaTables;

#[async_trait]
impl Tables for DeltaTables {
    async fn plan(&self, tables: &[(String, SchemaRef)], query: &str) -> Result<SchemaRef, Problem> {
        let context = session();
        let register = || {
            for (name, schema) in tables {
                context.register_table(name.as_str(), Arc::new(MemTable::try_new(schema.clone(), vec![vec![]])?))?;
            }
            system::register(&context)
        };
        register().map_err(|e| Problem::new(words(&e)))?;
        let frame = select(&context, query).await.map_err(|e| refused(&e))?;
        Ok(Arc::new(frame.schema().as_arrow().clone()))
    }

    async fn open(&self, plan: &Arc<Plan>) -> Result<Box<dyn Snapshot>, StageError> {
        Ok(Box::new(Opened::new(plan, None).await?))
    }

    fn table(&self, storage: &Storage, url: &str) -> Result<Box<dyn Table>, StageError> {
        Ok(Box::new(OneTable::new(Place::new(url, storage)?)))
    }
}

/// All tables of a plan as of one epoch.
pub(crate) struct Opened {
    pub(crate) context: SessionContext,
    plan: Arc<Plan>,
    epoch: Option<Completed>,
    tables: Vec<TableVersion>,
    system: SystemTables,
}

impl Opened {
    /// Opens them as of an epoch that is complete; without one as of the newest, and while none is, each as it is.
    pub(crate) async fn new(plan: &Arc<Plan>, asked: Option<Epoch>) -> Result<Self, StageError> {
        let epoch = checkpoint::completed(plan).await?;
        if let Some(asked) = asked {
            require_complete(asked, epoch.as_ref())?;
        }
        let wanted = asked.or(epoch.as_ref().map(|c| c.epoch));
        // The table that goes back least, and how far that is.
        let mut lost: Option<(Epoch, String)> = None;
        let context = session();
        system::register(&context).map_err(|e| StageError::internal("tables cannot be queried").because(e))?;
        let mut tables = Vec::new();
        for stage in &plan.stages {
            let Some(config) = stage.settings.get::<Delta>() else { continue };
            let place = Place::new(&config.table, &plan.storage)?;
            let app = format!("{}/{}", plan.pipeline, stage.name);
            let table = match epochs::as_of(&place, &app, wanted).await? {
                AsOf::Table(table) => Some(*table),
                AsOf::Nothing => None,
                AsOf::From(first) => {
                    if lost.as_ref().is_none_or(|(l, _)| *l < first) {
                        lost = Some((first, stage.name.clone()));
                    }
                    continue;
                }
            };
            let mut version = None;
            if let Some(table) = table {
                version = Some(table.snapshot().map_err(|e| place.failed("read", e))?.version());
                let provider = table.table_provider().await;
                let provider = provider.map_err(|e| StageError::external("a table cannot be read").because(e))?;
                let registered = context.register_table(stage.name.as_str(), provider);
                registered.map_err(|e| StageError::internal("a table cannot be queried").because(e))?;
            }
            tables.push(TableVersion { stage: stage.name.clone(), version });
        }
        if let (Some((first, stage)), Some(wanted)) = (lost, wanted) {
            let message = format!("the log of table `{stage}` does not reach back to epoch {wanted}");
            return Err(StageError::user(message).hint(format!("ask for epoch {first} or a later one")));
        }
        Ok(Self { context, plan: plan.clone(), epoch, tables, system: SystemTables::default() })
    }

    /// Loads what the query needs besides the tables of stages.
    pub(crate) async fn prepare(&self, query: &str) -> Result<(), String> {
        self.system.prepare(&self.context, &self.plan, query).await
    }

    /// What is wrong with a query, and which tables it may have missed.
    pub(crate) fn wrong(&self, error: &DataFusionError) -> String {
        let missing = self.tables.iter().filter(|t| t.version.is_none()).map(|t| format!("`{}`", t.stage));
        let missing: Vec<String> = missing.collect();
        let hint = match missing.is_empty() {
            true => String::new(),
            false => format!("\n  not written yet: {}; `alluvium run` writes them", missing.join(", ")),
        };
        format!("{}{hint}", words(error))
    }
}

#[async_trait]
impl Snapshot for Opened {
    fn epoch(&self) -> Option<&Completed> {
        self.epoch.as_ref()
    }

    fn tables(&self) -> &[TableVersion] {
        &self.tables
    }

    async fn query(&self, query: &str, limit: Option<usize>) -> Result<Vec<RecordBatch>, String> {
        self.prepare(query).await?;
        let rows = async {
            let frame = select(&self.context, query).await?;
            collect(if limit.is_some() { frame.limit(0, limit)? } else { frame }).await
        };
        rows.await.map_err(|e| self.wrong(&e))
    }
}

/// All rows; without any an empty batch, so that the answer still has its columns.
pub(crate) async fn collect(frame: DataFrame) -> Result<Vec<RecordBatch>, DataFusionError> {
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    let mut rows = frame.collect().await?;
    if rows.is_empty() {
        rows.push(RecordBatch::new_empty(schema));
    }
    Ok(rows)
}

fn require_complete(asked: Epoch, newest: Option<&Completed>) -> Result<(), StageError> {
    let newest = newest.map_or(0, |c| c.epoch);
    if (1..=newest).contains(&asked) {
        return Ok(());
    }
    let complete = match newest {
        0 => "no epoch is complete yet; `alluvium run` completes them".to_owned(),
        n => format!("complete are 1 to {n}; `alluvium history` lists them"),
    };
    Err(StageError::user(format!("epoch {asked} is not complete")).hint(complete))
}

pub(crate) fn session() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_information_schema(true))
}

/// A query, and nothing that changes or writes anything.
pub(crate) async fn select(context: &SessionContext, query: &str) -> Result<DataFrame, DataFusionError> {
    let only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    context.sql_with_options(query, only).await
}

/// What is wrong, without DataFusion's wrapping.
pub(crate) fn words(error: &DataFusionError) -> String {
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

/// The same for a spec, with the word that it is about.
fn refused(error: &DataFusionError) -> Problem {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let known: BTreeSet<&str> = valid_fields.iter().map(|c| c.name()).collect();
        let name = field.name();
        let problem = Problem::new(format!("there is no column `{name}`")).within(name).label("no such column");
        return problem.suggest(name, known, "columns");
    }
    let text = in_words(&words(error));
    let help = "a panel shows the rows of one SELECT, as DataFusion understands it";
    if let Some(table) = text.strip_prefix("table '").and_then(|t| t.strip_suffix("' not found")) {
        let problem = Problem::new(format!("there is no table `{table}`")).within(table).label("no such table");
        return problem.help(
            "the tables are those that stages of this pipeline write, by the stages' names, `alluvium.ledger` and \
             `alluvium.events`",
        );
    }
    if ["DDL", "DML", "Statement"].iter().any(|what| text.starts_with(&format!("{what} not supported"))) {
        return Problem::new("a panel reads, and changes nothing").label("here").help(help);
    }
    // The place is that within the query, and the query is shown.
    let text = text.split_once(" at Line: ").map_or(text.as_str(), |(text, _)| text);
    let problem = Problem::new(text).label("here").help(help);
    match text.split_once("found: ") {
        Some((_, word)) if word != "EOF" && word.starts_with(char::is_alphanumeric) => problem.within(word),
        _ => problem,
    }
}

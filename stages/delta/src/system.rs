//! Tables that every pipeline has, in the schema `alluvium`.

use std::collections::BTreeSet;
use std::sync::Arc;

use alluvium_engine::arrow::datatypes::SchemaRef;
use alluvium_engine::plan::Plan;
use alluvium_engine::stage::StageError;
use alluvium_engine::{checkpoint, events};
use deltalake::datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider, TableProvider};
use deltalake::datafusion::error::DataFusionError;
use deltalake::datafusion::prelude::SessionContext;
use tokio::sync::OnceCell;

use crate::place::Place;

const SCHEMA: &str = "alluvium";

/// The tables, by name; loaded when a query speaks of them.
#[derive(Default)]
pub(crate) struct SystemTables {
    /// Which objects were read.
    ledger: OnceCell<()>,
    /// What happened.
    events: OnceCell<()>,
}

/// Registers them without rows.
pub(crate) fn register(context: &SessionContext) -> Result<(), DataFusionError> {
    let schema = MemorySchemaProvider::new();
    for (name, columns) in [("ledger", checkpoint::ledger_schema()), ("events", events::schema())] {
        schema.register_table(name.into(), empty(columns)?)?;
    }
    if let Some(catalog) = context.catalog("datafusion") {
        catalog.register_schema(SCHEMA, Arc::new(schema))?;
    }
    Ok(())
}

fn empty(columns: SchemaRef) -> Result<Arc<MemTable>, DataFusionError> {
    Ok(Arc::new(MemTable::try_new(columns, vec![vec![]])?))
}

impl SystemTables {
    /// Loads those that the query speaks of.
    pub(crate) async fn prepare(&self, context: &SessionContext, plan: &Plan, query: &str) -> Result<(), String> {
        let spoken = spoken_of(context, query);
        if spoken.contains("ledger") {
            let load = async || {
                let rows = checkpoint::ledger(plan).await?;
                let table = MemTable::try_new(checkpoint::ledger_schema(), vec![rows]);
                replace(context, "ledger", Arc::new(table.map_err(unreadable)?)).map_err(unreadable)
            };
            self.ledger.get_or_try_init(load).await.map_err(|e| e.text())?;
        }
        if spoken.contains("events") {
            let load = async || {
                let place = Place::new(&events::url(plan), &plan.storage)?;
                let Some(table) = place.load().await? else { return Ok(()) };
                let table = table.table_provider().await;
                replace(context, "events", table.map_err(unreadable)?).map_err(unreadable)
            };
            self.events.get_or_try_init(load).await.map_err(|e: StageError| e.text())?;
        }
        Ok(())
    }
}

/// Names of these tables that a query speaks of, however they are written.
fn spoken_of(context: &SessionContext, query: &str) -> BTreeSet<String> {
    let state = context.state();
    let parsed = state.sql_to_statement(query, &state.config_options().sql_parser.dialect);
    let tables = parsed.and_then(|statement| state.resolve_table_references(&statement));
    // What is wrong with a query is said when it is planned.
    let ours = tables.into_iter().flatten().filter(|table| table.schema() == Some(SCHEMA));
    ours.map(|table| table.table().to_owned()).collect()
}

fn unreadable(error: DataFusionError) -> StageError {
    StageError::external("a table of the pipeline's state cannot be read").because(error)
}

fn replace(context: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<(), DataFusionError> {
    let Some(schema) = context.catalog("datafusion").and_then(|catalog| catalog.schema(SCHEMA)) else { return Ok(()) };
    schema.deregister_table(name)?;
    schema.register_table(name.into(), table).map(drop)
}

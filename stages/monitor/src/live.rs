//! What the tables of a run say while it goes on.

use std::sync::Arc;

use alluvium_engine::arrow::array::RecordBatch;
use alluvium_engine::arrow::util::display::{ArrayFormatter, FormatOptions};
use alluvium_engine::monitor::{PanelHtml, Reporter};
use alluvium_engine::plan::Plan;
use alluvium_engine::runtime::RunHandle;
use alluvium_engine::tables::Tables;
use serde::Serialize;
use tokio::sync::Mutex;

/// Reads tables for the page. What takes work is kept until an epoch completes.
pub(crate) struct Live {
    tables: Option<Arc<dyn Tables>>,
    reporter: Option<Arc<dyn Reporter>>,
    report: Mutex<Option<(u64, Vec<PanelHtml>)>>,
}

/// Rows as text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cells {
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Cells {
    /// Rows of an epoch.
    pub(crate) fn at(self, epoch: u64) -> Self {
        Self { epoch: Some(epoch), ..self }
    }
}

#[derive(Serialize)]
pub(crate) struct Rejects {
    tables: Vec<Cells>,
}

impl Live {
    pub(crate) fn new(tables: Option<Arc<dyn Tables>>, reporter: Option<Arc<dyn Reporter>>) -> Self {
        Self { tables, reporter, report: Mutex::default() }
    }

    /// The newest rows of the tables that take rejects.
    pub(crate) async fn rejects(&self, run: &RunHandle, limit: usize) -> Result<Rejects, String> {
        let (plan, Some(tables)) = (run.plan(), &self.tables) else { return Ok(Rejects { tables: Vec::new() }) };
        let taking = quarantines(&plan);
        if taking.is_empty() {
            return Ok(Rejects { tables: Vec::new() });
        }
        let snapshot = tables.open(&plan).await.map_err(|e| e.text())?;
        let written = |stage: &str| snapshot.tables().iter().any(|t| t.stage == stage && t.version.is_some());
        let mut found = Vec::new();
        for stage in taking.into_iter().filter(|stage| written(stage)) {
            let query = format!("SELECT * FROM \"{}\" ORDER BY epoch DESC", stage.replace('"', "\"\""));
            let mut cells = Cells { stage: Some(stage), epoch: None, columns: Vec::new(), rows: Vec::new() };
            for batch in snapshot.query(&query, Some(limit)).await? {
                let more = self::cells(&batch)?;
                cells.columns = more.columns;
                cells.rows.extend(more.rows);
            }
            found.push(cells);
        }
        Ok(Rejects { tables: found })
    }

    /// The style sheet of the report's panels.
    pub(crate) fn style(&self) -> String {
        self.reporter.as_ref().map(|r| r.style()).unwrap_or_default()
    }

    /// The report's panels as of the newest complete epoch.
    pub(crate) async fn report(&self, run: &RunHandle) -> Result<Vec<PanelHtml>, String> {
        let (Some(tables), Some(reporter)) = (&self.tables, &self.reporter) else { return Ok(Vec::new()) };
        let completed = run.status().epochs.completed;
        // One at a time: many pages cost as much as one.
        let mut kept = self.report.lock().await;
        if let Some((_, pieces)) = kept.as_ref().filter(|(epoch, _)| *epoch == completed) {
            return Ok(pieces.clone());
        }
        let pieces = reporter.panels(&run.plan(), tables.as_ref()).await?;
        *kept = Some((completed, pieces.clone()));
        Ok(pieces)
    }
}

/// Sinks that take what another stage rejects.
fn quarantines(plan: &Plan) -> Vec<String> {
    let sinks = plan.stages.iter().filter(|s| s.outputs.table.is_some() && s.edges.iter().any(|e| e.rejects));
    sinks.map(|s| s.name.clone()).collect()
}

/// Rows as text; NULL stays NULL.
pub(crate) fn cells(batch: &RecordBatch) -> Result<Cells, String> {
    let options = FormatOptions::new();
    let formatters: Result<Vec<_>, _> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options)).collect();
    let formatters = formatters.map_err(|e| e.to_string())?;
    let text = |row: usize, column: usize| {
        let known = !batch.column(column).is_null(row);
        known.then(|| alluvium_engine::secret::redact(&formatters[column].value(row).to_string()))
    };
    let rows = (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|c| text(row, c)).collect());
    let columns = batch.schema().fields().iter().map(|f| f.name().clone()).collect();
    Ok(Cells { stage: None, epoch: None, columns, rows: rows.collect() })
}

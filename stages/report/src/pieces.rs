//! The report's panels one by one, for a page that shows more than them.

use std::sync::Arc;

use alluvium_engine::async_trait;
use alluvium_engine::monitor::{PanelHtml, Reporter};
use alluvium_engine::plan::Plan;
use alluvium_engine::secret;
use alluvium_engine::tables::Tables;

use crate::{defaults, load, page, palette};

/// Shows the panels of a spec's `report`, or those that the tables suggest.
pub struct Panels;

#[async_trait]
impl Reporter for Panels {
    async fn panels(&self, plan: &Arc<Plan>, tables: &dyn Tables) -> Result<Vec<PanelHtml>, String> {
        let snapshot = tables.open(plan).await.map_err(|e| e.text())?;
        if snapshot.epoch().is_none() {
            return Ok(Vec::new());
        }
        let report = match &plan.report {
            Some(report) => report.clone(),
            None => defaults::report(plan, snapshot.as_ref()).await?,
        };
        let mut panels = Vec::new();
        for (name, panel) in &report.panels {
            let shown = load::load(name, panel, snapshot.as_ref()).await?;
            let parts = page::parts(&shown)?;
            let redacted = |text: Option<String>| text.map(|t| secret::redact(&t));
            panels.push(PanelHtml {
                title: secret::redact(&shown.title),
                svg: redacted(parts.wide),
                narrow: redacted(parts.narrow),
                html: redacted(parts.html),
                note: redacted(shown.note),
            });
        }
        Ok(panels)
    }

    fn style(&self) -> String {
        palette::of_page()
    }
}

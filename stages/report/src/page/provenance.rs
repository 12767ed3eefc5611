//! Where what is shown comes from: epoch, versions of tables, models.

use std::collections::BTreeMap;

use alluvium_engine::plan::Plan;
use alluvium_engine::secret;
use alluvium_engine::tables::Snapshot;

use super::escape;
use crate::format::number;

/// What can be said of where the rows come from.
pub(crate) struct Provenance {
    pipeline: String,
    plan: String,
    epoch: u64,
    finished: String,
    /// Stage, version, guarantee, URL.
    tables: Vec<[String; 4]>,
    /// Facts about the data, such as a model's identity.
    lineage: BTreeMap<String, String>,
}

impl Provenance {
    /// Of tables as they were opened; nothing while no epoch is complete.
    pub(crate) fn new(plan: &Plan, tables: &dyn Snapshot) -> Option<Self> {
        let epoch = tables.epoch()?;
        let row = |t: &alluvium_engine::tables::TableVersion| {
            let table = plan.stage(&t.stage).and_then(|s| s.outputs.table.as_ref());
            let version = t.version.map_or_else(|| "not written yet".to_owned(), |v| number(v as f64));
            let (guarantee, url) = table.map(|t| (t.guarantee.clone(), secret::public_url(&t.url))).unwrap_or_default();
            [t.stage.clone(), version, guarantee, url]
        };
        Some(Self {
            pipeline: plan.pipeline.clone(),
            plan: plan.hash.clone(),
            epoch: epoch.epoch,
            finished: epoch.finished.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            tables: tables.tables().iter().map(row).collect(),
            lineage: plan.stages.iter().flat_map(|s| s.outputs.lineage.clone()).collect(),
        })
    }

    /// One line.
    pub(crate) fn as_of(&self) -> String {
        format!("Pipeline {} · epoch {}, complete {}", self.pipeline, number(self.epoch as f64), self.finished)
    }

    pub(super) fn html(&self) -> String {
        let rows = self.tables.iter().map(|[stage, version, guarantee, url]| {
            format!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>\n",
                escape(stage),
                escape(version),
                escape(guarantee),
                escape(url)
            )
        });
        let rows: String = rows.collect();
        let mut facts =
            vec![("Epoch".to_owned(), format!("{}, complete {}", number(self.epoch as f64), self.finished))];
        facts.push(("Plan".to_owned(), self.plan.clone()));
        facts.extend(self.lineage.clone());
        let facts: String = facts
            .iter()
            .map(|(name, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value)))
            .collect();
        format!(
            "<footer id=\"provenance\">\n<h2>Where this comes from</h2>\n<p>All that is shown is as of one epoch: these \
             versions of the tables.</p>\n<dl>\n{facts}</dl>\n<div class=\"rows\">\n<table>\n<thead><tr><th scope=\"col\">Table</th>\
             <th scope=\"col\" class=\"n\">Version</th><th scope=\"col\">Guarantee</th><th scope=\"col\">Place</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n</div>\n</footer>\n"
        )
    }
}

//! A spec resolved into plain data: stages in order, schemas on every edge, routes. Every command compiles through
//! here, so they cannot disagree.

mod compile;
mod draw;
mod explain;
mod hash;
mod keys;
mod order;
mod rejects;
mod report;
mod whole;

pub use compile::compile;
pub(crate) use compile::{Attempt, attempt};
pub use draw::{dot, mermaid};
pub(crate) use explain::columns;
pub use explain::explain;
pub(crate) use rejects::{batch as reject_batch, schema as reject_schema};

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use timely::WorkerConfig;

use crate::registry::StageSettings;
use crate::spec::{EpochLimits, Report};
use crate::stage::{Input, Outputs, Role, Route, Shared, Source, Stage, StageContext, StageError};
use crate::storage::Storage;

/// A pipeline that can run.
pub struct Plan {
    /// The pipeline's name.
    pub pipeline: String,
    /// What it is for.
    pub description: Option<String>,
    /// URL of its state.
    pub state: String,
    /// How epochs are closed.
    pub limits: EpochLimits,
    /// Opens URLs with the spec's options.
    pub storage: Storage,
    /// Stages, inputs before those that read them.
    pub stages: Vec<PlannedStage>,
    /// Identifies the plan: a hash over everything above but secrets of the environment.
    pub hash: String,
    /// What is shown of the tables, if the spec says it. Not part of the hash.
    pub report: Option<Report>,
    /// What workers are told for the libraries of its stages. Not part of the hash.
    pub(crate) workers: WorkerConfig,
}

/// Sources by the names of their stages.
pub(crate) type Sources = Vec<(String, Arc<dyn Source>)>;

/// One stage of a plan.
pub struct PlannedStage {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its kind.
    pub kind: String,
    /// What it does with rows.
    pub role: Role,
    /// Its configuration.
    pub settings: StageSettings,
    /// Where its rows come from.
    pub edges: Vec<Edge>,
    /// What `check` was given: one input for each edge of an operator, one merged input otherwise.
    pub inputs: Vec<Input>,
    /// What `check` found.
    pub outputs: Outputs,
    /// Facts from upstream and of this stage, for commit metadata.
    pub lineage: BTreeMap<String, String>,
}

/// Rows flow from a stage to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Index of the stage that they come from.
    pub from: usize,
    /// They are the rows that it rejects.
    pub rejects: bool,
    /// How they reach the workers.
    pub route: Route,
}

impl Plan {
    /// The columns of an edge.
    pub fn edge_schema(&self, edge: &Edge) -> Option<SchemaRef> {
        let from = self.stages.get(edge.from)?;
        Some(if edge.rejects { reject_schema() } else { from.outputs.schema.clone() })
    }

    /// The columns of each table, by the stage that writes it.
    pub fn tables(&self) -> Vec<(String, SchemaRef)> {
        let tables =
            self.stages.iter().filter_map(|s| Some((s.name.clone(), s.outputs.table.as_ref()?.schema.clone())));
        tables.collect()
    }

    /// What a stage is built from where there is one worker.
    pub(crate) fn context(&self, stage: &PlannedStage) -> StageContext {
        StageContext {
            pipeline: self.pipeline.clone(),
            stage: stage.name.clone(),
            plan_hash: self.hash.clone(),
            worker: 0,
            workers: 1,
            inputs: stage.inputs.clone(),
            outputs: stage.outputs.clone(),
            lineage: stage.lineage.clone(),
            storage: self.storage.clone(),
            shared: Shared::default(),
        }
    }

    /// The sources, for whoever wants to list them.
    pub(crate) fn sources(&self) -> Result<Sources, StageError> {
        let mut sources = Vec::new();
        for stage in self.stages.iter().filter(|s| s.role == Role::Source) {
            if let Stage::Source(source) = stage.settings.0.build(&self.context(stage))? {
                sources.push((stage.name.clone(), source));
            }
        }
        Ok(sources)
    }

    /// The stage of this name.
    pub fn stage(&self, name: &str) -> Option<&PlannedStage> {
        self.stages.iter().find(|s| s.name == name)
    }
}

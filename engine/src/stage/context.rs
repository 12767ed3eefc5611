//! What the engine hands to a stage when it resolves and when it is built.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Input, Outputs, Resolved, StageError};
use crate::checkpoint;
use crate::spec::Problem;
use crate::storage::Storage;
use crate::tables::Tables;

/// For [`StageConfig::resolve`](super::StageConfig::resolve).
pub struct ResolveContext {
    /// Opens URLs.
    pub storage: Storage,
    /// Runs async code to its end; `resolve` is not called on a worker.
    pub runtime: tokio::runtime::Handle,
    /// The stage's name in the spec.
    pub stage: String,
    /// Reads tables, if the program brings something that can.
    pub tables: Option<Arc<dyn Tables>>,
    /// URL of the pipeline's state, if the spec has one.
    pub(crate) state: Option<String>,
}

impl ResolveContext {
    /// What an earlier run has recorded for this stage; nothing before the first run.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn recorded(&self) -> Result<Option<Resolved>, StageError> {
        let Some(state) = &self.state else { return Ok(None) };
        self.runtime.block_on(checkpoint::newest_resolved(&self.storage, state, &self.stage))
    }

    /// That a URL in a field of the configuration has a form that can be opened; whether something is there is not
    /// looked at.
    ///
    /// # Errors
    /// A problem of that field: an unknown scheme, a missing option.
    pub fn openable(&self, field: &str, url: &str) -> Result<(), Vec<Problem>> {
        let Err(error) = self.storage.open(url) else { return Ok(()) };
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Err(vec![Problem::field(field, format!("{error}{cause}")).label("cannot be opened").help(
            "known are local paths and URLs such as s3://bucket/folder; options come from `storage:` and from AWS_… \
             variables",
        )])
    }
}

/// For [`StageConfig::build`](super::StageConfig::build).
pub struct StageContext {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stage's name in the spec.
    pub stage: String,
    /// Identifies the plan: the same for the same spec, wherever and with however many workers it runs.
    pub plan_hash: String,
    /// This worker, from 0, counted over the whole cluster.
    pub worker: usize,
    /// Workers in the whole cluster.
    pub workers: usize,
    /// What `check` was given.
    pub inputs: Vec<Input>,
    /// What `check` found.
    pub outputs: Outputs,
    /// Facts about the data from upstream (a model's identity and the like), for commit metadata.
    pub lineage: BTreeMap<String, String>,
    /// Opens URLs.
    pub storage: Storage,
    /// Things shared by all workers of this process.
    pub shared: Shared,
}

/// By type and key.
type Things = BTreeMap<(TypeId, String), Arc<dyn Any + Send + Sync>>;

/// One instance per process of what is too large, or must not exist twice, to be made by each worker.
#[derive(Clone, Default)]
pub struct Shared {
    things: Arc<Mutex<Things>>,
}

impl Shared {
    /// The thing of this type under this key; made by the first worker that asks.
    ///
    /// # Errors
    /// What `make` returns; nothing is kept then.
    pub fn get<T: Send + Sync + 'static>(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        let mut map = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<T>(), key.to_owned());
        if let Some(found) = map.get(&key).and_then(|any| any.clone().downcast::<T>().ok()) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        map.insert(key, made.clone());
        Ok(made)
    }
}

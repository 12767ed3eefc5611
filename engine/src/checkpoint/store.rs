//! Reads and writes the records of epochs in an object store.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Binding, Completion, History};
use crate::Epoch;
use crate::failpoint;
use crate::stage::StageError;
use crate::storage::Location;

/// Tries for a record whose fate is unknown, with a pause that doubles from 100 ms.
const TRIES: u32 = 6;
/// Records read at once when a run starts.
const PARALLEL_READS: usize = 16;

/// The records of one pipeline.
#[derive(Debug, Clone)]
pub(crate) struct CheckpointStore {
    location: Location,
    instance: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pipeline {
    pipeline: String,
    format: u32,
}

const FORMAT: u32 = 1;

enum Created {
    Ours,
    Theirs(Bytes),
}

impl CheckpointStore {
    pub(crate) fn new(location: Location, instance: String) -> Self {
        Self { location, instance }
    }

    /// Identifies this run in its records.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The state's place, for messages.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.location.root, self.location.path)
    }

    /// Claims the state for the pipeline, or makes sure that it is the pipeline's, and reads what is there.
    pub(crate) async fn open(&self, pipeline: &str) -> Result<History, StageError> {
        let ours = Pipeline { pipeline: pipeline.into(), format: FORMAT };
        let path = self.location.path.clone().join("pipeline.json");
        if let Created::Theirs(bytes) = self.create(&path, encode(&ours)?).await? {
            let theirs: Pipeline = self.decode(&path, &bytes)?;
            if theirs != ours {
                return Err(StageError::user(format!(
                    "the state belongs to pipeline `{}` in format {}, this is `{pipeline}` in format {FORMAT}",
                    theirs.pipeline, theirs.format
                ))
                .object(self.url())
                .hint("give each pipeline a `state:` of its own"));
            }
        }
        let completed = match self.epochs("complete").await?.into_iter().max() {
            Some(epoch) => Some(self.read::<Completion>(&self.record("complete", epoch)).await?),
            None => None,
        };
        let bound = self.epochs("bindings").await?;
        let bindings = stream::iter(
            bound.into_iter().map(|epoch| async move { self.read::<Binding>(&self.record("bindings", epoch)).await }),
        )
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
        Ok(History::new(completed, bindings))
    }

    /// Makes a binding durable. Fails if another instance has bound the epoch: one of the two must stop.
    pub(crate) async fn bind(&self, binding: &Binding) -> Result<(), StageError> {
        let path = self.record("bindings", binding.epoch);
        match self.create(&path, encode(binding)?).await? {
            Created::Ours => {
                failpoint::hit("after-binding", binding.epoch);
                Ok(())
            }
            Created::Theirs(bytes) => {
                let theirs: Binding = self.decode(&path, &bytes)?;
                Err(StageError::user(format!(
                    "another instance ({}) of this pipeline is running: it has bound epoch {}",
                    theirs.instance, binding.epoch
                ))
                .object(self.url())
                .hint("let one instance of a pipeline run at a time; this one has stopped and has lost nothing"))
            }
        }
    }

    /// Records that every table holds the epoch.
    pub(crate) async fn complete(&self, completion: &Completion) -> Result<(), StageError> {
        let path = self.record("complete", completion.epoch);
        match self.create(&path, encode(completion)?).await? {
            Created::Ours => Ok(()),
            Created::Theirs(_) => Err(StageError::user(format!(
                "another instance of this pipeline is running: it has completed epoch {}",
                completion.epoch
            ))
            .object(self.url())
            .hint("let one instance of a pipeline run at a time; this one has stopped and has lost nothing")),
        }
    }

    fn record(&self, folder: &str, epoch: Epoch) -> Path {
        self.location.path.clone().join(folder).join(format!("{epoch:020}.json"))
    }

    async fn epochs(&self, folder: &str) -> Result<Vec<Epoch>, StageError> {
        let prefix = self.location.path.clone().join(folder);
        let names: Vec<Option<Epoch>> = self
            .location
            .store
            .list(Some(&prefix))
            .map_ok(|meta| meta.location.filename().and_then(|n| n.strip_suffix(".json")).and_then(|n| n.parse().ok()))
            .try_collect()
            .await
            .map_err(|e| self.unreachable("list", &prefix, e))?;
        Ok(names.into_iter().flatten().collect())
    }

    async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StageError> {
        let read = async { self.location.store.get(path).await?.bytes().await };
        let bytes = read.await.map_err(|e| self.unreachable("read", path, e))?;
        self.decode(path, &bytes)
    }

    fn decode<T: DeserializeOwned>(&self, path: &Path, bytes: &[u8]) -> Result<T, StageError> {
        serde_json::from_slice(bytes).map_err(|e| {
            StageError::user("a record of the pipeline's state cannot be understood")
                .object(format!("{}/{path}", self.location.root))
                .hint("it was changed by hand, or written by another version of alluvium")
                .because(e)
        })
    }

    /// Creates an object unless it is there. When the answer is lost, what is there decides.
    async fn create(&self, path: &Path, bytes: Bytes) -> Result<Created, StageError> {
        let store = &self.location.store;
        let mut pause = Duration::from_millis(100);
        let mut tries = 1;
        loop {
            let put = store.put_opts(path, bytes.clone().into(), PutOptions::from(PutMode::Create)).await;
            let error = match put {
                Ok(_) => return Ok(Created::Ours),
                Err(error) => error,
            };
            let found = async { store.get(path).await?.bytes().await };
            match found.await {
                Ok(there) if there == bytes => return Ok(Created::Ours),
                Ok(there) => return Ok(Created::Theirs(there)),
                Err(_) if tries < TRIES => {
                    tracing::warn!(%path, %error, "a record of the state could not be written; trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                Err(_) => return Err(self.unreachable("write", path, error)),
            }
        }
    }

    fn unreachable(&self, verb: &str, path: &Path, error: object_store::Error) -> StageError {
        StageError::external(format!("cannot {verb} the pipeline's state"))
            .object(format!("{}/{path}", self.location.root))
            .hint("check that `state:` is a place that this process may list, read and write")
            .because(error)
    }
}

fn encode<T: Serialize>(record: &T) -> Result<Bytes, StageError> {
    serde_json::to_vec_pretty(record)
        .map(Bytes::from)
        .map_err(|e| StageError::internal("a record of the state cannot be encoded").because(e))
}

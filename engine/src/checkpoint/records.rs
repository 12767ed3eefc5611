//! JSON records in an object store: created once, read, listed.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Epoch;
use crate::stage::StageError;
use crate::storage::{self, Location};

/// Tries for a record whose fate is unknown, with a pause that doubles from 100 ms. Between them the store is read, and
/// reading waits for minutes while the store does not answer.
const TRIES: u32 = 6;

/// The folder of a pipeline's records.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    location: Location,
}

/// What became of a record that was to be created.
pub(crate) enum Created {
    Ours,
    /// It was there, with another content.
    Theirs(Bytes),
}

impl Records {
    pub(crate) fn new(location: Location) -> Self {
        Self { location }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// The folder's place, for messages.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.location.root, self.location.path)
    }

    /// The path of something in the folder.
    pub(crate) fn path(&self, name: &str) -> Path {
        self.location.path.clone().join(name)
    }

    /// The record of an epoch.
    pub(crate) fn of_epoch(&self, folder: &str, epoch: Epoch) -> Path {
        self.path(folder).join(format!("{epoch:020}.json"))
    }

    /// The epochs that have a record in a folder, oldest first.
    pub(crate) async fn epochs(&self, folder: &str) -> Result<Vec<Epoch>, StageError> {
        let prefix = self.path(folder);
        let names = self.location.store.list(Some(&prefix)).map_ok(|meta| {
            meta.location.filename().and_then(|n| n.strip_suffix(".json")).and_then(|n| n.parse::<Epoch>().ok())
        });
        let names: Vec<_> = names.try_collect().await.map_err(|e| self.unreachable("list", &prefix, e))?;
        let mut epochs: Vec<Epoch> = names.into_iter().flatten().collect();
        epochs.sort_unstable();
        Ok(epochs)
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<T, StageError> {
        let read = async { self.location.store.get(path).await?.bytes().await };
        let bytes = read.await.map_err(|e| self.unreachable("read", path, e))?;
        self.decode(path, &bytes)
    }

    /// The same, or nothing if nothing is there.
    pub(crate) async fn read_if_there<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StageError> {
        let read = async { self.location.store.get(path).await?.bytes().await };
        match read.await {
            Ok(bytes) => self.decode(path, &bytes).map(Some),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.unreachable("read", path, error)),
        }
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self, path: &Path, bytes: &[u8]) -> Result<T, StageError> {
        serde_json::from_slice(bytes).map_err(|e| {
            StageError::user("a record of the pipeline's state cannot be understood")
                .object(format!("{}/{path}", self.location.root))
                .hint("it was changed by hand, or written by another version of alluvium")
                .because(e)
        })
    }

    /// Creates a record unless there is one. When the answer is lost, what is there decides.
    pub(crate) async fn create(&self, path: &Path, record: &impl Serialize) -> Result<Created, StageError> {
        let bytes = encode(record)?;
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
                Err(_) if tries < TRIES && storage::may_pass(&error) => {
                    tracing::warn!(%path, %error, "a record of the state could not be written; trying again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
                Err(_) => return Err(self.unreachable("write", path, error)),
            }
        }
    }

    /// Writes a record whether or not there is one.
    pub(crate) async fn put(&self, path: &Path, record: &impl Serialize) -> Result<(), StageError> {
        let written = storage::write(&self.location.store, path, encode(record)?).await;
        written.map_err(|e| self.unreachable("write", path, e))
    }

    /// Deletes what may be there.
    pub(crate) async fn delete(&self, paths: Vec<Path>) -> Result<(), StageError> {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.location.store.delete_stream(paths);
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.unreachable("delete from", &self.location.path, error)),
            }
        }
        Ok(())
    }

    /// Deletes everything below a folder.
    pub(crate) async fn clear(&self, folder: &str) -> Result<(), StageError> {
        let prefix = self.path(folder);
        let found = self.location.store.list(Some(&prefix)).map_ok(|meta| meta.location);
        let found: Vec<Path> = found.try_collect().await.map_err(|e| self.unreachable("list", &prefix, e))?;
        self.delete(found).await
    }

    pub(crate) fn unreachable(&self, verb: &str, path: &Path, error: object_store::Error) -> StageError {
        StageError::external(format!("cannot {verb} the pipeline's state"))
            .object(format!("{}/{path}", self.location.root))
            .hint("check that `state:` is a place that this process may list, read and write")
            .because(error)
    }
}

fn encode(record: &impl Serialize) -> Result<Bytes, StageError> {
    serde_json::to_vec_pretty(record)
        .map(Bytes::from)
        .map_err(|e| StageError::internal("a record of the state cannot be encoded").because(e))
}

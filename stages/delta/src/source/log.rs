//! The log of a table that is read: which versions there are, and what each has changed.

use std::collections::HashMap;
use std::sync::Arc;

use alluvium_engine::stage::StageError;
use deltalake::kernel::transaction::PROTOCOL;
use deltalake::kernel::{Add, AddCDCFile, Protocol, Remove};
use deltalake::table::state::DeltaTableState;
use deltalake::{ObjectStore, Path};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::place::Place;

/// The log.
pub(crate) struct Log {
    pub(crate) place: Place,
    pub(crate) store: Arc<dyn ObjectStore>,
}

/// What a version has changed.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    pub(crate) version: u64,
    pub(crate) operation: Option<String>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) adds: Vec<Add>,
    pub(crate) removes: Vec<Remove>,
    pub(crate) feed: Vec<AddCDCFile>,
}

impl Commit {
    /// Whether rows are taken out by a list beside a file.
    pub(crate) fn has_vectors(&self) -> bool {
        self.adds.iter().any(|a| a.deletion_vector.is_some())
            || self.removes.iter().any(|r| r.deletion_vector.is_some())
    }
}

/// What a table says of itself; as much of it as matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) id: String,
    pub(crate) schema_string: String,
    pub(crate) partition_columns: Vec<String>,
    #[serde(default)]
    pub(crate) configuration: HashMap<String, String>,
}

impl Metadata {
    /// What a snapshot says.
    pub(crate) fn of(snapshot: &DeltaTableState) -> Result<Self, StageError> {
        let said = serde_json::to_value(snapshot.metadata()).and_then(serde_json::from_value);
        said.map_err(|e| StageError::external("the table does not say what it is").because(e))
    }
}

/// A line of a commit. Actions that are not listed concern nobody who reads rows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    cdc: Option<AddCDCFile>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    commit_info: Option<Json>,
}

impl Log {
    /// The versions from `next` on.
    ///
    /// # Errors
    /// Some of them are not there any more.
    pub(crate) async fn versions(&self, next: u64) -> Result<Vec<u64>, StageError> {
        let folder = Path::from("_delta_log");
        let found = match next.checked_sub(1) {
            Some(before) => self.store.list_with_offset(Some(&folder), &path(before)),
            None => self.store.list(Some(&folder)),
        };
        let found = found.try_filter_map(async |object| Ok(entry(&object.location)));
        let found: Result<Vec<(u64, bool)>, _> = found.try_collect().await;
        let mut found = found.map_err(|e| {
            StageError::external("the table's log cannot be listed").object(self.place.shown()).because(e)
        })?;
        found.sort_unstable();
        let newest = found.last().map_or(0, |(version, _)| *version);
        let commits = found.into_iter().filter(|(version, is_commit)| *is_commit && *version >= next);
        let commits: Vec<u64> = commits.map(|(version, _)| version).collect();
        let missing = (next..=newest).find(|version| commits.binary_search(version).is_err());
        match missing {
            None => Ok(commits),
            Some(first) => {
                let after = commits.into_iter().find(|version| *version > first);
                Err(self.lost(first, after.map_or(newest, |version| version - 1)))
            }
        }
    }

    /// What a version has changed.
    ///
    /// # Errors
    /// It is not there any more, or asks for what is not supported.
    pub(crate) async fn commit(&self, version: u64) -> Result<Commit, StageError> {
        let path = path(version);
        let place = || format!("{}/{path}", self.place.shown());
        let got = async { self.store.get(&path).await?.bytes().await };
        let bytes = match got.await {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => return Err(self.lost(version, version)),
            Err(error) => {
                return Err(StageError::external("the table's log cannot be read").object(place()).because(error));
            }
        };
        let mut commit = Commit { version, ..Commit::default() };
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            let line = line.map_err(|e| {
                StageError::external("an entry of the table's log cannot be understood").object(place()).because(e)
            })?;
            if let Some(protocol) = line.protocol {
                PROTOCOL
                    .can_read_from_protocol(&protocol)
                    .map_err(|e| self.unreadable(&format!("since version {version} "), e))?;
            }
            commit.adds.extend(line.add.filter(|add| add.data_change));
            commit.removes.extend(line.remove.filter(|remove| remove.data_change));
            commit.feed.extend(line.cdc);
            commit.metadata = line.meta_data.or(commit.metadata);
            let operation = line.commit_info.and_then(|info| Some(info.get("operation")?.as_str()?.to_owned()));
            commit.operation = operation.or(commit.operation);
        }
        Ok(commit)
    }

    fn lost(&self, first: u64, last: u64) -> StageError {
        let which = if first == last { format!("version {first}") } else { format!("versions {first} to {last}") };
        StageError::external(format!("{which} of the table cannot be read: the log has been cleaned up"))
            .object(self.place.shown())
            .hint(
                "what came with them is lost to this pipeline. Keep the log of the table for longer \
                 (`delta.logRetentionDuration`), and start anew: with a new `state:` and new tables, or `from:` a later version",
            )
    }

    pub(crate) fn unreadable(&self, when: &str, error: impl std::error::Error + Send + Sync + 'static) -> StageError {
        StageError::user(format!("{when}the table asks readers for what is not supported"))
            .object(self.place.shown())
            .because(error)
    }

    /// Rows that are taken out by a list beside the file, and not by writing the file anew.
    pub(crate) fn has_vectors(&self, version: u64) -> StageError {
        StageError::user(format!("version {version} of the table has deletion vectors, which are not supported"))
            .object(self.place.shown())
            .hint(
                "turn them off (`delta.enableDeletionVectors` = false), rewrite the files that have them \
                 (`REORG TABLE … APPLY (PURGE)`), and start anew with a new `state:` and new tables",
            )
    }
}

fn path(version: u64) -> Path {
    Path::from(format!("_delta_log/{version:020}.json"))
}

/// The version of a commit or a checkpoint, and whether it is a commit.
fn entry(path: &Path) -> Option<(u64, bool)> {
    let (digits, kind) = path.filename()?.split_once('.')?;
    let known = kind == "json" || kind.starts_with("checkpoint.");
    (known && digits.len() == 20 && path.parts().count() == 2).then(|| Some((digits.parse().ok()?, kind == "json")))?
}

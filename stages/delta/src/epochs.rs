//! Which version of a table holds which epoch, by the table's log.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_engine::Epoch;
use alluvium_engine::stage::StageError;
use alluvium_engine::tables::Held;
use chrono::DateTime;
use deltalake::{DeltaTable, ObjectStore, Path};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::place::Place;
use crate::table::epoch_of;

/// Commits that are read together.
const TOGETHER: usize = 8;
/// What Delta's writers, and ours, say of a commit itself; everything else came with the epoch.
const SAID: [&str; 10] = [
    "clientVersion",
    "engineInfo",
    INSTANCE,
    "isolationLevel",
    "operation",
    "txnId",
    "userId",
    "userMetadata",
    "userName",
    "timestamp",
];

/// In a commit: the run that made it, and the generation of its lease.
pub(crate) const INSTANCE: &str = "instance";
pub(crate) const GENERATION: &str = "generation";

/// Who has committed the epoch that a table holds.
pub(crate) struct Owner {
    /// The version that came of it.
    pub(crate) version: u64,
    pub(crate) instance: String,
    pub(crate) generation: u64,
}

/// A table as of an epoch.
pub(crate) enum AsOf {
    /// The newest version that holds no later epoch.
    Table(Box<DeltaTable>),
    /// There is no table, or it came with a later epoch.
    Nothing,
    /// The log reaches back only to this epoch.
    From(Epoch),
}

/// A version's commit, as far as it matters here.
struct Entry {
    version: u64,
    epoch: Option<Epoch>,
    info: Map<String, Json>,
}

/// A line of a commit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    txn: Option<Txn>,
    commit_info: Option<Map<String, Json>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

/// The commits that hold an epoch of `app`, newest first, as far back as the log reaches.
pub(crate) fn held(place: Place, app: String) -> BoxStream<'static, Result<Held, StageError>> {
    let all = async move {
        let Some(table) = place.load().await? else { return Ok(stream::empty().boxed()) };
        let newest = table.snapshot().map_err(|e| place.failed("read", e))?.version();
        entries(place, app, newest)
    };
    let held = stream::once(all).try_flatten();
    held.try_filter_map(|entry| async move { Ok(entry.epoch.map(|epoch| entry.held(epoch))) }).boxed()
}

/// Who has committed the newest epoch of `app`, in a table of this version. Nothing if the log does not reach back so far,
/// or if the commit does not say so.
pub(crate) async fn owner(place: &Place, app: &str, newest: u64) -> Result<Option<Owner>, StageError> {
    let mut held = entries(place.clone(), app.into(), newest)?
        .try_filter(|entry| std::future::ready(entry.epoch.is_some()))
        .boxed();
    Ok(held.try_next().await?.and_then(|entry| entry.owner()))
}

/// The table as of an epoch, or as it is.
pub(crate) async fn as_of(place: &Place, app: &str, epoch: Option<Epoch>) -> Result<AsOf, StageError> {
    let Some(table) = place.load().await? else { return Ok(AsOf::Nothing) };
    let Some(epoch) = epoch else { return Ok(AsOf::Table(Box::new(table))) };
    let snapshot = table.snapshot().map_err(|e| place.failed("read", e))?;
    let newest = snapshot.version();
    if epoch_of(place, app, &table, snapshot).await?.is_none_or(|held| held <= epoch) {
        return Ok(AsOf::Table(Box::new(table)));
    }
    let mut wanted = newest;
    let mut entries = entries(place.clone(), app.into(), newest)?;
    while let Some(entry) = entries.try_next().await? {
        match entry.epoch {
            Some(held) if held <= epoch => break,
            Some(_) => match entry.version.checked_sub(1) {
                Some(before) => wanted = before,
                None => return Ok(AsOf::Nothing),
            },
            None => {}
        }
    }
    // The log may end before, and a checkpoint still have that version.
    match at(place, app, wanted).await {
        Ok((table, held)) if held <= epoch => Ok(AsOf::Table(Box::new(table))),
        Ok((_, held)) => Ok(AsOf::From(held)),
        Err(error) => match oldest_checkpoint(place).await? {
            Some(oldest) if oldest > wanted => Ok(AsOf::From(at(place, app, oldest).await?.1.max(1))),
            _ => Err(error),
        },
    }
}

/// The table at a version, and the epoch that it holds then, 0 if none.
async fn at(place: &Place, app: &str, version: u64) -> Result<(DeltaTable, Epoch), StageError> {
    let table = place.load_version(version).await.map_err(|e| place.failed("opened as it was", e))?;
    let snapshot = table.snapshot().map_err(|e| place.failed("read", e))?;
    let held = epoch_of(place, app, &table, snapshot).await?.unwrap_or(0);
    Ok((table, held))
}

/// The oldest version that can be opened without the commits before it.
async fn oldest_checkpoint(place: &Place) -> Result<Option<u64>, StageError> {
    let unlisted = |e| StageError::external("the table's log cannot be listed").object(place.shown()).because(e);
    let folder = Path::from("_delta_log");
    let store = place.store()?;
    let found = store.list(Some(&folder)).try_filter_map(async |object| {
        let name = object.location.filename().and_then(|name| name.split_once(".checkpoint."));
        Ok(name.and_then(|(version, _)| version.parse::<u64>().ok()))
    });
    let found: Vec<u64> = found.try_collect().await.map_err(unlisted)?;
    Ok(found.into_iter().min())
}

/// Commits from a version backwards, until the first that is not there any more.
fn entries(
    place: Place,
    app: String,
    newest: u64,
) -> Result<BoxStream<'static, Result<Entry, StageError>>, StageError> {
    let shared = Arc::new((place.store()?, place, app));
    let read = stream::iter((0..=newest).rev()).map(move |version| {
        let shared = shared.clone();
        async move { entry(&shared.0, &shared.1, &shared.2, version).await }
    });
    let there = read.buffered(TOGETHER).try_take_while(|entry| std::future::ready(Ok(entry.is_some())));
    Ok(there.try_filter_map(async |entry| Ok(entry)).boxed())
}

async fn entry(
    store: &Arc<dyn ObjectStore>,
    place: &Place,
    app: &str,
    version: u64,
) -> Result<Option<Entry>, StageError> {
    let path = Path::from(format!("_delta_log/{version:020}.json"));
    let object = || format!("{}/{path}", place.shown());
    let got = async { store.get(&path).await?.bytes().await };
    let bytes = match got.await {
        Ok(bytes) => bytes,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => {
            return Err(StageError::external("the table's log cannot be read").object(object()).because(error));
        }
    };
    let mut entry = Entry { version, epoch: None, info: Map::new() };
    for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
        let line = line.map_err(|e| {
            StageError::external("an entry of the table's log cannot be understood").object(object()).because(e)
        })?;
        let ours = line.txn.filter(|txn| txn.app_id == app);
        entry.epoch = ours.and_then(|txn| u64::try_from(txn.version).ok()).or(entry.epoch);
        entry.info.extend(line.commit_info.unwrap_or_default());
    }
    Ok(Some(entry))
}

impl Entry {
    fn owner(self) -> Option<Owner> {
        let instance = self.info.get(INSTANCE)?.as_str().filter(|instance| !instance.is_empty())?.to_owned();
        Some(Owner { version: self.version, instance, generation: self.info.get(GENERATION)?.as_u64()? })
    }

    fn held(self, epoch: Epoch) -> Held {
        let committed = self.info.get("timestamp").and_then(Json::as_i64).and_then(DateTime::from_timestamp_millis);
        let metadata: BTreeMap<String, String> = self
            .info
            .into_iter()
            .filter(|(name, _)| !SAID.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())))
            .collect();
        Held { epoch, version: self.version, committed, metadata }
    }
}

//! Deletes a table.
//!
//! Data files first, the log last and its newest entries first: whenever it is interrupted, what is left is a table at
//! an older version, whose log names the files that are yet to be deleted. The other way round their names would be lost.
//! Readers that come in between fail at a file that is missing; they would fail a moment later at a table that is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_engine::stage::StageError;
use deltalake::kernel::{Add, AddCDCFile, Remove};
use deltalake::{ObjectStore, Path};
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::Deserialize;

use crate::place::Place;

/// Commits that are read together.
const TOGETHER: usize = 8;
const LOG: &str = "_delta_log";

/// A line of a commit.
#[derive(Deserialize)]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    cdc: Option<AddCDCFile>,
}

/// What lies in a table's folder.
struct Folder {
    /// Data files, and whatever else is not the log's.
    data: Vec<Path>,
    /// Of the log, by version: commits before checkpoints.
    entries: BTreeMap<u64, Vec<Path>>,
    /// The rest of the log.
    hints: Vec<Path>,
}

/// Deletes it; see above.
pub(crate) async fn table(place: &Place) -> Result<(), StageError> {
    if place.url.to_file_path().is_ok_and(|path| !path.join(LOG).exists()) {
        return Ok(());
    }
    let store = place.store()?;
    let folder = Folder::list(place, &store).await?;
    if folder.is_empty() {
        return Ok(());
    }
    let commits = || folder.entries.values().flatten().filter(|path| path.extension() == Some("json"));
    match place.load().await {
        Ok(Some(table)) => {
            let mut named = named(place, &store, commits().cloned().collect()).await?;
            let snapshot = table.snapshot().map_err(|e| place.failed("read", e))?;
            named.extend(snapshot.log_data().iter().map(|file| file.path().into_owned()));
            // A name elsewhere, as a clone has it, is not the table's.
            let ours = |path: &&Path| named.contains(path.as_ref()) || is_leftover(path);
            delete(place, &store, folder.data.iter().filter(ours).cloned().collect()).await?;
        }
        Ok(None) => {}
        // The last that goes is a checkpoint.
        Err(_) if commits().next().is_none() => {}
        Err(error) => return Err(error),
    }
    // Up to the newest checkpoint nothing is needed to open what is left.
    let newest = folder.entries.iter().rev().find(|(_, paths)| paths.iter().any(is_checkpoint));
    let newest = newest.map_or(0, |(version, _)| *version);
    delete(place, &store, folder.entries.range(..newest).flat_map(|(_, paths)| paths.clone()).collect()).await?;
    for (_, paths) in folder.entries.range(newest + 1..).rev() {
        delete(place, &store, paths.clone()).await?;
    }
    delete(place, &store, folder.hints).await?;
    for path in folder.entries.get(&newest).into_iter().flatten() {
        delete(place, &store, vec![path.clone()]).await?;
    }
    Ok(())
}

impl Folder {
    async fn list(place: &Place, store: &Arc<dyn ObjectStore>) -> Result<Self, StageError> {
        let found: Vec<Path> = store.list(None).map_ok(|object| object.location).try_collect().await.map_err(|e| {
            StageError::external("the table's folder cannot be listed").object(place.shown()).because(e)
        })?;
        let mut folder = Self { data: Vec::new(), entries: BTreeMap::new(), hints: Vec::new() };
        // Another table in a folder of this one.
        let others: BTreeSet<String> = found.iter().filter_map(other_table).collect();
        for path in found {
            let text = path.as_ref();
            if others.iter().any(|other| text.starts_with(other)) {
                continue;
            }
            match text.strip_prefix(LOG).and_then(|rest| rest.strip_prefix('/')) {
                None => folder.data.push(path),
                Some(name) => match name.split_once('.').and_then(|(version, _)| version.parse().ok()) {
                    Some(version) => folder.entries.entry(version).or_default().push(path),
                    None => folder.hints.push(path),
                },
            }
        }
        for paths in folder.entries.values_mut() {
            paths.sort_by_key(is_checkpoint);
        }
        Ok(folder)
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.hints.is_empty()
    }
}

/// The folder, with a slash, of a table whose log this is a part of, if it is not the table itself.
fn other_table(path: &Path) -> Option<String> {
    let (before, _) = path.as_ref().split_once(&format!("/{LOG}/"))?;
    Some(format!("{before}/"))
}

fn is_checkpoint(path: &Path) -> bool {
    path.filename().is_some_and(|name| name.contains(".checkpoint."))
}

/// A data file as our writers name them: one that no commit names was left by an attempt that failed.
fn is_leftover(path: &Path) -> bool {
    let id =
        |stem: &str| stem.rsplit('-').next().is_some_and(|id| id.len() == 32 && u128::from_str_radix(id, 16).is_ok());
    path.filename().and_then(|name| name.strip_suffix(".zstd.parquet")).is_some_and(id)
}

/// The files that commits have added or removed.
async fn named(
    place: &Place,
    store: &Arc<dyn ObjectStore>,
    commits: Vec<Path>,
) -> Result<BTreeSet<String>, StageError> {
    let read = stream::iter(commits).map(|path| async move {
        let object = format!("{}/{path}", place.shown());
        let got = async { store.get(&path).await?.bytes().await };
        let bytes = got
            .await
            .map_err(|e| StageError::external("the table's log cannot be read").object(object.clone()).because(e))?;
        let mut names = Vec::new();
        for line in serde_json::Deserializer::from_slice(&bytes).into_iter::<Line>() {
            let line = line.map_err(|e| {
                StageError::external("an entry of the table's log cannot be understood")
                    .object(object.clone())
                    .because(e)
            })?;
            names.extend(line.add.map(|add| add.path));
            names.extend(line.remove.map(|remove| remove.path));
            names.extend(line.cdc.map(|file| file.path));
        }
        Ok::<_, StageError>(names)
    });
    read.buffer_unordered(TOGETHER)
        .try_fold(BTreeSet::new(), |mut all, names| async move {
            all.extend(names);
            Ok(all)
        })
        .await
}

async fn delete(place: &Place, store: &Arc<dyn ObjectStore>, paths: Vec<Path>) -> Result<(), StageError> {
    let mut deleted = store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(outcome) = deleted.next().await {
        match outcome {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => {
                let failed = StageError::external("a file of the table cannot be deleted").object(place.shown());
                return Err(failed.because(error));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_writers_are_leftovers() {
        let leftover = |text: &str| is_leftover(&Path::from(text));
        let id = "0123456789abcdef0123456789abcdef";
        assert!(leftover(&format!("part-0000000009-0-{id}.zstd.parquet")));
        assert!(leftover(&format!("day=2009-04-06/part-0000000009-0-{id}.zstd.parquet")));
        assert!(leftover(&format!("_change_data/cdc-0000000009-{id}.zstd.parquet")));
        assert!(!leftover("part-0000000009-leftover.zstd.parquet"));
        assert!(!leftover(&format!("part-0000000009-0-{id}.parquet")));
    }

    #[test]
    fn a_table_in_a_folder_of_the_table_is_another_one() {
        let other = |text: &str| other_table(&Path::from(text));
        assert_eq!(other("a/b/_delta_log/00000000000000000000.json").as_deref(), Some("a/b/"));
        assert_eq!(other("_delta_log/00000000000000000000.json"), None);
    }
}

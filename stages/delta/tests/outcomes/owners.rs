//! An epoch that is in the table already: whose commit is it?

use std::path::Path;

use alluvium_engine::stage::Fence;
use futures::FutureExt;

use super::*;

/// A commit by a run.
fn by(instance: &str, generation: u64, epoch: Epoch, staged: Vec<Staged>) -> Commit {
    Commit { instance: instance.into(), generation, ..commit(epoch, staged) }
}

/// The epochs in the table's log, newest first.
fn epochs(folder: &Path) -> Vec<u64> {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder.join("_delta_log")).unwrap().map(|f| f.unwrap().path()).collect();
    entries.retain(|path| path.extension().is_some_and(|e| e == "json"));
    entries.sort();
    let lines: Vec<Value> = entries
        .iter()
        .rev()
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    lines.iter().filter_map(|line| line["txn"]["version"].as_u64()).collect()
}

/// One run commits epoch 2 after another has, which it does not know; both had the table open.
async fn second(path: &Path, mode: &str, first: (&str, u64), second: (&str, u64)) -> Result<Committed, StageError> {
    let sink = sink(path, mode, "p");
    open(sink.as_ref()).await.commit(by("first", 0, 1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    let (mut fast, mut slow) = (open(sink.as_ref()).await, open(sink.as_ref()).await);
    let rows = [("b", 2)];
    fast.commit(by(first.0, first.1, 2, stage(sink.as_ref(), 2, &rows).await)).await.unwrap();
    // Its file is gone from the table before anybody looks.
    table(path).await.optimize().await.unwrap();
    slow.commit(by(second.0, second.1, 2, stage(sink.as_ref(), 2, &rows).await)).await
}

/// An answer that was lost, or a try that came late: its files are others, or are not there any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_this_run_is_known_without_its_files() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let committed = second(&path, mode, ("one", 1), ("one", 1)).await.unwrap();
        assert_eq!((committed.version, committed.by_another), (2, false), "{mode}");
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
        assert_eq!(epochs(&path), [2, 1], "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_an_owner_that_was_taken_for_dead_stays() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let committed = second(&path, mode, ("dead", 1), ("successor", 2)).await.unwrap();
        assert_eq!((committed.version, committed.rows, committed.by_another), (2, 1, true), "{mode}");
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
        assert_eq!(epochs(&path), [2, 1], "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_finds_the_commit_of_its_successor_stops() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let error = second(&path, mode, ("successor", 2), ("dead", 1)).await.unwrap_err();
        assert!(error.to_string().contains("another instance of this pipeline is running"), "{mode}: {error}");
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
        assert_eq!(epochs(&path), [2, 1], "{mode}");
    }
}

/// What is committed goes on from there, with the next epoch.
#[tokio::test(flavor = "multi_thread")]
async fn the_successor_goes_on_after_such_a_commit() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let (mut dead, mut successor) = (open(sink.as_ref()).await, open(sink.as_ref()).await);
        dead.commit(by("dead", 1, 1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        // Seen by the upkeep first, which reads the log.
        successor.upkeep().await;
        successor.commit(by("successor", 2, 1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        successor.commit(by("successor", 2, 2, stage(sink.as_ref(), 2, &[("b", 2)]).await)).await.unwrap();
        let error = dead.commit(by("dead", 1, 2, stage(sink.as_ref(), 2, &[("b", 2)]).await)).await.unwrap_err();
        assert!(error.to_string().contains("another instance"), "{error}");
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
        assert_eq!(epochs(&path), [2, 1], "{mode}");
    }
}

/// A file that vanishes under an upsert makes it read the log again: the epoch may be there by then.
#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_comes_while_files_are_merged_is_not_committed_again() {
    let folder = Folder::new();
    let sink = sink(&folder.0, "upsert", "p");
    open(sink.as_ref()).await.commit(by("first", 0, 1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    let before: Vec<String> = table(&folder.0).await.get_file_uris().unwrap().collect();
    let (mut dead, mut successor) = (open(sink.as_ref()).await, open(sink.as_ref()).await);
    dead.commit(by("dead", 1, 2, stage(sink.as_ref(), 2, &[("a", 2)]).await)).await.unwrap();
    for file in before {
        std::fs::remove_file(file.trim_start_matches("file://")).unwrap();
    }
    let staged = stage(sink.as_ref(), 2, &[("a", 2)]).await;
    assert!(successor.commit(by("successor", 2, 2, staged)).await.unwrap().by_another);
    assert_eq!(rows(&folder.0).await, owned(&[("a", 2)]));
    assert_eq!(epochs(&folder.0), [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_lost_the_lease_writes_nothing() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        let lost = || async { Err(StageError::user("another instance has taken over")) }.boxed();
        let staged = stage(sink.as_ref(), 1, &[("a", 1)]).await;
        let refused = committer.commit(Commit { fence: Fence::new(lost), ..by("dead", 1, 1, staged) }).await;
        assert_eq!(refused.unwrap_err().to_string(), "another instance has taken over");
        assert_eq!(epochs(&path), [0_u64; 0], "{mode}");
    }
}

//! Commits against other writers, and again.

use std::collections::HashMap;

use alluvium_engine::stage::StageError;

use super::{Folder, commit, open, owned, rows, sink, stage, table};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_epoch_again_changes_nothing() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        let first = committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let again = committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        assert_eq!((first.version, again.version, again.rows), (1, 1, 0));
        // A new process finds the same.
        let mut later = sink.committer().unwrap();
        assert_eq!(later.committed().await.unwrap(), Some(1));
        assert_eq!(later.commit(commit(1, Vec::new())).await.unwrap().version, 1);
        assert_eq!(rows(&path).await, owned(&[("a", 1)]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_live_instances_the_slower_one_stops() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let (mut fast, mut slow) = (open(sink.as_ref()).await, open(sink.as_ref()).await);
        fast.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let error: StageError = slow.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap_err();
        assert!(
            error.to_string().contains("another instance of this pipeline is running: it has committed epoch 1"),
            "{error}"
        );
        assert_eq!(rows(&path).await, owned(&[("a", 1)]), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_writers_may_append() {
    let folder = Folder::new();
    let (ours, theirs) = (sink(&folder.0, "append", "ours"), sink(&folder.0, "append", "theirs"));
    let (mut our, mut their) = (open(ours.as_ref()).await, open(theirs.as_ref()).await);
    their.commit(commit(7, stage(theirs.as_ref(), 7, &[("x", 7)]).await)).await.unwrap();
    let committed = our.commit(commit(1, stage(ours.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    assert_eq!(committed.version, 2);
    assert_eq!(rows(&folder.0).await, owned(&[("a", 1), ("x", 7)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_property_is_looked_at_and_passed() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
        let properties = HashMap::from([("delta.logRetentionDuration".to_owned(), "interval 60 days".to_owned())]);
        table(&path).await.set_tbl_properties().with_properties(properties).await.unwrap();
        committer.commit(commit(2, stage(sink.as_ref(), 2, &[("b", 2)]).await)).await.unwrap();
        assert_eq!(rows(&path).await, owned(&[("a", 1), ("b", 2)]), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimize_in_between_doubles_no_row() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        for epoch in 1..=3 {
            let key = format!("k{epoch}");
            let rows = [(key.as_str(), 1), ("shared", 0)];
            let rows = if mode == "append" { &rows[..1] } else { &rows[..] };
            committer.commit(commit(epoch, stage(sink.as_ref(), epoch, rows).await)).await.unwrap();
        }
        // Behind the committer's back all files become one.
        table(&path).await.optimize().await.unwrap();
        let change: &[(&str, i64)] = if mode == "append" { &[("k4", 1)] } else { &[("k1", 2), ("shared", 9)] };
        committer.commit(commit(4, stage(sink.as_ref(), 4, change).await)).await.unwrap();
        let expected: &[(&str, i64)] = if mode == "append" {
            &[("k1", 1), ("k2", 1), ("k3", 1), ("k4", 1)]
        } else {
            &[("k1", 2), ("k2", 1), ("k3", 1), ("shared", 9)]
        };
        assert_eq!(rows(&path).await, owned(expected), "{mode}");
        let version = table(&path).await.version().unwrap();
        let log = std::fs::read_to_string(path.join(format!("_delta_log/{version:020}.json"))).unwrap();
        // The feed of the try that was committed, and of no other.
        assert_eq!(log.matches("{\"cdc\":").count(), usize::from(mode == "upsert"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_leave_files_without_a_changed_key_alone_until_they_are_many() {
    let folder = Folder::new();
    let sink = sink(&folder.0, "upsert", "p");
    let mut committer = open(sink.as_ref()).await;
    let mut before = Vec::new();
    for epoch in 1..=8 {
        let key = format!("k{epoch}");
        committer.commit(commit(epoch, stage(sink.as_ref(), epoch, &[(&key, 1)]).await)).await.unwrap();
        let files: Vec<String> = table(&folder.0).await.get_file_uris().unwrap().collect();
        assert_eq!(files.len(), usize::try_from(epoch).unwrap(), "only a file is added");
        assert!(before.iter().all(|f| files.contains(f)));
        before = files;
    }
    for epoch in 9..=12 {
        let key = format!("k{epoch}");
        committer.commit(commit(epoch, stage(sink.as_ref(), epoch, &[(&key, 1)]).await)).await.unwrap();
    }
    let files = table(&folder.0).await.get_file_uris().unwrap().count();
    assert!(files < 8, "{files} small files were not merged");
    assert_eq!(rows(&folder.0).await.len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_without_rows_is_recorded() {
    let folder = Folder::new();
    for mode in ["append", "upsert"] {
        let path = folder.0.join(mode);
        let sink = sink(&path, mode, "p");
        let mut committer = open(sink.as_ref()).await;
        committer.commit(commit(1, Vec::new())).await.unwrap();
        assert_eq!(sink.committer().unwrap().committed().await.unwrap(), Some(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let folder = Folder::new();
    let sink = sink(&folder.0, "append", "p");
    let mut committer = open(sink.as_ref()).await;
    committer.commit(commit(1, stage(sink.as_ref(), 1, &[("a", 1)]).await)).await.unwrap();
    let entry = folder.0.join("_delta_log/00000000000000000001.json");
    std::fs::write(&entry, "{ this is no commit").unwrap();
    assert!(sink.committer().unwrap().committed().await.is_err());
}

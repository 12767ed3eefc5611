//! Which splits a table's history has.

use alluvium_engine::stage::{Split, StageError};
use chrono::DateTime;
use deltalake::kernel::Add;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::History;
use super::columns::{Difference, name};
use super::config::{Begin, Evolution, OnChange, Word};
use super::log::{Commit, Metadata};
use super::point::{File, Part, Point};

/// Commits that are read together.
const TOGETHER: usize = 8;

impl History {
    /// The splits after the last one that was bound, or all.
    pub(super) async fn after(
        self,
        after: Option<&str>,
    ) -> Result<BoxStream<'static, Result<Split, StageError>>, StageError> {
        let log = &self.0.log;
        let foreign = |id: &str| {
            StageError::user("the ledger has a split of this stage that is not of a Delta table").object(id).hint(
                "was the stage of another kind before? Give it another name, or start anew with a new `state:` and new tables",
            )
        };
        let last = after.map(|id| Point::parse(id).ok_or_else(|| foreign(id))).transpose()?;
        let (splits, next) = match (&last, self.0.config.from) {
            (None, Begin::Version(version)) => (Vec::new(), version),
            (None, Begin::Word(word)) => {
                let table =
                    log.place.load().await?.ok_or_else(|| {
                        StageError::external("the table is not there any more").object(log.place.shown())
                    })?;
                let snapshot = table.snapshot().map_err(|e| log.place.failed("read", e))?;
                let version = snapshot.version();
                // It may have moved on since its columns were looked at.
                self.compare(version, &Metadata::of(snapshot)?)?;
                let splits = match word {
                    Word::Earliest => self.snapshot(version).await?,
                    Word::Latest => vec![split(&Point::empty(version, Part::Snapshot), 0, None)],
                };
                (splits, version + 1)
            }
            (Some(Point { version, part: Part::Snapshot, .. }), _) => {
                let unread = last.as_ref().is_some_and(|p| !p.is_last());
                (if unread { self.snapshot(*version).await? } else { Vec::new() }, version + 1)
            }
            (Some(point), _) => (Vec::new(), point.version + u64::from(point.is_last())),
        };
        let versions = log.versions(next).await?;
        let history = self.clone();
        let commits = stream::iter(versions).map(move |version| {
            let history = history.clone();
            async move { history.commit(version).await.map(|splits| stream::iter(splits).map(Ok)) }
        });
        let all = stream::iter(splits).map(Ok).chain(commits.buffered(TOGETHER).try_flatten());
        let after = after.map(str::to_owned);
        Ok(all.try_filter(move |split| std::future::ready(after.as_ref().is_none_or(|a| &split.id > a))).boxed())
    }

    /// The files that a version holds, and before them the mark that the history begins with it.
    async fn snapshot(&self, version: u64) -> Result<Vec<Split>, StageError> {
        let log = &self.0.log;
        let lost = |e| {
            StageError::external(format!(
                "version {version} of the table, with which the first run began, cannot be read any more"
            ))
            .object(log.place.shown())
            .hint(
                "what of it was not read yet is lost to this pipeline: start anew, with a new `state:` and new tables",
            )
            .because(e)
        };
        let table = log.place.load_version(version).await.map_err(lost)?;
        let snapshot = table.snapshot().map_err(lost)?;
        let mut files = Vec::new();
        for file in snapshot.log_data().iter() {
            if file.deletion_vector_descriptor().is_some() {
                return Err(log.has_vectors(version));
            }
            let of = File { path: file.path().into_owned(), partition: file.partition_values_map() };
            files.push((of, file.size(), file.modification_time()));
        }
        let start = Point { of: files.len(), ..Point::empty(version, Part::Snapshot) };
        let mut splits = vec![split(&start, 0, None)];
        splits.extend(of_files(version, Part::Snapshot, files));
        Ok(splits)
    }

    /// The splits of a version: one at least.
    async fn commit(&self, version: u64) -> Result<Vec<Split>, StageError> {
        let commit = self.0.log.commit(version).await?;
        if let Some(metadata) = &commit.metadata {
            self.compare(version, metadata)?;
        }
        let changes = self.0.config.changes;
        let nothing = || vec![split(&Point::empty(version, Part::Commit), 0, None)];
        // A feed beside added files alone has the same rows, and those of files that were only rearranged have none.
        if commit.removes.is_empty() && (!changes || commit.feed.is_empty()) {
            if commit.has_vectors() {
                return Err(self.0.log.has_vectors(version));
            }
            let file =
                |add: Add| (File { path: add.path, partition: add.partition_values }, add.size, add.modification_time);
            let files: Vec<_> = commit.adds.into_iter().map(file).collect();
            return Ok(if files.is_empty() { nothing() } else { of_files(version, Part::Commit, files) });
        }
        if changes {
            if commit.feed.is_empty() && commit.has_vectors() {
                return Err(self.0.log.has_vectors(version));
            }
            let fed: i64 = commit.feed.iter().map(|f| f.size).sum();
            let moved = || commit.adds.iter().map(|a| a.size).chain(commit.removes.iter().filter_map(|r| r.size)).sum();
            let size = if commit.feed.is_empty() { moved() } else { fed };
            return Ok(vec![split(&Point { index: 1, of: 1, ..Point::empty(version, Part::Commit) }, size, None)]);
        }
        match self.0.config.on_change {
            OnChange::Skip => Ok(nothing()),
            OnChange::Fail => Err(self.rewritten(&commit)),
        }
    }

    fn rewritten(&self, commit: &Commit) -> StageError {
        let operation = commit.operation.as_ref().map(|o| format!(" ({o})")).unwrap_or_default();
        StageError::user(format!(
            "version {}{operation} of the table removes or rewrites rows, and only rows that are added are asked for",
            commit.version
        ))
        .object(self.0.log.place.shown())
        .hint(
            "set `on_change: skip` to leave such versions out as a whole; or start anew with `changes: true`, a new `state:` and \
             new tables, to take rows that come and go",
        )
    }

    /// What a version says of the columns.
    fn compare(&self, version: u64, metadata: &Metadata) -> Result<(), StageError> {
        let (found, shown) = (&self.0.found, self.0.log.place.shown());
        let fault = |message: String, hint: &str| Err(StageError::user(message).object(&shown).hint(hint));
        const ANEW: &str = "start anew, with a new `state:` and new tables";
        if metadata.id != found.table {
            return fault(format!("since version {version} it is another table"), ANEW);
        }
        let Difference { types, new } = match found.compare(metadata) {
            Ok(difference) => difference,
            Err(error) => return fault(format!("since version {version} the table cannot be read: {error}"), ANEW),
        };
        if !types.is_empty() {
            return fault(format!("since version {version} columns have another type: {}", types.join("; ")), ANEW);
        }
        if new.is_empty() || self.0.config.evolution == Evolution::Ignore {
            return Ok(());
        }
        let next = found.and(new.clone());
        let names: Vec<String> = new.iter().map(|c| format!("`{}`", name(c))).collect();
        let message = format!("version {version} of the table has new columns: {}", names.join(", "));
        if self.0.config.evolution == Evolution::Fail {
            return fault(message, "set `evolution: add` to take them up, or `ignore` to leave them out");
        }
        Err(StageError::user(message).object(shown).hint("run again to go on with them").resolved(next.record()))
    }
}

/// A split for each file, in the order of their names.
fn of_files(version: u64, part: Part, mut files: Vec<(File, i64, i64)>) -> Vec<Split> {
    files.sort_unstable_by(|a, b| a.0.path.cmp(&b.0.path));
    let of = files.len();
    let one = |(at, (file, size, written)): (usize, (File, i64, i64))| {
        split(&Point { version, part, index: at + 1, of, file: Some(file) }, size, Some(written))
    };
    files.into_iter().enumerate().map(one).collect()
}

fn split(point: &Point, bytes: i64, written: Option<i64>) -> Split {
    Split {
        id: point.text(),
        bytes: u64::try_from(bytes).unwrap_or(0),
        version: None,
        modified: written.and_then(DateTime::from_timestamp_millis),
        // Identities sort as history goes.
        rank: 0,
    }
}

//! Upkeep of a table: small files merged, checkpoints written, what nobody needs deleted.
//!
//! The table's committer does it between epochs, so it never competes with a commit of ours; other writers may do the
//! same at any time. Whatever fails is tried again later: the stream does not depend on it.

use std::num::NonZeroU64;
use std::time::Duration;

use alluvium_engine::spec::{Problem, Span};
use chrono::Utc;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::checkpoints;
use deltalake::{DeltaTable, DeltaTableError};

use crate::commit::Log;
use crate::file::TARGET_BYTES;
use crate::whole_log::keeping_its_log;

/// Files below a quarter of a full one are small.
const SMALL_BYTES: i64 = (TARGET_BYTES / 4) as i64;
/// Files that are younger may belong to a commit that is yet to come.
pub(crate) const LEAST_AGE: Duration = Duration::from_secs(24 * 3_600);

/// What is done for a table between epochs.
#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Upkeep {
    /// A checkpoint of the log is written every so many versions; without checkpoints, opening the table would read
    /// every commit that it ever had. What follows in this list is done at checkpoints.
    #[schemars(range(min = 1))]
    pub(crate) checkpoint: u64,
    /// Small files are merged when there are so many of them; without it they never are.
    #[schemars(range(min = 2))]
    pub(crate) optimize: Option<usize>,
    /// Files that no version has named for this long are deleted, those of failed attempts too: readers can then go back
    /// to older versions no further than this. One day at least; without it nothing is deleted.
    pub(crate) vacuum: Option<Span>,
    /// Entries of the log that are older than this and contained in a checkpoint are deleted; without it none are.
    pub(crate) log: Option<Span>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { checkpoint: 100, optimize: None, vacuum: None, log: None }
    }
}

impl Upkeep {
    pub(crate) fn check(&self) -> Vec<Problem> {
        let spans = [("vacuum", self.vacuum), ("log", self.log)];
        let short = spans.into_iter().filter(|(_, span)| span.is_some_and(|s| s.0 < LEAST_AGE));
        let problem = |(name, _): (&str, _)| {
            Problem::field(
                &format!("upkeep.{name}"),
                "what is younger than a day may still be needed by a commit to come",
            )
            .label("too short")
            .help("write `1d` or more")
        };
        short.map(problem).collect()
    }
}

impl Log {
    /// Does what is due now; says what was done.
    pub(crate) async fn upkeep(&mut self) -> Vec<String> {
        let mut done = Vec::new();
        let policy = self.target.config.upkeep.clone();
        let Ok((_, snapshot)) = self.current() else { return done };
        let version = snapshot.version();
        if policy
            .optimize
            .is_some_and(|most| snapshot.log_data().iter().filter(|f| f.size() < SMALL_BYTES).count() >= most)
        {
            done.extend(
                self.try_one("merge small files", "merged", "small file", async |table| {
                    optimize(table, TARGET_BYTES).await
                })
                .await,
            );
        }
        if version / policy.checkpoint > self.kept_up / policy.checkpoint {
            self.kept_up = version;
            done.extend(self.try_one("write a checkpoint", "wrote", "checkpoint", checkpoint).await);
            if let Some(Span(age)) = policy.log {
                let clean = async |table| clean_log(table, age).await;
                done.extend(self.try_one("delete old log entries", "deleted", "log entry", clean).await);
            }
            if let Some(Span(age)) = policy.vacuum {
                let vacuum = async |table| vacuum(table, age, false).await.map(|files| files.len());
                done.extend(self.try_one("vacuum", "deleted", "old file", vacuum).await);
            }
            self.reopen().await;
        }
        done
    }

    /// Begins anew at the checkpoint. A snapshot that is only ever updated carries every commit since it was opened, and
    /// each costs more than the one before: after 3,000 commits nine times as much as with this.
    async fn reopen(&mut self) {
        match self.target.place.load().await {
            Ok(Some(table)) => self.replace(table),
            Ok(None) => tracing::warn!(table = %self.target.place.shown(), "the table was gone after its upkeep"),
            // What is known is still right.
            Err(error) => tracing::warn!(%error, "the table could not be opened again after its upkeep"),
        }
    }

    /// Does one thing with the newest version, then looks at the log again. Says what it came to, such as "merged 3 small
    /// files".
    async fn try_one(
        &mut self,
        what: &str,
        verb: &str,
        noun: &str,
        work: impl AsyncFnOnce(DeltaTable) -> Result<usize, DeltaTableError>,
    ) -> Option<String> {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the table could not be read for its upkeep");
            return None;
        }
        let table = self.current().ok()?.0.clone();
        let done = match work(table).await {
            Ok(0) => None,
            Ok(1) => Some(format!("{verb} 1 {noun}")),
            Ok(count) => Some(format!("{verb} {count} {}", plural(noun))),
            Err(error) => {
                tracing::warn!(table = %self.target.place.shown(), %error, "upkeep of the table: could not {what}");
                None
            }
        };
        if let Some(done) = &done {
            tracing::info!(table = %self.target.place.shown(), "upkeep of the table: {done}");
        }
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the table could not be read after its upkeep");
        }
        done
    }
}

fn plural(noun: &str) -> String {
    noun.strip_suffix('y').map_or_else(|| format!("{noun}s"), |stem| format!("{stem}ies"))
}

/// Merges files that are smaller than this; returns how many were replaced.
pub(crate) async fn optimize(table: DeltaTable, size: usize) -> Result<usize, DeltaTableError> {
    let size = NonZeroU64::new(size as u64).unwrap_or(NonZeroU64::MIN);
    // One file at a time: memory.
    let (_, metrics) = keeping_its_log(&table).optimize().with_target_size(size).with_max_concurrent_tasks(1).await?;
    Ok(usize::try_from(metrics.num_files_removed).unwrap_or(usize::MAX))
}

/// Writes a checkpoint.
pub(crate) async fn checkpoint(table: DeltaTable) -> Result<usize, DeltaTableError> {
    checkpoints::create_checkpoint(&table, None).await.map(|()| 1)
}

/// Deletes entries of the log that a checkpoint contains and that are older; returns how many.
pub(crate) async fn clean_log(table: DeltaTable, age: Duration) -> Result<usize, DeltaTableError> {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let before = Utc::now().timestamp_millis().saturating_sub(age);
    let version = table.snapshot()?.version();
    checkpoints::cleanup_expired_logs_for(version, table.log_store().as_ref(), before, None).await
}

/// Deletes data files that no version has named for so long; returns which.
pub(crate) async fn vacuum(table: DeltaTable, age: Duration, dry_run: bool) -> Result<Vec<String>, DeltaTableError> {
    let age = chrono::Duration::from_std(age.max(LEAST_AGE)).unwrap_or(chrono::Duration::MAX);
    let vacuum = keeping_its_log(&table).vacuum().with_mode(VacuumMode::Full).with_retention_period(age);
    let (_, metrics) = vacuum.with_enforce_retention_duration(false).with_dry_run(dry_run).await?;
    Ok(metrics.files_deleted)
}

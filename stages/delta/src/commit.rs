//! Commits with an outcome that is known in the end.
//!
//! | answer | what may have happened | what is done |
//! |---|---|---|
//! | ok | committed | done |
//! | concurrent transaction | our own commit landed, or another instance's | read the log; whose it is decides, see below |
//! | metadata or protocol changed | the table was altered | read the log, try again |
//! | too many attempts, other conflict | others write | pause, start again from a fresh snapshot |
//! | anything else | unknown | read the log until it can be read, then decide by `txn` |
//!
//! Before every try, on the snapshot that it is made on: the lease is still ours; the table does not hold the epoch, since
//! deltalake commits it a second time without a word; and its columns are those of the plan, if anything that the table
//! says of itself is not as it was.
//!
//! Every commit says which run has made it, and the generation of its lease. An epoch that is in the table although this
//! run has not seen it succeed is
//!
//! | committed by | which means | what is done |
//! |---|---|---|
//! | this run | the answer was lost, or came after a later try had begun | done |
//! | an older generation | its owner was taken for dead, and had the same binding | done, and its rows count |
//! | a newer one | this run was taken for dead | stop |
//! | nobody knows | older commits, or a log that was cleaned | our files there: done; others: stop |
//!
//! Data files are never deleted here: a commit that is thought lost may have landed.

use std::time::Duration;

use alluvium_engine::Epoch;
use alluvium_engine::stage::{Commit, Committed, StageError};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Metadata, Protocol, Transaction};
use deltalake::protocol::{DeltaOperation, OutputMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTable, DeltaTableError, Path};
use futures::future;
use object_store::ObjectStoreExt;
use rand::Rng;
use tokio::sync::OnceCell;

use crate::epochs::{self, GENERATION, INSTANCE};
use crate::table::{Target, epoch_of};

/// Tries to commit one epoch, with pauses from 100 ms doubling up to 10 s: about a minute.
const TRIES: u32 = 12;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A table's log, for one writer.
pub(crate) struct Log {
    pub(crate) target: Target,
    open: Option<Open>,
    /// What the table said of itself when its columns were last held against the plan.
    agreed: Option<(Metadata, Protocol)>,
    /// The newest epoch that the table held when it was opened, or that was committed here since.
    known: Option<Epoch>,
    /// The version of the last upkeep.
    pub(crate) kept_up: u64,
}

/// A table as of its newest version that is known here.
struct Open {
    table: DeltaTable,
    /// The epoch that it holds, once somebody has asked: to find it, every commit since the last checkpoint is read.
    epoch: OnceCell<Option<Epoch>>,
}

/// The version that an epoch has become.
#[derive(Default)]
pub(crate) struct Version {
    pub(crate) number: u64,
    /// Tries before the one that made it.
    pub(crate) conflicts: u32,
    /// Made by an earlier owner, who was taken for dead.
    pub(crate) by_another: bool,
}

/// Commits that leave the log to the upkeep: work after a commit must not make one that landed look failed.
pub(crate) fn alone() -> CommitProperties {
    CommitProperties::default().with_create_checkpoint(false).with_cleanup_expired_logs(Some(false))
}

/// What a commit has done.
pub(crate) fn committed(version: &Version, rows: u64, actions: &[Action]) -> Committed {
    let sizes = actions.iter().filter_map(|a| if let Action::Add(add) = a { Some(add.size) } else { None });
    let (files, bytes) =
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + u64::try_from(size).unwrap_or(0)));
    let Version { number, conflicts, by_another } = *version;
    Committed { version: number, rows, files, bytes, conflicts: u64::from(conflicts), by_another }
}

impl Log {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, open: None, agreed: None, known: None, kept_up: 0 }
    }

    /// Opens or creates the table; which epoch does it hold?
    pub(crate) async fn open(&mut self) -> Result<Option<Epoch>, StageError> {
        let table = self.target.open_or_create().await?;
        self.replace(table);
        self.agree()?;
        self.kept_up = self.current()?.1.version();
        self.known = self.epoch().await?;
        Ok(self.known)
    }

    /// Goes on with the table as it was opened just now.
    pub(crate) fn replace(&mut self, table: DeltaTable) {
        self.open = Some(Open { table, epoch: OnceCell::new() });
    }

    fn opened(&self) -> Result<&Open, StageError> {
        self.open.as_ref().ok_or_else(|| StageError::internal("the table is not open"))
    }

    /// The table and its newest snapshot that is known here.
    pub(crate) fn current(&self) -> Result<(&DeltaTable, &DeltaTableState), StageError> {
        let table = &self.opened()?.table;
        Ok((table, table.snapshot().map_err(|e| self.target.place.failed("read", e))?))
    }

    /// Reads the log anew.
    pub(crate) async fn refresh(&mut self) -> Result<(), StageError> {
        let mut table = self.current()?.0.clone();
        table.update_incremental(None).await.map_err(|e| self.target.place.failed("read", e))?;
        self.replace(table);
        Ok(())
    }

    /// The epoch that the table holds.
    async fn epoch(&self) -> Result<Option<Epoch>, StageError> {
        let (Open { epoch, .. }, (table, snapshot)) = (self.opened()?, self.current()?);
        let read = || epoch_of(&self.target.place, &self.target.app, table, snapshot);
        epoch.get_or_try_init(read).await.copied()
    }

    /// The newest version, if the table is known to hold the epoch: then that is computed again for other tables.
    pub(crate) fn known(&self, epoch: Epoch) -> Result<Option<u64>, StageError> {
        let held = self.known.is_some_and(|known| known >= epoch);
        Ok(if held { Some(self.current()?.1.version()) } else { None })
    }

    /// That the files of an epoch are still there: another program that cleans the table may have taken them for
    /// leftovers, and a commit would name files that nobody can read.
    pub(crate) async fn all_there(&self, actions: &[Action]) -> Result<(), StageError> {
        let store = self.current()?.0.object_store();
        let adds = actions.iter().filter_map(|a| if let Action::Add(add) = a { Some(add.path.as_str()) } else { None });
        let looks = adds.map(|path| {
            let store = store.clone();
            async move {
                let there = async { store.head(&Path::parse(path)?).await };
                there.await.map(|_| ()).map_err(|e| {
                    StageError::external("a data file that was written for this epoch cannot be found")
                        .object(format!("{}/{path}", self.target.place.shown()))
                        .hint(
                            "was the table vacuumed with a retention of less than a day? Run again: it is written anew",
                        )
                        .because(e)
                })
            }
        });
        future::try_join_all(looks).await.map(|_| ())
    }

    /// Commits an epoch that is not held yet, by actions that do not depend on what the table holds. The same actions are
    /// tried until their fate is known.
    pub(crate) async fn append(&mut self, commit: &Commit, actions: &[Action]) -> Result<Version, StageError> {
        let mut last = None;
        for attempt in 0..TRIES {
            if let Some(landed) = self.ready(commit, actions).await? {
                return Ok(Version { conflicts: attempt, ..landed });
            }
            match self.once(commit, actions.to_vec(), 15).await {
                Ok(number) => return Ok(Version { number, conflicts: attempt, by_another: false }),
                Err(error) => self.judge(error, attempt, &mut last).await?,
            }
        }
        match self.landed(commit, actions).await? {
            Some(landed) => Ok(Version { conflicts: TRIES, ..landed }),
            None => Err(self.given_up(last)),
        }
    }

    /// Makes sure that a try may be made on the snapshot at hand, or gives the version that holds the epoch already.
    pub(crate) async fn ready(&mut self, commit: &Commit, actions: &[Action]) -> Result<Option<Version>, StageError> {
        commit.fence.verify().await?;
        loop {
            let landed = self.landed(commit, actions).await?;
            if landed.is_some() || !self.reconcile().await? {
                return Ok(landed);
            }
        }
    }

    /// One try on the snapshot at hand. `retries`: how often deltalake may rebase; none when files are removed, as it
    /// does not notice that another writer has replaced them.
    pub(crate) async fn once(
        &mut self,
        commit: &Commit,
        actions: Vec<Action>,
        retries: usize,
    ) -> Result<u64, DeltaTableError> {
        let Some(open) = self.open.as_mut() else { return Err(DeltaTableError::NotInitialized) };
        let removes = actions.iter().any(|a| matches!(a, Action::Remove(_)));
        let epoch = i64::try_from(commit.epoch).unwrap_or(i64::MAX);
        let mut metadata: Vec<(String, serde_json::Value)> =
            commit.metadata.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect();
        metadata.push(("epoch".into(), epoch.into()));
        metadata.push(("isBlindAppend".into(), (!removes).into()));
        if !commit.instance.is_empty() {
            metadata.push((INSTANCE.into(), commit.instance.clone().into()));
            metadata.push((GENERATION.into(), commit.generation.into()));
        }
        let properties = alone()
            .with_application_transaction(Transaction::new(&self.target.app, epoch))
            .with_max_retries(retries)
            .with_metadata(metadata);
        let operation = DeltaOperation::StreamingUpdate {
            output_mode: if removes { OutputMode::Update } else { OutputMode::Append },
            query_id: self.target.app.clone(),
            epoch_id: epoch,
        };
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(open.table.snapshot()?), open.table.log_store(), operation)
            .await?;
        // Nobody has committed another epoch of ours in between: deltalake takes that for a conflict.
        open.epoch = OnceCell::new_with(Some(Some(commit.epoch)));
        self.known = Some(commit.epoch);
        open.table.state = Some(done.snapshot());
        Ok(done.version())
    }

    /// The version that holds the epoch, or a later one, if the table does; see above for whose it may be.
    pub(crate) async fn landed(&self, commit: &Commit, actions: &[Action]) -> Result<Option<Version>, StageError> {
        let epoch = commit.epoch;
        if self.epoch().await?.is_none_or(|held| held < epoch) {
            return Ok(None);
        }
        let version = self.current()?.1.version();
        let owner = match commit.instance.is_empty() {
            true => None,
            false => epochs::owner(&self.target.place, &self.target.app, version).await?,
        };
        let Some(owner) = owner else { return self.landed_by_files(epoch, actions).map(Some) };
        let by_another = owner.instance != commit.instance;
        if by_another && owner.generation >= commit.generation {
            return Err(self.another_runs(epoch));
        }
        if by_another {
            tracing::warn!(
                table = %self.target.place.shown(),
                epoch,
                instance = owner.instance,
                "an instance that was taken for dead has committed the epoch; its rows are the same and stay"
            );
        }
        Ok(Some(Version { number: owner.version, conflicts: 0, by_another }))
    }

    /// Whether our files are in the log. An epoch that is there with other files belongs to another instance.
    fn landed_by_files(&self, epoch: Epoch, actions: &[Action]) -> Result<Version, StageError> {
        let ours = actions.iter().find_map(|a| if let Action::Add(add) = a { Some(add.path.as_str()) } else { None });
        let (_, snapshot) = self.current()?;
        let there = |path: &str| snapshot.log_data().iter().any(|f| f.path() == path);
        match ours {
            Some(path) if !there(path) => Err(self.another_runs(epoch)),
            _ => Ok(Version { number: snapshot.version(), ..Version::default() }),
        }
    }

    fn another_runs(&self, epoch: Epoch) -> StageError {
        StageError::user(format!("another instance of this pipeline is running: it has committed epoch {epoch}"))
            .object(self.target.place.shown())
            .hint("let one instance of a pipeline run at a time; this one has stopped and has lost nothing")
    }

    /// After a failed try: waits, and reads the log until it can be read.
    pub(crate) async fn judge(
        &mut self,
        error: DeltaTableError,
        attempt: u32,
        last: &mut Option<DeltaTableError>,
    ) -> Result<(), StageError> {
        tracing::warn!(table = %self.target.place.shown(), %error, attempt, "a commit did not succeed; looking at the log");
        let mut reread = self.refresh().await;
        let mut pause = Duration::from_millis(100);
        for _ in attempt..TRIES {
            if reread.is_ok() {
                break;
            }
            wait(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            reread = self.refresh().await;
        }
        reread?;
        wait((Duration::from_millis(50) * 2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE)).await;
        *last = Some(error);
        Ok(())
    }

    pub(crate) fn given_up(&self, last: Option<DeltaTableError>) -> StageError {
        let error = StageError::external("the epoch could not be committed").object(self.target.place.shown());
        let error = error.hint("run again when the cause is gone: nothing is lost, and nothing is written twice");
        match last {
            Some(cause) => error.because(cause),
            None => error,
        }
    }

    /// Holds the table's columns against the plan once more, if the table says anything else of itself than it did, whoever
    /// has seen it first. True if it did: then the snapshot may be another one.
    async fn reconcile(&mut self) -> Result<bool, StageError> {
        let (_, snapshot) = self.current()?;
        let said = (snapshot.metadata(), snapshot.protocol());
        if self.agreed.as_ref().is_some_and(|(metadata, protocol)| said == (metadata, protocol)) {
            return Ok(false);
        }
        let table = self.current()?.0.clone();
        self.replace(self.target.fit(table).await?);
        self.agree()?;
        Ok(true)
    }

    fn agree(&mut self) -> Result<(), StageError> {
        let (_, snapshot) = self.current()?;
        self.agreed = Some((snapshot.metadata().clone(), snapshot.protocol().clone()));
        Ok(())
    }
}

/// Waits with jitter, so that writers that collide do not collide again.
async fn wait(pause: Duration) {
    let jitter = rand::rng().random_range(0.5..1.5);
    tokio::time::sleep(pause.mul_f64(jitter)).await;
}

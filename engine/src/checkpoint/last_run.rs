//! How the last run of a pipeline has ended, for whoever asks when none is running.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::records::Records;
use super::{lease, store};
use crate::Epoch;
use crate::plan::Plan;
use crate::progress::FaultStatus;
use crate::stage::StageError;

const RECORD: &str = "last_run.json";

/// A run that has ended by itself: one that was killed leaves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Identifies it.
    pub run_id: String,
    /// When it has ended.
    pub ended: DateTime<Utc>,
    /// Why, if it has failed.
    pub fault: Option<FaultStatus>,
}

/// What a pipeline's state says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Who has the lease: the process that runs, or one that was killed.
    pub holder: Option<String>,
    /// The newest complete epoch.
    pub epoch: Option<Epoch>,
    /// When the last table got it.
    pub finished: Option<DateTime<Utc>>,
    /// How the last run has ended.
    pub last_run: Option<LastRun>,
}

/// What a pipeline's state says of it. Needs no lease.
///
/// # Errors
/// When the state cannot be read.
pub async fn standing(plan: &Plan) -> Result<Standing, StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    let completion = store::newest_completion(&records).await?;
    Ok(Standing {
        holder: lease::holder(&records).await?,
        epoch: completion.as_ref().map(|c| c.epoch),
        finished: completion.map(|c| c.finished),
        last_run: last_run(&records).await?,
    })
}

/// How the last run has ended.
pub(crate) async fn last_run(records: &Records) -> Result<Option<LastRun>, StageError> {
    records.read_if_there(&records.path(RECORD)).await
}

/// Notes how a run has ended. To be called by the owner of the lease.
pub(crate) async fn note_end(records: &Records, run: &LastRun) -> Result<(), StageError> {
    records.put(&records.path(RECORD), run).await
}

//! What stages found out when they resolved: recorded by the first run, the same ever after.

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use super::records::{Created, Records};
use crate::plan::{Plan, PlannedStage};
use crate::stage::{Resolved, StageError};
use crate::storage::Storage;

/// The newest record of a stage.
pub(crate) async fn newest(storage: &Storage, state: &str, stage: &str) -> Result<Option<Resolved>, StageError> {
    let records = Records::new(storage.open(state)?);
    let folder = records.path("resolved").join(stage);
    let found = records.location().store.list(Some(&folder)).map_ok(|meta| generation(&meta.location));
    let found: Vec<_> = found.try_collect().await.map_err(|e| records.unreachable("list", &folder, e))?;
    let Some(generation) = found.into_iter().flatten().max() else { return Ok(None) };
    let value = records.read(&path(&records, stage, generation)).await?;
    Ok(Some(Resolved { generation, value }))
}

/// Records what the plan was made with, unless that is recorded already; gives the stages for which it was not.
///
/// # Errors
/// Another run was quicker and has recorded something else: this plan is not the pipeline's.
pub(crate) async fn freeze<'p>(
    records: &Records,
    plan: &'p Plan,
) -> Result<Vec<&'p PlannedStage>, (String, StageError)> {
    let mut new = Vec::new();
    for stage in &plan.stages {
        let Some(resolved) = &stage.outputs.resolved else { continue };
        let failed = |error| (stage.name.clone(), error);
        let path = path(records, &stage.name, resolved.generation);
        let theirs: serde_json::Value = match records.read_if_there(&path).await.map_err(failed)? {
            Some(theirs) => theirs,
            None => match records.create(&path, &resolved.value).await.map_err(failed)? {
                Created::Theirs(bytes) => records.decode(&path, &bytes).map_err(failed)?,
                Created::Ours => {
                    new.push(stage);
                    continue;
                }
            },
        };
        if theirs != resolved.value {
            let error = StageError::user("another run of this pipeline has recorded something else in the meantime");
            return Err(failed(error.object(format!("{}/{path}", records.location().root)).hint("run again")));
        }
    }
    Ok(new)
}

/// Records what a stage found out while it ran. It needs no lease: a generation can be created once only, and whoever
/// is second goes on with what is there.
///
/// # Errors
/// When the state cannot be written.
pub async fn resolve_anew(plan: &Plan, stage: &str, resolved: &Resolved) -> Result<(), StageError> {
    let records = Records::new(plan.storage.open(&plan.state)?);
    records.create(&path(&records, stage, resolved.generation), &resolved.value).await.map(|_| ())
}

fn path(records: &Records, stage: &str, generation: u64) -> Path {
    records.path("resolved").join(stage).join(format!("{generation:020}.json"))
}

fn generation(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json")?.parse().ok()
}

//! A plan held against the state of earlier runs.

use std::fmt::Write;

use super::archive::Archive;
use super::{Records, store};
use crate::plan::Plan;
use crate::secret::public_url;
use crate::stage::StageError;

const REFUSED: &str =
    "must see the input from its beginning; a run refuses to go on, `alluvium refresh --stage` computes it from there";

/// What a run of the plan would make of the state that lies there, stage by stage, for a person. Only reads.
///
/// # Errors
/// The state cannot be read.
pub async fn compare(plan: &Plan, state: &str) -> Result<String, StageError> {
    let records = Records::new(plan.storage.open(state)?);
    let archive = Archive::open(&records).await?;
    let (_, completed) = store::recent(&records, archive.upto()).await?;
    let mut out = String::new();
    let Some(completed) = completed else {
        let _ = writeln!(
            out,
            "\nagainst {}: no epoch is complete there, every stage begins with nothing",
            public_url(state)
        );
        return Ok(out);
    };
    let _ = writeln!(out, "\nagainst {}, complete up to epoch {}", public_url(state), completed.epoch);
    let kept = plan.stages.iter().filter_map(|s| Some((&s.name, s.outputs.state.as_ref()?)));
    let width = plan.stages.iter().map(|s| s.name.len()).chain(completed.state.keys().map(String::len)).max();
    let width = width.unwrap_or(0);
    let mut any = false;
    for (name, schema) in kept {
        any = true;
        let told = match completed.state.get(name) {
            None => format!("rebuild: new, and {REFUSED}"),
            Some(manifest) if manifest.fingerprint == schema.fingerprint => {
                let rows: u64 = manifest.files.iter().map(|f| f.rows).sum();
                format!("keeps its state: {rows} rows in {} files", manifest.files.len())
            }
            Some(_) => format!("rebuild: changed, so that its state does not fit, and {REFUSED}"),
        };
        let _ = writeln!(out, "  {name:<width$}  {told}");
    }
    let has = |name: &str| plan.stages.iter().any(|s| s.name == name && s.outputs.state.is_some());
    for name in completed.state.keys().filter(|name| !has(name)) {
        any = true;
        let _ =
            writeln!(out, "  {name:<width$}  drop: not in the spec any more, its state is let go with the next epoch");
    }
    if !any {
        let _ = writeln!(out, "  no stage keeps state");
    }
    Ok(out)
}

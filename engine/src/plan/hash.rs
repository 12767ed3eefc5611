//! What identifies a plan.

use sha2::{Digest, Sha256};

use super::PlannedStage;
use super::keys::own_config;
use crate::secret;
use crate::spec::StageSpec;

/// Over everything that decides which rows come out.
pub(super) fn plan<'a>(pipeline: &str, stages: impl Iterator<Item = (&'a StageSpec, &'a PlannedStage)>) -> String {
    let mut parts = vec![pipeline.to_owned()];
    for (spec, stage) in stages {
        parts.extend([stage.name.clone(), stage.kind.clone()]);
        parts.extend(spec.inputs.iter().map(|i| i.text()));
        parts.push(own_config(spec).to_string());
        parts.extend(stage.outputs.resolved.iter().map(|r| r.value.to_string()));
        parts.extend(stage.outputs.lineage.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
    }
    of(parts.iter().map(String::as_str))
}

/// A hash of texts, without the secrets in them: it stays the same when a password is changed, and says nothing of it.
pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        let text = secret::redact(part);
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect()
}

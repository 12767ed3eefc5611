//! How arrangements are kept, for all operators of a worker.

use std::sync::Arc;

use differential_dataflow::trace::ExertionLogic;
use timely::WorkerConfig;

/// Records of a merge that an arrangement goes through before others get to run: some milliseconds.
const MERGED_AT_ONCE: usize = 1 << 14;

/// Has arrangements go on with their merges. Differential begins one when a batch comes, and goes on with it when the next
/// one does; until then what is merged is there twice. It is the same work to do it at once.
pub fn merge_at_once(workers: &mut WorkerConfig) {
    // Layers are told as index, number of batches, length; two batches of one are being merged.
    let logic: ExertionLogic =
        Arc::new(|layers| layers.iter().any(|(_, batches, _)| *batches > 1).then_some(MERGED_AT_ONCE));
    workers.set("differential/default_exert_logic".to_owned(), logic);
}

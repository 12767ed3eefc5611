//! Named points where a test can kill the process, in debug builds only.
//!
//! `ALLUVIUM_FAILPOINT=after-commit:gold@2` kills the process with SIGKILL when the commit of `gold` for epoch 2 has
//! been made: the real thing, with nothing flushed and no destructor run.

use crate::Epoch;

/// Dies here if the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn hit(point: &str, epoch: Epoch) {
    use std::sync::LazyLock;
    static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ALLUVIUM_FAILPOINT").ok());
    if WANTED.as_deref() == Some(&format!("{point}@{epoch}")) {
        // Nothing may happen after this line, so an error is waited out as well.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing in release builds.
#[cfg(not(debug_assertions))]
pub(crate) fn hit(_point: &str, _epoch: Epoch) {}

//! Named points where a test can kill or stop the process, in debug builds only.
//!
//! `ALLUVIUM_FAILPOINT=after-commit:gold@2` kills the process with SIGKILL when the commit of `gold` for epoch 2 has
//! been made: the real thing, with nothing flushed and no destructor run. `stop:after-commit:gold@2` stops it there with
//! SIGSTOP instead, until the test lets it go on.

use crate::Epoch;

/// Dies or stands still here if the environment says so.
#[cfg(debug_assertions)]
pub(crate) fn hit(point: &str, epoch: Epoch) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::LazyLock;
    static WANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ALLUVIUM_FAILPOINT").ok());
    let Some(wanted) = WANTED.as_deref() else { return };
    let here = format!("{point}@{epoch}");
    if wanted.strip_prefix("stop:") == Some(&here) {
        let _ = kill_process(getpid(), Signal::STOP);
    } else if wanted == here {
        // Nothing may happen after this line, so an error is waited out as well.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Nothing in release builds.
#[cfg(not(debug_assertions))]
pub(crate) fn hit(_point: &str, _epoch: Epoch) {}

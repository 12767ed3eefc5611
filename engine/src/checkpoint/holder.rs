//! Which process an instance is, so that the next one can tell whether it is still there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process, by what the machine says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    host: String,
    pid: u32,
    /// Clock ticks from the machine's start to the process's: process numbers are used again.
    started: Option<u64>,
    /// The machine's start and the space of process numbers: within one, a number means one process.
    place: Option<String>,
    /// The address of a process of a cluster. There is one process at an address, so its next one replaces it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl Holder {
    /// This process.
    pub(crate) fn this(address: Option<String>) -> Self {
        let pid = std::process::id();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { host, pid, started: started(pid), place: place(), address }
    }

    /// Whether it certainly is not there any more, as far as the process `me` can tell.
    pub(crate) fn is_gone(&self, me: &Self) -> bool {
        let same_place = self.place.is_some() && self.place == me.place;
        if same_place {
            return self.started.is_some() && started(self.pid) != self.started;
        }
        // A container or a machine that was started anew has the same address.
        self.address.is_some() && self.address == me.address
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// Field 22 of /proc/PID/stat; the second field is a name in parentheses that may contain anything.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn place() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), space.display()))
}

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
    /// The address of a process of a cluster.
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
        self.is_beside(me) && self.started.is_some() && started(self.pid) != self.started
    }

    /// Whether `me` is probably its next start: a container or a machine that was started anew has the same address. So may
    /// another cluster have, on other machines, which lives.
    pub(crate) fn is_replaced_by(&self, me: &Self) -> bool {
        !self.is_beside(me) && self.address.is_some() && self.address == me.address
    }

    fn is_beside(&self, me: &Self) -> bool {
        self.place.is_some() && self.place == me.place
    }

    /// A process of a cluster, on another machine.
    #[cfg(test)]
    pub(super) fn on(machine: &str, address: &str) -> Self {
        Self { host: machine.into(), place: Some(machine.into()), ..Self::this(Some(address.into())) }
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

//! Many processes, one dataflow: they find each other, check each other, and watch each other.
//!
//! ```text
//!   hosts      who there is, from a file, a list, or a pattern
//!   listener   where a process listens
//!   build      which build of the program it runs
//!   handshake  what two processes prove to each other before they take each other seriously
//!   mesh       a checked pair of connections between every two processes: one for Timely, one for control
//!   control    what processes tell each other while they run: start, progress, drain, faults, the end
//!   voice      how they tell it
//!   watch      beats, and what is done when they stop
//!   network    Timely over the connections
//! ```
//!
//! Process 0 leads: it alone has the lease, mints epochs, and commits; it tells the others where to begin. A process
//! that fails or vanishes ends all of them: what was open is replayed when they are started again.

mod build;
mod control;
mod handshake;
mod hosts;
mod listener;
mod mesh;
mod network;
mod voice;
mod watch;

pub(crate) use build::build;
pub(crate) use control::Start;
pub(crate) use handshake::Facts;
pub use hosts::{Hosts, process_number};
pub(crate) use network::{Builders, Network, is_broken_connection};
pub(crate) use watch::Cluster;

use std::fmt;
use std::time::Duration;

use crate::stage::{Fault, StageError};
use crate::storage::Finding;

/// What a process must know to be one of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Where each process listens; the same order in every process.
    pub hosts: Hosts,
    /// Which of them this process is.
    pub process: usize,
    /// What they all know and nobody else does.
    pub secret: ClusterSecret,
    /// So long they wait for each other before a run.
    pub wait: Duration,
}

/// Proves that a process belongs to the cluster. Never shown.
#[derive(Clone)]
pub struct ClusterSecret(Vec<u8>);

impl ClusterSecret {
    /// Fewer bytes could be guessed by whoever listens to a handshake.
    const SHORTEST: usize = 16;

    /// A secret.
    ///
    /// # Errors
    /// One that is too short.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.len() < Self::SHORTEST {
            return Err(format!(
                "the cluster's secret has {} bytes, {} are the least; make one with `openssl rand -hex 32`",
                text.len(),
                Self::SHORTEST
            ));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret")
    }
}

impl ClusterOptions {
    /// A process as messages name it.
    fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.hosts.address(process))
    }

    /// Tries what a run needs: this process's port, and the names of the others.
    pub(crate) async fn examine(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for process in 0..self.hosts.count() {
            let address = self.hosts.address(process);
            let tried = if process == self.process {
                listener::listen(address).map(|_| "can be listened on".to_owned())
            } else {
                tokio::net::lookup_host(address).await.map(|mut all| {
                    let first = all.next().map(|a| a.to_string()).unwrap_or_default();
                    format!("is known as {first}")
                })
            };
            let outcome = tried.map_err(|e| format!("{e}; check the list of hosts and `--process`"));
            found.push(Finding { what: self.name(process), outcome });
        }
        found
    }
}

fn fault(error: StageError) -> Fault {
    Fault { stage: "cluster".into(), epoch: None, error }
}

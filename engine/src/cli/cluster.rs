//! Which processes there are, and which one this is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{USAGE, say_error};
use crate::cluster::{ClusterOptions, ClusterSecret, Hosts, process_number};
use crate::secret;

/// The secret itself, or the file that it is in; not arguments, which everybody on a machine can see.
const SECRET: &str = "ALLUVIUM_CLUSTER_SECRET";
const SECRET_FILE: &str = "ALLUVIUM_CLUSTER_SECRET_FILE";

#[derive(Args, Debug, Clone)]
pub(super) struct ClusterArguments {
    /// The processes of a cluster: a file with one `host:port` a line, or the list itself, separated by commas; `{0..2}`
    /// stands for each number of a range. All need the same secret in ALLUVIUM_CLUSTER_SECRET, or in the file that
    /// ALLUVIUM_CLUSTER_SECRET_FILE names.
    #[arg(long, value_name = "HOSTS", env = "ALLUVIUM_HOSTS", requires = "process")]
    hosts: Option<String>,
    /// Which of them this process is: a number from 0, or a name that ends in one, such as `tweets-2`.
    #[arg(long, value_name = "I", env = "ALLUVIUM_PROCESS", value_parser = process_number, requires = "hosts")]
    process: Option<usize>,
    /// How long they wait for each other before the run, such as `90s` or `10m`.
    #[arg(long, default_value = "60s", value_name = "TIME", env = "ALLUVIUM_WAIT", value_parser = wait)]
    wait: Duration,
}

/// Who waits longer has given up looking.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

fn wait(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(wait) if wait <= LONGEST_WAIT => Ok(wait),
        Ok(_) => Err("24h is the longest".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl ClusterArguments {
    /// The cluster, if there is one; a list of one process is none.
    ///
    /// # Errors
    /// The exit code, after it was said what is wrong.
    pub(super) fn options(&self) -> Result<Option<ClusterOptions>, u8> {
        let (Some(hosts), Some(process)) = (&self.hosts, self.process) else { return Ok(None) };
        let wrong = |what: String| {
            say_error(&format!("error: {what}\n"));
            USAGE
        };
        let hosts = Hosts::parse(hosts).map_err(|e| wrong(format!("--hosts: {e}")))?;
        if process >= hosts.count() {
            let count = hosts.count();
            return Err(wrong(format!(
                "--process {process}: there are {count} processes in the list of hosts, 0 to {}",
                count - 1
            )));
        }
        if hosts.count() == 1 {
            return Ok(None);
        }
        let secret = read_secret().map_err(wrong)?;
        Ok(Some(ClusterOptions { hosts, process, secret, wait: self.wait }))
    }
}

fn read_secret() -> Result<ClusterSecret, String> {
    let text = match (std::env::var(SECRET), std::env::var_os(SECRET_FILE)) {
        (Ok(text), _) => text,
        (Err(_), Some(file)) => {
            let file = PathBuf::from(file);
            std::fs::read_to_string(&file)
                .map_err(|e| format!("{SECRET_FILE}: {} cannot be read: {e}", file.display()))?
        }
        (Err(_), None) => {
            return Err(format!(
                "a cluster needs a secret that all its processes know: set {SECRET} or {SECRET_FILE}; \
                 `openssl rand -hex 32` makes one"
            ));
        }
    };
    secret::learn(SECRET, text.trim_end());
    ClusterSecret::new(&text)
}

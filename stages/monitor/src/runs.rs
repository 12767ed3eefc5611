//! Which pipelines run on this machine: a folder with a file and a socket for each process, for its user alone.
//!
//! ```text
//! $ALLUVIUM_RUN_DIR, $XDG_RUNTIME_DIR/alluvium or /tmp/alluvium-UID
//!   PID.json   the pipeline, where its state is, since when
//!   PID.sock   HTTP, as in API.md
//! ```

use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use alluvium_engine::plan::Plan;
use serde::{Deserialize, Serialize};

/// A process that runs a pipeline, or did.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) pid: u32,
    /// See [`begun`].
    pub(crate) begun: u64,
    pub(crate) pipeline: String,
    /// Identifies the pipeline: where its state is, as an absolute URL.
    pub(crate) state: String,
    pub(crate) spec: PathBuf,
    /// Since when, in RFC 3339.
    pub(crate) started: String,
    /// Where it serves HTTP besides its socket.
    pub(crate) http: Option<String>,
}

/// A process's files, until it ends.
pub(crate) struct Registered {
    pub(crate) socket: PathBuf,
    file: PathBuf,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // What stays is found to be of a process that is gone.
        let _ = std::fs::remove_file(&self.file);
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The folder, made if it is not there.
///
/// # Errors
/// It cannot be made, or belongs to somebody else.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let user = rustix::process::geteuid().as_raw();
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = set("ALLUVIUM_RUN_DIR")
        .or_else(|| set("XDG_RUNTIME_DIR").map(|d| d.join("alluvium")))
        .unwrap_or_else(|| std::env::temp_dir().join(format!("alluvium-{user}")));
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
    let about = std::fs::symlink_metadata(&folder).map_err(failed)?;
    if !about.is_dir() || about.uid() != user {
        return Err(format!("{} belongs to another user; set ALLUVIUM_RUN_DIR", folder.display()));
    }
    if about.mode() & 0o077 != 0 {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(folder)
}

/// Identifies a pipeline on this machine and on others.
pub(crate) fn identity(plan: &Plan) -> String {
    plan.storage.open(&plan.state).map_or_else(|_| plan.state.clone(), |l| format!("{}/{}", l.root, l.path))
}

/// Names this process's files. The socket is not there yet.
pub(crate) fn register(record: &Record) -> Result<Registered, String> {
    let folder = folder()?;
    let file = folder.join(format!("{}.json", record.pid));
    let registered = Registered { socket: folder.join(format!("{}.sock", record.pid)), file };
    // A process that had this number before may have left one.
    let _ = std::fs::remove_file(&registered.socket);
    let json = serde_json::to_vec(record).map_err(|e| e.to_string())?;
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&registered.file);
    opened
        .and_then(|mut file| std::io::Write::write_all(&mut file, &json))
        .map_err(|e| format!("{}: {e}", registered.file.display()))?;
    Ok(registered)
}

/// All processes that run, oldest first, with their sockets. What processes have left that are gone is removed.
pub(crate) fn all() -> Result<Vec<(Record, PathBuf)>, String> {
    let folder = folder()?;
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut found = Vec::new();
    for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")) {
        let Some(record) = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Record>(&b).ok()) else {
            continue;
        };
        let socket = path.with_extension("sock");
        if record.lives() {
            found.push((record, socket));
        } else {
            drop(Registered { socket, file: path });
        }
    }
    found.sort_by(|(a, _), (b, _)| (&a.started, a.pid).cmp(&(&b.started, b.pid)));
    Ok(found)
}

impl Record {
    /// Whether the process is still there: not another one with its number, and not one that has ended and that nobody
    /// has asked how.
    pub(crate) fn lives(&self) -> bool {
        begun(self.pid).is_some_and(|begun| begun == self.begun)
    }
}

/// When a process began, in clock ticks since the machine did: fields 3 and 22 of /proc/PID/stat, whose second field is a
/// name in parentheses that may contain anything. Nothing if it has ended.
pub(crate) fn begun(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

/// The spec as others find it.
pub(crate) fn absolute(spec: &Path) -> PathBuf {
    std::path::absolute(spec).unwrap_or_else(|_| spec.to_owned())
}

//! URLs to object stores: one way for sources, tables, models and state.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};
use std::sync::{Arc, LazyLock};

use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, parse_url_opts};
use url::Url;

use crate::secret;
use crate::stage::StageError;

/// `memory:///…` is one store per process; for tests and demos.
static MEMORY: LazyLock<Arc<InMemory>> = LazyLock::new(|| Arc::new(InMemory::new()));

/// Opens URLs with the options of the spec and the environment's `AWS_…` variables.
#[derive(Debug, Clone, Default)]
pub struct Storage {
    options: Arc<BTreeMap<String, String>>,
}

/// A place in an object store.
#[derive(Debug, Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The place in it.
    pub path: Path,
    /// The URL of the store's root without secrets, so that `root + "/" + path` is an object's URL.
    pub root: String,
}

impl Storage {
    /// Options win over the environment.
    pub fn new(options: BTreeMap<String, String>) -> Self {
        let mut all: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .filter(|(k, _)| k.starts_with("AWS_"))
            .map(|(k, v)| (k.to_ascii_lowercase(), v))
            .collect();
        all.extend(options.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)));
        for (name, value) in &all {
            secret::learn(name, value);
        }
        Self { options: Arc::new(all) }
    }

    /// Name and value of every option.
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// Opens a URL or a local path. Does no I/O.
    ///
    /// # Errors
    /// A scheme that is not known, or options that do not fit.
    pub fn open(&self, url: &str) -> Result<Location, StageError> {
        let parsed = absolute(url)?;
        secret::learn_url(url);
        let refuse = |e: object_store::Error| {
            StageError::user(format!("`{}` cannot be opened", secret::public_url(url)))
                .hint("known are local paths and s3:// URLs; options come from `storage:` and from AWS_… variables")
                .because(e)
        };
        match parsed.scheme() {
            "file" => {
                let path = Path::from_url_path(parsed.path()).map_err(|e| refuse(e.into()))?;
                Ok(Location { store: Arc::new(LocalFileSystem::new()), path, root: "file://".into() })
            }
            "memory" => {
                let path = Path::from_url_path(parsed.path()).map_err(|e| refuse(e.into()))?;
                Ok(Location { store: MEMORY.clone(), path, root: "memory://".into() })
            }
            scheme => {
                let (store, path) = parse_url_opts(&parsed, self.options.iter()).map_err(refuse)?;
                let host = parsed.host_str().unwrap_or_default();
                Ok(Location { store: Arc::from(store), path, root: format!("{scheme}://{host}") })
            }
        }
    }
}

/// A URL of what may be a local path, relative to the current directory.
///
/// # Errors
/// A path that cannot be made absolute.
pub fn absolute(url: &str) -> Result<Url, StageError> {
    if let Ok(parsed) = Url::parse(url)
        && url.contains("://")
    {
        return Ok(parsed);
    }
    let bad = || StageError::user(format!("`{url}` is neither a URL nor a path"));
    let path = std::path::absolute(url).map_err(|e| bad().because(e))?;
    // Only lexically: the directory need not exist yet.
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    Url::from_file_path(clean).map_err(|()| bad())
}

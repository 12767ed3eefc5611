//! URLs to object stores: one way for sources, tables, models and state.

mod list;
mod probe;
mod read_on;

pub use probe::Finding;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme, PutMode, PutOptions, PutPayload, RetryConfig, parse_url_opts};
use url::Url;

use crate::secret;
use crate::stage::StageError;

/// A store that does not answer is tried for three minutes, however often that is; the options that deltalake knows too.
const PATIENCE: [(&str, &str); 2] = [("max_retries", "1000"), ("retry_timeout", "180s")];

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
        for (name, value) in PATIENCE {
            all.insert(name.into(), value.into());
        }
        all.extend(options.into_iter().map(|(k, v)| (k.to_ascii_lowercase(), v)));
        for (name, value) in &all {
            secret::learn(name, value);
        }
        Self { options: Arc::new(all) }
    }

    /// The same, but a store that does not answer is given up after some seconds: for whoever asks whether it answers.
    #[must_use]
    pub fn impatient(&self) -> Self {
        let mut options = self.options.as_ref().clone();
        options.extend([("max_retries".into(), "2".into()), ("retry_timeout".into(), "5s".into())]);
        Self { options: Arc::new(options) }
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
                let root = format!("{scheme}://{}", parsed.host_str().unwrap_or_default());
                let (store, path) = match ObjectStoreScheme::parse(&parsed).map_err(|e| refuse(e.into()))? {
                    (ObjectStoreScheme::AmazonS3, path) => (self.s3(&parsed).map_err(refuse)?, path),
                    _ => {
                        let (store, path) = parse_url_opts(&parsed, self.options.iter()).map_err(refuse)?;
                        (Arc::from(store), path)
                    }
                };
                Ok(Location { store, path, root })
            }
        }
    }
}

/// Tries of [`write`], with a pause that doubles from 200 ms. The client itself waits out a store that does not answer.
const TRIES: u32 = 6;

/// Writes an object whose name is its writer's own, so that writing it once more does no harm: until it is there.
///
/// # Errors
/// The last of several.
pub async fn write(
    store: &Arc<dyn ObjectStore>,
    path: &Path,
    bytes: impl Into<PutPayload>,
) -> object_store::Result<()> {
    let bytes = bytes.into();
    let mut pause = Duration::from_millis(200);
    for attempt in 1.. {
        let put = store.put_opts(path, bytes.clone(), PutOptions::from(PutMode::Overwrite)).await;
        match put {
            Ok(_) => return Ok(()),
            Err(error) if attempt < TRIES && may_pass(&error) => {
                tracing::warn!(%path, %error, "an object could not be written; trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the same request may succeed later. A disk that is full is for a person to look at, and to hear of at once.
pub(crate) fn may_pass(error: &object_store::Error) -> bool {
    use object_store::Error as E;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem) = kind {
            return false;
        }
        cause = error.source();
    }
    matches!(error, E::Generic { .. } | E::AlreadyExists { .. } | E::Precondition { .. } | E::JoinError { .. })
}

impl Storage {
    /// As `parse_url_opts` does, which cannot be told how long to try.
    fn s3(&self, url: &Url) -> object_store::Result<Arc<dyn ObjectStore>> {
        let known = self.options.iter().filter_map(|(k, v)| Some((k.parse::<AmazonS3ConfigKey>().ok()?, v)));
        let builder =
            known.fold(AmazonS3Builder::new().with_url(url.as_str()), |builder, (k, v)| builder.with_config(k, v));
        let mut retry = RetryConfig::default();
        if let Some(times) = self.options.get("max_retries").and_then(|t| t.parse().ok()) {
            retry.max_retries = times;
        }
        if let Some(time) = self.options.get("retry_timeout").and_then(|t| humantime::parse_duration(t).ok()) {
            retry.retry_timeout = time;
        }
        Ok(Arc::new(builder.with_retry(retry).build()?))
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

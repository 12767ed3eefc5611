//! Models at a URL: fetched once, into a cache by content.
//!
//! ```text
//! CACHE/models/<sha256>/            the files, and SHA256SUMS, whose SHA-256 is the directory's name
//! CACHE/models/urls/<sha256>.json   for a URL: what lay there, and which directory holds it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use alluvium_engine::storage::Location;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Content, hexadecimal, needed};
use crate::ModelError;

const SUMS: &str = "SHA256SUMS";
/// Tells the unfinished directories of one process apart.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What lay at a URL.
#[derive(Serialize, Deserialize, PartialEq)]
struct Seen {
    /// Size and version of each file: the ETag, or the time of its last change.
    files: BTreeMap<String, (u64, String)>,
    /// Name of the directory with the files.
    directory: String,
}

/// The directory with the files of a model at a URL; they are fetched if they are not here, or not these.
///
/// # Errors
/// If the URL cannot be listed or read, or the cache not be written.
pub(crate) async fn fetch(url: &str, location: &Location, cache: &Path) -> Result<PathBuf, ModelError> {
    let failed = |source: object_store::Error| ModelError::Fetch { url: url.to_owned(), problem: source.to_string() };
    let listed = location.store.list_with_delimiter(Some(&location.path)).await.map_err(failed)?;
    let mut objects: BTreeMap<String, ObjectMeta> = listed
        .objects
        .into_iter()
        .filter_map(|object| Some((object.location.filename()?.to_owned(), object)))
        .collect();
    let there: BTreeSet<String> = objects.keys().cloned().collect();
    let wanted = needed(&there);
    // So that what is said about a missing file is said of what is there.
    if wanted.len() < 3 {
        let found: Vec<String> = there.into_iter().collect();
        return Err(ModelError::NothingToFetch { url: url.to_owned(), found });
    }
    objects.retain(|name, _| wanted.contains(name));
    let version = |object: &ObjectMeta| object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
    let files = objects.iter().map(|(name, object)| (name.clone(), (object.size, version(object)))).collect();

    let models = cache.join("models");
    let record = models.join("urls").join(hexadecimal(&Sha256::digest(url)) + ".json");
    let seen = fs::read(&record).ok().and_then(|bytes| serde_json::from_slice::<Seen>(&bytes).ok());
    if let Some(seen) = seen.filter(|seen| seen.files == files) {
        let directory = models.join(&seen.directory);
        match verify(&directory, &seen.directory) {
            Ok(true) => return Ok(directory),
            Ok(false) | Err(_) => {
                tracing::warn!(url, directory = %directory.display(), "a cached model is damaged: fetched again");
            }
        }
    }

    let directory = download(location, &objects, &models).await.map_err(|problem| match problem {
        Problem::Store(source) => failed(source),
        Problem::Local(path, source) => ModelError::Cache { path, source },
    })?;
    let seen = Seen { files, directory };
    let json = serde_json::to_vec_pretty(&seen).unwrap_or_default();
    replace(&record, &json).map_err(|source| ModelError::Cache { path: record.clone(), source })?;
    Ok(models.join(seen.directory))
}

enum Problem {
    Store(object_store::Error),
    Local(PathBuf, std::io::Error),
}

/// Fetches the objects into a directory that is named by their content, which is returned.
async fn download(
    location: &Location,
    objects: &BTreeMap<String, ObjectMeta>,
    models: &Path,
) -> Result<String, Problem> {
    fs::create_dir_all(models).map_err(|source| Problem::Local(models.to_owned(), source))?;
    let partial = models.join(format!("partial-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
    let local = |source| Problem::Local(partial.clone(), source);
    fs::create_dir_all(&partial).map_err(local)?;
    let mut sums = String::new();
    for (name, object) in objects {
        tracing::info!(object = %object.location, bytes = object.size, "fetching a model");
        let mut file = fs::File::create(partial.join(name)).map_err(local)?;
        let mut digest = Sha256::new();
        let got = location.store.get(&object.location).await.map_err(Problem::Store)?;
        // Weights are large, and the disk may be slow.
        let mut stream = location.read_on(got).into_stream();
        while let Some(bytes) = stream.try_next().await.map_err(Problem::Store)? {
            digest.update(&bytes);
            file.write_all(&bytes).map_err(local)?;
        }
        file.sync_all().map_err(local)?;
        sums += &format!("{}  {name}\n", hexadecimal(&digest.finalize()));
    }
    fs::write(partial.join(SUMS), &sums).map_err(local)?;
    let directory = hexadecimal(&Sha256::digest(&sums));
    let place = models.join(&directory);
    if !verify(&place, &directory).unwrap_or(false) {
        let _ = fs::remove_dir_all(&place);
    }
    // Another process may have been as quick, with the same content.
    if let Err(source) = fs::rename(&partial, &place) {
        let _ = fs::remove_dir_all(&partial);
        if !place.join(SUMS).exists() {
            return Err(Problem::Local(place, source));
        }
    }
    Ok(directory)
}

/// Whether the files in a directory are those that it is named by.
fn verify(directory: &Path, name: &str) -> Result<bool, ModelError> {
    let sums = Content::open(directory.join(SUMS))?.all()?;
    if hexadecimal(&Sha256::digest(&sums)) != name {
        return Ok(false);
    }
    for line in String::from_utf8_lossy(&sums).lines() {
        let Some((sum, file)) = line.split_once("  ") else { return Ok(false) };
        let mut digest = Sha256::new();
        Content::open(directory.join(file))?.chunks(|bytes| digest.update(bytes))?;
        if hexadecimal(&digest.finalize()) != sum {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a file so that it is there as a whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, bytes)?;
    fs::rename(partial, path)
}

/// The directory of the cache: `ALLUVIUM_CACHE`, or `alluvium` in the user's cache directory.
pub(crate) fn cache() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ALLUVIUM_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("alluvium")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache").join("alluvium")))
        .unwrap_or_else(|| std::env::temp_dir().join("alluvium"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alluvium_engine::storage::Storage;
    use object_store::PutPayload;

    const URL: &str = "memory:///fetching/model";

    struct Case {
        location: Location,
        cache: PathBuf,
    }

    impl Case {
        /// A model of three small files at its own URL.
        async fn new(name: &str) -> Self {
            let location = Storage::default().open(&format!("{URL}-{name}")).unwrap();
            let cache = std::env::temp_dir().join(format!("alluvium-fetch-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&cache);
            let case = Self { location, cache };
            for file in ["config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin", "README.md"] {
                case.put(file, file).await;
            }
            case
        }

        async fn put(&self, file: &str, content: &str) {
            let path = self.location.path.clone().join(file);
            self.location.store.put(&path, PutPayload::from(content.to_owned())).await.unwrap();
        }

        async fn fetch(&self) -> Result<PathBuf, ModelError> {
            fetch(URL, &self.location, &self.cache).await
        }

        fn partial(&self) -> usize {
            let entries = fs::read_dir(self.cache.join("models")).unwrap();
            entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with("partial")).count()
        }
    }

    impl Drop for Case {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.cache);
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_is_needed_is_fetched_once_and_named_by_its_content() {
        let case = Case::new("once").await;
        let directory = case.fetch().await.unwrap();
        assert_eq!(names(&directory), [SUMS, "config.json", "model.safetensors", "tokenizer.json"]);
        let sums = fs::read(directory.join(SUMS)).unwrap();
        assert_eq!(directory.file_name().unwrap().to_str().unwrap(), hexadecimal(&Sha256::digest(&sums)));
        let before = fs::metadata(directory.join("model.safetensors")).unwrap().modified().unwrap();
        assert_eq!(case.fetch().await.unwrap(), directory);
        assert_eq!(fs::metadata(directory.join("model.safetensors")).unwrap().modified().unwrap(), before);
        assert_eq!(case.partial(), 0);
    }

    #[tokio::test]
    async fn a_changed_model_is_another_directory_and_the_same_content_again_is_the_first() {
        let case = Case::new("changed").await;
        let first = case.fetch().await.unwrap();
        case.put("model.safetensors", "other weights").await;
        let second = case.fetch().await.unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::read(second.join("model.safetensors")).unwrap(), b"other weights");
        case.put("model.safetensors", "model.safetensors").await;
        assert_eq!(case.fetch().await.unwrap(), first);
        assert_eq!(case.partial(), 0);
    }

    #[tokio::test]
    async fn a_damaged_copy_is_fetched_again() {
        let case = Case::new("damaged").await;
        let directory = case.fetch().await.unwrap();
        for (file, content) in [("model.safetensors", "model.safetensorz"), (SUMS, "")] {
            fs::write(directory.join(file), content).unwrap();
            assert_eq!(case.fetch().await.unwrap(), directory);
            assert_eq!(fs::read(directory.join("model.safetensors")).unwrap(), b"model.safetensors");
        }
        fs::remove_file(directory.join("config.json")).unwrap();
        assert_eq!(names(&case.fetch().await.unwrap()).len(), 4);
    }

    #[tokio::test]
    async fn a_place_without_a_model_says_what_is_there() {
        let case = Case::new("nothing").await;
        case.location.store.delete(&case.location.path.clone().join("config.json")).await.unwrap();
        assert_eq!(
            case.fetch().await.unwrap_err().to_string(),
            format!(
                "{URL}: expected objects named config.json, tokenizer.json and model.safetensors, found README.md, \
                 model.safetensors, pytorch_model.bin, tokenizer.json"
            )
        );
    }
}

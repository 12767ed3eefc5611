//! Which objects are there.

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};

/// All objects at a location, by name.
pub(crate) async fn list(location: &Location) -> Result<Vec<Split>, StageError> {
    let fail = |error: object_store::Error| {
        StageError::external("objects cannot be listed")
            .object(url(location, &location.path))
            .hint("check the `url:` of the source, the rights of this process, and `storage:`")
            .because(error)
    };
    let mut objects: Vec<ObjectMeta> = location.store.list(Some(&location.path)).try_collect().await.map_err(fail)?;
    if objects.is_empty() {
        // The URL may name a single object.
        match location.store.head(&location.path).await {
            Ok(meta) => objects.push(meta),
            Err(object_store::Error::NotFound { .. }) => return missing(location),
            Err(error) => return Err(fail(error)),
        }
    } else {
        objects.retain(|o| !is_hidden(location, o));
    }
    objects.sort_by(|a, b| a.location.cmp(&b.location));
    Ok(objects.into_iter().map(|o| split(location, o)).collect())
}

/// An empty bucket prefix is an empty source; a local folder that does not exist is most likely a wrong name.
fn missing(location: &Location) -> Result<Vec<Split>, StageError> {
    let local = location.root == "file://";
    if local && !std::path::Path::new("/").join(location.path.as_ref()).exists() {
        return Err(StageError::user("the folder does not exist")
            .object(url(location, &location.path))
            .hint("relative paths start at the current directory; create the folder, or change `url:`"));
    }
    Ok(Vec::new())
}

fn is_hidden(location: &Location, object: &ObjectMeta) -> bool {
    let below = object.location.prefix_match(&location.path);
    below.is_some_and(|mut parts| parts.any(|p| p.as_ref().starts_with(['_', '.'])))
}

fn split(location: &Location, object: ObjectMeta) -> Split {
    Split {
        id: url(location, &object.location),
        bytes: object.size,
        version: object.e_tag,
        modified: Some(object.last_modified),
    }
}

/// An object's URL, without secrets.
pub(crate) fn url(location: &Location, path: &object_store::path::Path) -> String {
    format!("{}/{path}", location.root)
}

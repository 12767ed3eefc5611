//! Which objects are there.

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use globset::{Glob, GlobSet, GlobSetBuilder};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::config::{Files, Order};

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    include: Option<Patterns>,
    exclude: Patterns,
    order: Order,
}

/// Patterns without a slash are held against an object's name, others against its path below the location.
#[derive(Debug, Clone)]
struct Patterns {
    names: GlobSet,
    paths: GlobSet,
}

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self, globset::Error> {
        let (mut names, mut paths) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let side = if pattern.contains('/') { &mut paths } else { &mut names };
            side.add(glob(pattern)?);
        }
        Ok(Self { names: names.build()?, paths: paths.build()? })
    }

    fn match_any(&self, below: &str) -> bool {
        let name = below.rsplit('/').next().unwrap_or(below);
        self.names.is_match(name) || self.paths.is_match(below)
    }
}

/// A pattern; `*` stays within a name.
pub(crate) fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    globset::GlobBuilder::new(pattern).literal_separator(true).build()
}

impl Wanted {
    /// As the configuration says.
    pub(crate) fn new(config: &Files) -> Result<Self, globset::Error> {
        let include = if config.include.is_empty() { None } else { Some(Patterns::new(&config.include)?) };
        Ok(Self { include, exclude: Patterns::new(&config.exclude)?, order: config.order })
    }

    fn wants(&self, location: &Location, object: &ObjectMeta) -> bool {
        // What is not below the location is the location itself.
        let Some(parts) = object.location.prefix_match(&location.path) else { return false };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        if parts.is_empty() || parts.iter().any(|part| part.starts_with(['_', '.'])) {
            return false;
        }
        let below = parts.join("/");
        self.include.as_ref().is_none_or(|include| include.match_any(&below)) && !self.exclude.match_any(&below)
    }
}

/// The objects at a location; those after an object, if the store can tell.
pub(crate) fn list(
    location: &Location,
    wanted: &Wanted,
    after: Option<&str>,
) -> BoxStream<'static, Result<Split, StageError>> {
    let (location, wanted) = (location.clone(), wanted.clone());
    let after = after.and_then(|id| path_of(&location, id));
    let found = async move {
        let fail = failed(&location);
        let mut objects = match &after {
            Some(after) => location.store.list_with_offset(Some(&location.path), after),
            None => location.store.list(Some(&location.path)),
        };
        let first = objects.next().await;
        if first.is_none() && after.is_none() {
            // The URL may name a single object.
            return match location.store.head(&location.path).await {
                Ok(meta) => Ok(stream::iter([Ok(split(&location, meta, Order::Name))]).boxed()),
                Err(object_store::Error::NotFound { .. }) => missing(&location).map(|()| stream::empty().boxed()),
                Err(error) => Err(fail(error)),
            };
        }
        let all = stream::iter(first).chain(objects).map_err(fail);
        let splits = all.try_filter_map(move |object| {
            let split = wanted.wants(&location, &object).then(|| split(&location, object, wanted.order));
            async move { Ok(split) }
        });
        Ok(splits.boxed())
    };
    stream::once(found).try_flatten().boxed()
}

/// Lists until an object is found, and reads its first byte.
pub(crate) async fn examine(location: &Location, wanted: &Wanted) -> Result<String, StageError> {
    let Some(first) = list(location, wanted, None).next().await else {
        return Ok(format!("{} can be listed; there is nothing to read yet", url(location, &location.path)));
    };
    let first = first?;
    let unread = |e| StageError::external("an object cannot be read").object(&first.id).because(e);
    if let (Some(path), 1..) = (path_of(location, &first.id), first.bytes) {
        location.store.get_range(&path, 0..1).await.map_err(unread)?;
    }
    Ok(format!("can be listed and read, {} for example", first.id))
}

fn failed(location: &Location) -> impl Fn(object_store::Error) -> StageError + Send + 'static {
    let object = url(location, &location.path);
    move |error| {
        StageError::external("objects cannot be listed")
            .object(&object)
            .hint("check the `url:` of the source, the rights of this process, and `storage:`")
            .because(error)
    }
}

/// An empty bucket prefix is an empty source; a local folder that does not exist is most likely a wrong name.
fn missing(location: &Location) -> Result<(), StageError> {
    let local = location.root == "file://";
    if local && !std::path::Path::new("/").join(location.path.as_ref()).exists() {
        return Err(StageError::user("the folder does not exist")
            .object(url(location, &location.path))
            .hint("relative paths start at the current directory; create the folder, or change `url:`"));
    }
    Ok(())
}

fn split(location: &Location, object: ObjectMeta, order: Order) -> Split {
    Split {
        id: url(location, &object.location),
        bytes: object.size,
        version: object.e_tag,
        modified: Some(object.last_modified),
        rank: match order {
            Order::Name => 0,
            Order::Mtime => object.last_modified.timestamp_micros(),
        },
    }
}

/// An object's URL, without secrets.
pub(crate) fn url(location: &Location, path: &Path) -> String {
    format!("{}/{path}", location.root)
}

/// The object of a URL, if it lies in the location's store.
pub(crate) fn path_of(location: &Location, id: &str) -> Option<Path> {
    Path::parse(id.strip_prefix(&location.root)?.trim_start_matches('/')).ok()
}

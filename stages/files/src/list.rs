//! Which objects are there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::spec::Columns;
use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use globset::{Glob, GlobSet, GlobSetBuilder};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::config::{Files, Order};
use crate::partitions::Partition;

/// Which objects are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    include: Option<Patterns>,
    exclude: Patterns,
    order: Order,
    empty: Empty,
}

/// Empty objects that were asked for, so that a source that is listed again and again asks once.
type Empty = Arc<Mutex<HashMap<Path, bool>>>;

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
        Ok(Self { include, exclude: Patterns::new(&config.exclude)?, order: config.order, empty: Empty::default() })
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

    /// Whether an empty object only stands for a folder: consoles make them, with a name that ends in `/`. A listing
    /// gives it without that end, and under such a name nothing can be asked for.
    async fn is_marker(&self, location: &Location, object: &ObjectMeta) -> Result<bool, StageError> {
        if object.size > 0 || location.root == "file://" {
            return Ok(false);
        }
        let known = |empty: &Empty| empty.lock().unwrap_or_else(PoisonError::into_inner).get(&object.location).copied();
        if let Some(known) = known(&self.empty) {
            return Ok(known);
        }
        let marker = match location.store.head(&object.location).await {
            Ok(_) => false,
            Err(object_store::Error::NotFound { .. }) => true,
            Err(error) => return Err(failed(location)(error)),
        };
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        empty.insert(object.location.clone(), marker);
        Ok(marker)
    }
}

/// Empty objects that are asked for at once.
const LOOKS: usize = 16;

/// The objects at a location; those after an object, if the store can tell.
pub(crate) fn list(
    location: &Location,
    wanted: &Wanted,
    partitions: &Columns,
    after: Option<&str>,
) -> BoxStream<'static, Result<Split, StageError>> {
    let (location, wanted, partitions) = (location.clone(), wanted.clone(), partitions.clone());
    let after = after.and_then(|id| path_of(&location, id));
    let found = async move {
        let fail = failed(&location);
        let mut objects = match &after {
            Some(after) => location.store.list_with_offset(Some(&location.path), after),
            None => location.store.list(Some(&location.path)),
        }
        // Asked again after its end, below: a listing of S3 panics then.
        .fuse();
        let first = objects.next().await;
        if first.is_none() && after.is_none() {
            // The URL may name a single object.
            return match location.store.head(&location.path).await {
                Ok(meta) => {
                    let split = split(&location, meta, Order::Name);
                    let fits = Partition::of(&split.id, &partitions).map(|_| split);
                    Ok(stream::iter([fits]).boxed())
                }
                Err(object_store::Error::NotFound { .. }) => missing(&location).map(|()| stream::empty().boxed()),
                Err(error) => Err(fail(error)),
            };
        }
        let all = stream::iter(first).chain(objects).map_err(fail);
        let shared = Arc::new((location, wanted, partitions));
        let looks = all.map(move |object| {
            let shared = shared.clone();
            async move {
                let (object, (location, wanted, partitions)) = (object?, shared.as_ref());
                if !wanted.wants(location, &object) || wanted.is_marker(location, &object).await? {
                    return Ok(None);
                }
                let split = split(location, object, wanted.order);
                // Before it is bound: an object in the wrong place can still be moved.
                Partition::of(&split.id, partitions)?;
                Ok(Some(split))
            }
        });
        // In the store's order: whoever stops half-way goes on after the last one.
        Ok(looks.buffered(LOOKS).try_filter_map(|split| async move { Ok(split) }).boxed())
    };
    stream::once(found).try_flatten().boxed()
}

/// Lists until an object is found, and reads its first byte.
pub(crate) async fn examine(location: &Location, wanted: &Wanted, partitions: &Columns) -> Result<String, StageError> {
    let Some(first) = list(location, wanted, partitions, None).next().await else {
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
    let location = location.clone();
    move |error| {
        location.cannot_list(error, "check the `url:` of the source, the rights of this process, and `storage:`")
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

//! What is at a place.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::Location;
use crate::stage::{Split, StageError};

impl Location {
    /// Whether it is a folder or file of this machine.
    pub fn is_local(&self) -> bool {
        self.root == "file://"
    }

    /// The objects below this place, or the object at it, by their URLs and in the store's order. A local folder that
    /// is not there is an error; in a bucket there are no folders.
    pub(crate) fn objects(&self) -> BoxStream<'static, Result<Split, StageError>> {
        let place = self.clone();
        let found = async move {
            let mut objects = place.store.list(Some(&place.path));
            let all = match objects.next().await {
                Some(first) => stream::iter([first]).chain(objects).boxed(),
                None => match place.store.head(&place.path).await {
                    Ok(object) => stream::iter([Ok(object)]).boxed(),
                    Err(object_store::Error::NotFound { .. }) if place.may_be_empty() => stream::empty().boxed(),
                    Err(error) => return Err(place.unlisted(error)),
                },
            };
            let split = move |object: object_store::Result<ObjectMeta>| match object {
                Ok(object) => Ok(place.split(object)),
                Err(error) => Err(place.unlisted(error)),
            };
            Ok(all.map(split))
        };
        stream::once(found).try_flatten().boxed()
    }

    fn may_be_empty(&self) -> bool {
        !self.is_local() || std::path::Path::new("/").join(self.path.as_ref()).exists()
    }

    fn split(&self, object: ObjectMeta) -> Split {
        Split {
            id: format!("{}/{}", self.root, object.location),
            bytes: object.size,
            version: object.e_tag,
            modified: Some(object.last_modified),
            rank: 0,
        }
    }

    fn unlisted(&self, error: object_store::Error) -> StageError {
        StageError::external("objects cannot be listed")
            .object(format!("{}/{}", self.root, self.path))
            .hint("check the URL and the rights of this process; options come from AWS_… variables")
            .because(error)
    }
}

//! What is at a place.

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path};

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
        self.cannot_list(error, "check the URL and the rights of this process; options come from AWS_… variables")
    }

    /// Why objects cannot be listed. One key that no request can name stops the whole listing, before anybody could look
    /// at it; `hint` is what to do about all else.
    pub fn cannot_list(&self, error: object_store::Error, hint: &str) -> StageError {
        let place = format!("{}/{}", self.root, self.path);
        let object_store::Error::InvalidPath { source } = &error else {
            return StageError::external("objects cannot be listed").object(place).hint(hint).because(error);
        };
        let key = match source {
            path::Error::EmptySegment { path } | path::Error::BadSegment { path, .. } => {
                path.escape_debug().to_string()
            }
            other => other.to_string(),
        };
        StageError::external(format!("objects cannot be listed: the key `{key}` cannot be addressed"))
            .object(place)
            .hint(
                "keys with empty parts (`//`), the parts `.` and `..`, or control characters cannot be read: remove or \
                 rename the object, or narrow `url:` to a folder without it",
            )
    }
}

#[cfg(test)]
mod tests {
    use crate::storage::Storage;
    use object_store::path::Path;

    #[test]
    fn a_key_that_cannot_be_addressed_is_named() {
        let place = Storage::default().open("memory:///in").unwrap();
        for (key, shown) in [("in//a", "`in//a`"), ("in/../a", "`in/../a`"), ("in/a\tb", "`in/a\\tb`")] {
            let text = place.cannot_list(Path::parse(key).unwrap_err().into(), "look at the rights").text();
            assert!(text.contains(shown) && text.contains("remove or rename"), "{text}");
            assert!(!text.contains("look at the rights"), "{text}");
        }
        let error = object_store::Error::NotImplemented { operation: "list".into(), implementer: "test".into() };
        assert!(place.cannot_list(error, "look at the rights").text().contains("look at the rights"));
    }
}

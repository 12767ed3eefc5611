//! The bytes of an object to their end, however long that takes.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore, Result};

use super::Location;

impl Location {
    /// What was asked for, with bytes that come to their end.
    ///
    /// The client goes on by itself when a connection breaks or a request's time is over, but no longer than it is patient
    /// with one request, whatever has come meanwhile. An object that is large, or whose bytes are taken slowly, needs more:
    /// here one more request is made for what is left, until one gives nothing at all. All bytes are of one version of the
    /// object; [`Error::Precondition`] says that there is another one now. A file is left as it is.
    #[must_use]
    pub fn read_on(&self, got: GetResult) -> GetResult {
        let GetResultPayload::Stream(bytes) = got.payload else { return got };
        let (meta, range) = (got.meta.clone(), got.range.clone());
        let reading = Reading { place: self.clone(), meta, begun: range.start, at: range.start, end: range.end, bytes };
        let bytes = stream::try_unfold(reading, |mut reading| async move {
            Ok(reading.next().await?.map(|bytes| (bytes, reading)))
        });
        GetResult { payload: GetResultPayload::Stream(bytes.boxed()), ..got }
    }
}

struct Reading {
    place: Location,
    /// Of the object that is read.
    meta: ObjectMeta,
    /// Where the last request began.
    begun: u64,
    at: u64,
    end: u64,
    bytes: BoxStream<'static, Result<Bytes>>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.at < self.end {
            let error = match self.bytes.next().await {
                Some(Ok(bytes)) => {
                    self.at += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => error,
                None => Error::Generic { store: "object", source: format!("it ended at byte {}", self.at).into() },
            };
            if self.at == self.begun {
                return Err(error);
            }
            tracing::info!(object = %self.meta.location, at = self.at, %error, "reading on with another request");
            self.ask().await?;
        }
        Ok(None)
    }

    /// Asks for what is left.
    async fn ask(&mut self) -> Result<()> {
        let options = GetOptions::new().with_range(Some(self.at..self.end)).with_if_match(self.meta.e_tag.clone());
        let got = self.place.store.get_opts(&self.meta.location, options).await?;
        // A store may not know conditions.
        if !same(&self.meta, &got.meta) {
            let path = self.meta.location.to_string();
            return Err(Error::Precondition { path, source: "another version is there".into() });
        }
        self.begun = self.at;
        self.bytes = got.into_stream();
        Ok(())
    }
}

fn same(then: &ObjectMeta, now: &ObjectMeta) -> bool {
    then.size == now.size
        && match (&then.e_tag, &now.e_tag) {
            (Some(then), Some(now)) => then == now,
            _ => then.last_modified == now.last_modified,
        }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::path::Path;

    use super::*;
    use crate::storage::Storage;

    /// What a request gives before it breaks.
    fn broken(got: GetResult, bytes: u64) -> Reading {
        let (meta, end) = (got.meta.clone(), got.range.end);
        let begun = got.range.start;
        let cut = got.into_stream().map(move |all| all.map(|all| all.slice(..bytes as usize)));
        let error = stream::iter([Err(Error::Generic { store: "test", source: "cut".into() })]);
        let place = Storage::default().open("memory:///").unwrap();
        let bytes = if bytes == 0 { error.boxed() } else { cut.chain(error).boxed() };
        Reading { place, meta, begun, at: begun, end, bytes }
    }

    async fn object(name: &str, content: &'static str) -> (Location, Path) {
        let place = Storage::default().open(&format!("memory:///read-on/{name}")).unwrap();
        place.store.put(&place.path, content.into()).await.unwrap();
        let path = place.path.clone();
        (place, path)
    }

    #[tokio::test]
    async fn what_is_left_is_asked_for() {
        let (place, path) = object("left", "0123456789").await;
        let mut reading = broken(place.store.get(&path).await.unwrap(), 4);
        assert_eq!(reading.next().await.unwrap().unwrap(), "0123");
        assert_eq!(reading.next().await.unwrap().unwrap(), "456789");
        assert_eq!(reading.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_request_that_gives_nothing_is_the_last() {
        let (place, path) = object("nothing", "0123456789").await;
        let mut reading = broken(place.store.get(&path).await.unwrap(), 0);
        assert!(reading.next().await.unwrap_err().to_string().contains("cut"));
    }

    #[tokio::test]
    async fn another_version_is_never_read_on() {
        let (place, path) = object("other", "0123456789").await;
        for (e_tag, content) in [(true, "9876543210"), (false, "9876543210"), (true, "98765")] {
            place.store.put(&path, "0123456789".into()).await.unwrap();
            let mut reading = broken(place.store.get(&path).await.unwrap(), 4);
            if !e_tag {
                reading.meta.e_tag = None;
            }
            assert_eq!(reading.next().await.unwrap().unwrap(), "0123");
            place.store.put(&path, content.into()).await.unwrap();
            let error = reading.next().await.unwrap_err();
            assert!(matches!(error, Error::Precondition { .. }), "{error}");
        }
    }
}

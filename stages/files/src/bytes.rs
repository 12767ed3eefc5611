//! An object's bytes, from async to blocking: fetched by a task, unpacked where they are read.

use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectMeta, ObjectStoreExt};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::passed::Passed;
use crate::read::{Pieces, Unopened};

/// Chunks that are fetched ahead.
const AHEAD: usize = 4;
/// Packed bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// An object that is being read.
pub(crate) struct Opened {
    /// What it says, unpacked.
    pub(crate) reader: Box<dyn Read + Send>,
    pub(crate) behind: Behind,
    /// What was read of a local file.
    pub(crate) passed: Option<Passed>,
}

/// What happens behind the reader of an object, past decoders, which would take it for damage of the object.
#[derive(Clone, Default)]
pub(crate) struct Behind(Arc<Mutex<Option<StageError>>>);

impl Behind {
    /// Why nothing more came, when all that came was read.
    pub(crate) fn fault(&self) -> Option<StageError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn tell(&self, error: StageError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Chunks of an object as a blocking reader.
struct Chunks {
    receiver: mpsc::Receiver<Result<Bytes, StageError>>,
    current: Bytes,
    behind: Behind,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(Ok(chunk)) => self.current = chunk,
                Some(Err(error)) => {
                    let told = io::Error::other(error.to_string());
                    self.behind.tell(error);
                    return Err(told);
                }
                None => return Ok(0),
            }
        }
        let n = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Exactly as many bytes as the object has: one that ends early is an error, never the end.
struct Whole<R> {
    inner: R,
    missing: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.missing).map_or(out.len(), |missing| missing.min(out.len()));
        let n = self.inner.read(&mut out[..most])?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} bytes are missing at the end", self.missing),
            ));
        }
        self.missing -= n as u64;
        Ok(n)
    }
}

/// An unpacker that is made at the first read, where it may wait: it reads the header at once.
enum Gunzip<R> {
    Packed(Option<R>),
    Unpacked(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Self::Packed(packed) = self
            && let Some(packed) = packed.take()
        {
            let packed = BufReader::with_capacity(BUFFER, packed);
            *self = Self::Unpacked(Box::new(MultiGzDecoder::new(packed)));
        }
        match self {
            Self::Packed(_) => Ok(0),
            Self::Unpacked(unpacked) => unpacked.read(out),
        }
    }
}

/// Begins to fetch an object, after making sure that it is still the one that was bound.
pub(crate) async fn fetch(location: &Location, split: &Split) -> Result<Opened, Unopened> {
    let path = path_of(location, split)?;
    let got = location.store.get(&path).await.map_err(|e| unopened(split, e))?;
    unchanged(split, &got.meta)?;
    let (missing, behind) = (got.meta.size, Behind::default());
    let (inner, passed) = body(location, split, got, &behind);
    let whole = Whole { inner, missing };
    let reader: Box<dyn Read + Send> = match path.extension().map(str::to_ascii_lowercase).as_deref() {
        Some("gz") => Box::new(Gunzip::Packed(Some(whole))),
        Some("zst" | "zstd") => {
            let decoder = zstd::Decoder::new(whole)
                .map_err(|e| StageError::external("the object cannot be unpacked").object(&split.id).because(e))?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    };
    Ok(Opened { reader, behind, passed })
}

/// An object without a byte gives no rows in any format, packed or not; that it still is so is made sure of.
pub(crate) async fn empty(location: &Location, split: &Split) -> Result<Pieces, Unopened> {
    let path = path_of(location, split)?;
    let meta = location.store.head(&path).await.map_err(|e| unopened(split, e))?;
    unchanged(split, &meta)?;
    Ok(stream::empty().boxed())
}

fn body(location: &Location, split: &Split, got: GetResult, behind: &Behind) -> (Box<dyn Read + Send>, Option<Passed>) {
    let mut chunks = match location.read_on(got).payload {
        // Read where it is needed: as a stream it would come in 8 KiB pieces, each by way of another thread.
        GetResultPayload::File(file, _) => {
            let passed = Passed::default();
            return (passed.of(file), Some(passed));
        }
        GetResultPayload::Stream(chunks) => chunks,
    };
    let ((sender, receiver), split) = (mpsc::channel(AHEAD), split.clone());
    let fetching = async move {
        while let Some(chunk) = chunks.next().await {
            if sender.send(chunk.map_err(|e| broken_off(&split, e))).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(fetching.in_current_span());
    (Box::new(Chunks { receiver, current: Bytes::new(), behind: behind.clone() }), None)
}

/// The object of a split.
pub(crate) fn path_of(location: &Location, split: &Split) -> Result<Path, StageError> {
    crate::list::path_of(location, &split.id).ok_or_else(|| {
        StageError::user("the object was bound under another `url:`")
            .object(&split.id)
            .hint("finish the open epochs with the old spec, then change it")
    })
}

/// Why nothing came at first.
pub(crate) fn unopened(split: &Split, error: object_store::Error) -> Unopened {
    match error {
        object_store::Error::NotFound { .. } => Unopened::Missing,
        error => Unopened::Failed(unread(split, error)),
    }
}

/// Why nothing came, when something had come before.
pub(crate) fn unread(split: &Split, error: object_store::Error) -> StageError {
    match error {
        object_store::Error::NotFound { .. } => missing(split),
        error => StageError::external("the object cannot be read").object(&split.id).because(error),
    }
}

/// Why nothing more came.
pub(crate) fn broken_off(split: &Split, error: object_store::Error) -> StageError {
    match error {
        object_store::Error::Precondition { .. } => changed(split, "while it was read"),
        error => unread(split, error),
    }
}

/// A replay must give the same rows, so another content under the same name is never read silently.
pub(crate) fn unchanged(split: &Split, now: &ObjectMeta) -> Result<(), Unopened> {
    difference(split, now).map_or(Ok(()), |how| Err(Unopened::Changed(how)))
}

/// How an object differs from the one that was bound.
pub(crate) fn difference(split: &Split, now: &ObjectMeta) -> Option<String> {
    if now.size != split.bytes {
        return Some(format!("it had {} bytes, now {}", split.bytes, now.size));
    }
    let same = match (&split.version, &now.e_tag) {
        (Some(then), Some(now)) => then == now,
        // Without a version the time must do.
        _ => split.modified.is_none_or(|then| same_time(then, now.last_modified)),
    };
    (!same).then(|| "it has the same size, but was written again".into())
}

/// Listings know fractions of a second where answers to a request do not.
fn same_time(a: DateTime<Utc>, b: DateTime<Utc>) -> bool {
    let whole = |time: DateTime<Utc>| time.timestamp_subsec_micros() == 0;
    if whole(a) || whole(b) { a.timestamp() == b.timestamp() } else { a.timestamp_micros() == b.timestamp_micros() }
}

/// The fault of an object that is no longer there.
pub(crate) fn missing(split: &Split) -> StageError {
    StageError::external("the object has vanished since it was bound to the epoch")
        .object(&split.id)
        .hint("put it back; or set `on_missing: skip`, which leaves it out unless tables hold rows of it already")
}

/// The fault of an object that is no longer the one that was bound.
pub(crate) fn changed(split: &Split, how: &str) -> StageError {
    StageError::external(format!("the object has changed since it was bound to the epoch: {how}"))
        .object(&split.id)
        .hint("bring back the original (of a local file not a copy, but the file itself with its time), and write new content under a new name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_version_the_time_tells() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let object = |modified: &str, version: Option<&str>| ObjectMeta {
            location: Path::from("a"),
            last_modified: time(modified),
            size: 3,
            e_tag: version.map(Into::into),
            version: None,
        };
        let (first, whole, later) =
            ("2026-11-26T10:00:00.250001Z", "2026-11-26T10:00:00Z", "2026-11-26T10:00:00.250002Z");
        let differs = |version: Option<&str>, now: ObjectMeta| {
            let split = Split {
                id: "s3://b/a".into(),
                bytes: 3,
                version: version.map(Into::into),
                modified: Some(time(first)),
                rank: 0,
            };
            difference(&split, &now).is_some()
        };
        for version in [None, Some("x")] {
            assert!(!differs(None, object(first, version)));
            assert!(!differs(None, object(whole, version)));
            assert!(differs(None, object(later, version)));
            assert!(differs(None, object("2026-11-26T10:00:01Z", version)));
        }
        assert!(differs(Some("x"), object(first, Some("y"))));
        assert!(!differs(Some("x"), object(later, Some("x"))));
        assert!(differs(Some("x"), object(later, None)));
        assert!(!differs(Some("x"), object(first, None)));
    }
}

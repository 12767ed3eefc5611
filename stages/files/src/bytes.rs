//! An object's bytes, from async to blocking: fetched by a task, unpacked where they are read.

use std::io::{self, BufReader, Read};

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, ObjectStoreExt};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::read::{Pieces, Unopened};

/// Chunks that are fetched ahead.
const AHEAD: usize = 4;
/// Packed bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// Chunks of an object as a blocking reader.
struct Chunks {
    receiver: mpsc::Receiver<Result<Bytes, object_store::Error>>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
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

/// Begins to fetch an object, after making sure that it is still the one that was bound.
pub(crate) async fn fetch(location: &Location, split: &Split) -> Result<Box<dyn Read + Send>, Unopened> {
    let path = path_of(location, split)?;
    let got = location.store.get(&path).await.map_err(|e| unopened(split, e))?;
    unchanged(split, &got.meta)?;
    let missing = got.meta.size;
    let whole = Whole { inner: body(got), missing };
    Ok(match path.extension().map(str::to_ascii_lowercase).as_deref() {
        Some("gz") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        Some("zst" | "zstd") => {
            let decoder = zstd::Decoder::new(whole)
                .map_err(|e| StageError::external("the object cannot be unpacked").object(&split.id).because(e))?;
            Box::new(decoder)
        }
        _ => Box::new(whole),
    })
}

/// An object without a byte gives no rows in any format, packed or not; that it still is so is made sure of.
pub(crate) async fn empty(location: &Location, split: &Split) -> Result<Pieces, Unopened> {
    let path = path_of(location, split)?;
    let meta = location.store.head(&path).await.map_err(|e| unopened(split, e))?;
    unchanged(split, &meta)?;
    Ok(stream::empty().boxed())
}

fn body(got: GetResult) -> Box<dyn Read + Send> {
    match got.payload {
        // Read where it is needed: as a stream it would come in 8 KiB pieces, each by way of another thread.
        GetResultPayload::File(file, _) => Box::new(file),
        GetResultPayload::Stream(mut chunks) => {
            let (sender, receiver) = mpsc::channel(AHEAD);
            let fetching = async move {
                while let Some(chunk) = chunks.next().await {
                    if sender.send(chunk).await.is_err() {
                        return;
                    }
                }
            };
            tokio::spawn(fetching.in_current_span());
            Box::new(Chunks { receiver, current: Bytes::new() })
        }
    }
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

/// A replay must give the same rows, so another content under the same name is never read silently.
pub(crate) fn unchanged(split: &Split, now: &object_store::ObjectMeta) -> Result<(), Unopened> {
    if now.size != split.bytes {
        return Err(Unopened::Changed(format!("it had {} bytes, now {}", split.bytes, now.size)));
    }
    if now.e_tag != split.version {
        return Err(Unopened::Changed("it has the same size, but was written again".into()));
    }
    Ok(())
}

/// That a local file was not written while it was read; a store gives one version or an error.
pub(crate) async fn still_unchanged(location: Location, split: Split) -> Result<(), StageError> {
    if location.root != "file://" {
        return Ok(());
    }
    let path = path_of(&location, &split)?;
    let now = location.store.head(&path).await.map_err(|e| unread(&split, e))?;
    // What was added behind the end was not read.
    if now.size < split.bytes || (now.size == split.bytes && now.e_tag != split.version) {
        return Err(changed(&split, "it was written while it was read"));
    }
    Ok(())
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

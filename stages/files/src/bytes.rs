//! An object's bytes, from async to blocking: fetched by a task, unpacked where they are read.

use std::io::{self, BufReader, Read};

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::mpsc;

/// Chunks that are fetched ahead.
const AHEAD: usize = 4;
/// Local files come in chunks of about this size too.
const BUFFER: usize = 256 << 10;

/// Chunks of an object as a blocking reader.
pub(crate) struct Chunks {
    receiver: mpsc::Receiver<Result<Bytes, object_store::Error>>,
    current: Bytes,
    /// Bytes still to come. A body that ends early is an error, never the end.
    missing: u64,
}

impl Read for Chunks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.current = chunk.map_err(io::Error::other)?,
                None if self.missing == 0 => return Ok(0),
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} bytes are missing at the end", self.missing))),
            }
            self.missing = self.missing.saturating_sub(self.current.len() as u64);
        }
        let n = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

/// Begins to fetch an object, after making sure that it is still the one that was bound.
pub(crate) async fn fetch(location: &Location, split: &Split) -> Result<Box<dyn Read + Send>, StageError> {
    let path = path_of(location, split)?;
    let fail = |error: object_store::Error| match error {
        object_store::Error::NotFound { .. } => StageError::external("the object has vanished since it was bound to the epoch")
            .object(&split.id)
            .hint("put it back: the epoch cannot be finished without it"),
        error => StageError::external("the object cannot be read").object(&split.id).because(error),
    };
    let got = location.store.get(&path).await.map_err(fail)?;
    unchanged(split, &got.meta)?;
    let missing = got.meta.size;
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut chunks = got.into_stream();
        while let Some(chunk) = chunks.next().await {
            if sender.send(chunk).await.is_err() {
                return;
            }
        }
    });
    let chunks = Chunks { receiver, current: Bytes::new(), missing };
    Ok(match path.extension() {
        Some("gz") => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, chunks))),
        Some("zst" | "zstd") => {
            let decoder = zstd::Decoder::new(chunks).map_err(|e| StageError::external("the object cannot be unpacked").object(&split.id).because(e))?;
            Box::new(decoder)
        }
        _ => Box::new(chunks),
    })
}

/// The object of a split.
pub(crate) fn path_of(location: &Location, split: &Split) -> Result<Path, StageError> {
    let wrong = || {
        StageError::user("the object was bound under another `url:`").object(&split.id).hint("finish the open epochs with the old spec, then change it")
    };
    let below = split.id.strip_prefix(&location.root).ok_or_else(wrong)?;
    Path::parse(below.trim_start_matches('/')).map_err(|_| wrong())
}

/// A replay must give the same rows, so another content under the same name is a fault and never read silently.
pub(crate) fn unchanged(split: &Split, now: &object_store::ObjectMeta) -> Result<(), StageError> {
    if now.size == split.bytes && now.e_tag == split.version {
        return Ok(());
    }
    Err(StageError::external(format!(
        "the object has changed since it was bound to the epoch: it had {} bytes, now {}",
        split.bytes, now.size
    ))
    .object(&split.id)
    .hint("put the old content back, and write new content under a new name"))
}

//! That a local file is not rewritten while it is read. A store gives one version of an object or an error; a file gives
//! whatever stands in it at the moment.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use alluvium_engine::stage::{Split, StageError};
use alluvium_engine::storage::Location;
use object_store::{GetResultPayload, ObjectStoreExt};
use twox_hash::XxHash64;

use crate::bytes::{changed, path_of, unchanged, unread};

/// The bytes that were read of a file: how many, and their hash.
#[derive(Clone, Default)]
pub(crate) struct Passed(Arc<Mutex<(u64, XxHash64)>>);

impl Passed {
    /// The file as a reader that takes notes.
    pub(crate) fn of(&self, file: File) -> Box<dyn Read + Send> {
        Box::new(Noted { file, passed: self.clone() })
    }

    fn take(&self, bytes: &[u8]) {
        let mut passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        passed.0 += bytes.len() as u64;
        passed.1.write(bytes);
    }

    fn sum(&self) -> (u64, u64) {
        let passed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (passed.0, passed.1.finish())
    }
}

struct Noted {
    file: File,
    passed: Passed,
}

impl Read for Noted {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(out)?;
        self.passed.take(&out[..n]);
        Ok(n)
    }
}

/// After a file was read: that what was read is what is there. It may have been touched, or become longer behind its end,
/// which was not read.
pub(crate) async fn still_there(location: Location, split: Split, passed: Option<Passed>) -> Result<(), StageError> {
    let Some(passed) = passed else { return Ok(()) };
    let path = path_of(&location, &split)?;
    let now = location.store.get(&path).await.map_err(|e| unread(&split, e))?;
    if unchanged(&split, &now.meta).is_ok() {
        return Ok(());
    }
    let (bytes, hash) = passed.sum();
    let GetResultPayload::File(file, _) = now.payload else { return Ok(()) };
    let again = tokio::task::spawn_blocking(move || {
        let again = Passed::default();
        io::copy(&mut again.of(file).take(bytes), &mut io::sink())?;
        Ok::<_, io::Error>(again.sum())
    });
    match again.await {
        Ok(Ok(again)) if again == (bytes, hash) => Ok(()),
        Ok(Ok(_)) => Err(changed(&split, "it was written while it was read")),
        Ok(Err(e)) => Err(StageError::external("the object cannot be read again").object(&split.id).because(e)),
        Err(e) => Err(StageError::internal("a file could not be looked at").object(&split.id).because(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_other_pieces_are_the_same_and_other_bytes_are_not() {
        let sum = |pieces: &[&[u8]]| {
            let passed = Passed::default();
            pieces.iter().for_each(|piece| passed.take(piece));
            passed.sum()
        };
        let one = sum(&[b"0123456789"]);
        assert_eq!(one, sum(&[b"0123", b"", b"456789"]));
        assert_eq!(one.0, 10);
        assert_ne!(one, sum(&[b"0123456780"]));
        assert_ne!(one, sum(&[b"012345678"]));
    }
}

//! The bytes of a file, read in parts: weights need not be in memory twice.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::ModelError;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// A file that can be read.
pub(crate) struct Content {
    /// Its name in messages.
    pub(crate) file: String,
    /// Its size.
    pub(crate) bytes: u64,
    source: Source,
}

enum Source {
    Embedded(&'static [u8]),
    File(File, PathBuf),
}

impl Content {
    /// Bytes inside the program.
    pub(crate) fn embedded(file: &str, bytes: &'static [u8]) -> Self {
        Self { file: file.to_owned(), bytes: bytes.len() as u64, source: Source::Embedded(bytes) }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or is what Git LFS leaves in its place.
    pub(crate) fn open(path: PathBuf) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read { path: path.clone(), source };
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
        let content =
            Self { file: path.display().to_string(), bytes: metadata.len(), source: Source::File(file, path) };
        let length = POINTER.len().min(usize::try_from(content.bytes).unwrap_or(usize::MAX));
        if content.range(0, length)? == POINTER
            && let Source::File(_, path) = content.source
        {
            return Err(ModelError::LfsPointer { path });
        }
        Ok(content)
    }

    /// All of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn all(&self) -> Result<Vec<u8>, ModelError> {
        self.range(0, usize::try_from(self.bytes).unwrap_or(usize::MAX))
    }

    /// Some of it.
    ///
    /// # Errors
    /// If it cannot be read or ends before.
    pub(crate) fn range(&self, at: u64, length: usize) -> Result<Vec<u8>, ModelError> {
        match &self.source {
            Source::Embedded(bytes) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let found = at.checked_add(length).and_then(|end| bytes.get(at..end));
                found.map(<[u8]>::to_vec).ok_or_else(|| ModelError::Safetensors {
                    file: self.file.clone(),
                    bytes: self.bytes,
                    problem: "it ends too early".to_owned(),
                })
            }
            Source::File(file, path) => {
                let mut file = file;
                let mut bytes = vec![0; length];
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes));
                read.map_err(|source| ModelError::Read { path: path.clone(), source })?;
                Ok(bytes)
            }
        }
    }

    /// Gives all of it in parts.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn chunks(&self, take: impl FnMut(&[u8])) -> Result<(), ModelError> {
        self.parts(0, self.bytes, take)
    }

    /// Gives some of it in parts, whose sizes are multiples of 8 but for the last.
    ///
    /// # Errors
    /// If it cannot be read or ends before.
    pub(crate) fn parts(&self, at: u64, length: u64, mut take: impl FnMut(&[u8])) -> Result<(), ModelError> {
        let (mut at, end) = (at, at + length);
        while at < end {
            let length = CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK));
            take(&self.range(at, length)?);
            at += length as u64;
        }
        Ok(())
    }
}

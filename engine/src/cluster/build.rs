//! Which build of the program this process runs.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

/// The file that this process was started from, also when another one has taken its name since.
const PROGRAM: &str = "/proc/self/exe";
/// The notes of a program are short, and there are few.
const MOST_NOTES: u64 = 64 << 10;
/// The type of a segment with notes, and of the note with the linker's hash of everything.
const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;

/// The version, the length of the file, and the hash of its content that the linker has put into it; where there is none,
/// as some linkers leave it out, it is taken here.
pub(crate) fn build() -> String {
    static BUILD: OnceLock<String> = OnceLock::new();
    let version = env!("CARGO_PKG_VERSION");
    let of_program = || match identity() {
        Ok((length, hash)) => format!("{version} ({length} bytes, {hash})"),
        Err(error) => {
            tracing::warn!(%error, "{PROGRAM} cannot be read: only versions are compared");
            version.to_owned()
        }
    };
    BUILD.get_or_init(of_program).clone()
}

fn identity() -> io::Result<(u64, String)> {
    let mut program = File::open(PROGRAM)?;
    let length = program.metadata()?.len();
    let hash = match build_id(&program).filter(|id| id.len() >= 8) {
        Some(id) => id,
        None => sha256(&mut program)?,
    };
    Ok((length, hash.iter().map(|b| format!("{b:02x}")).collect()))
}

fn sha256(program: &mut File) -> io::Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match program.read(&mut piece)? {
            0 => return Ok(hasher.finalize().to_vec()),
            read => hasher.update(&piece[..read]),
        }
    }
}

/// The build ID of an ELF file of 64 bits: a note of the owner `GNU`.
fn build_id(program: &File) -> Option<Vec<u8>> {
    let header = read(program, 0, 64)?;
    if !header.starts_with(b"\x7fELF\x02") || cfg!(target_endian = "big") != (header[5] == 2) {
        return None;
    }
    let (start, size, count) = (u64_at(&header, 32)?, u16_at(&header, 54)?, u16_at(&header, 56)?);
    for segment in 0..u64::from(count) {
        let segment = read(program, start + segment * u64::from(size), 56)?;
        if u32_at(&segment, 0)? == PT_NOTE {
            let notes = read(program, u64_at(&segment, 8)?, u64_at(&segment, 32)?.min(MOST_NOTES))?;
            if let Some(id) = build_id_among(&notes) {
                return Some(id.to_vec());
            }
        }
    }
    None
}

/// Notes are three numbers (length of the owner's name, length of the content, type), name and content, each padded to
/// four bytes.
fn build_id_among(mut notes: &[u8]) -> Option<&[u8]> {
    while let Some(content) = notes.get(12..) {
        let (name, length) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize);
        let begin = name.checked_next_multiple_of(4)?;
        let found = content.get(begin..begin.checked_add(length)?)?;
        if u32_at(notes, 8)? == NT_GNU_BUILD_ID && content.starts_with(b"GNU\0") {
            return Some(found);
        }
        notes = content.get(begin.checked_add(length)?.checked_next_multiple_of(4)?..)?;
    }
    None
}

fn read(program: &File, at: u64, length: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    program.read_exact_at(&mut bytes, at).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_ne_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(owner: &[u8], kind: u32, content: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [owner.len() as u32, content.len() as u32, kind] {
            note.extend(number.to_ne_bytes());
        }
        for part in [owner, content] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_note_of_the_linker_is_found() {
        let id = [7; 20];
        let notes = [note(b"Xen\0", 3, &[1; 6]), note(b"GNU\0", 1, &[2; 16]), note(b"GNU\0", 3, &id)].concat();
        assert_eq!(build_id_among(&notes), Some(&id[..]));
        for cut in 0..notes.len() {
            // Whatever is cut off, it is no other one.
            assert_eq!(build_id_among(&notes[..cut]).filter(|found| *found != id), None, "{cut}");
        }
    }

    #[test]
    fn this_program_is_known_by_more_than_its_version() {
        let said = build();
        assert!(said.starts_with(concat!(env!("CARGO_PKG_VERSION"), " (")) && said.len() > 30, "{said}");
        assert_eq!(said, build());
    }
}

//! Evidence that a file is the one it was: hashes of its head and of the bytes before an offset.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{FileStat, Files, Fingerprint, Mark};

/// How much of a file's head is hashed, in bytes. The hash grows with the file until then.
pub const HEAD_BYTES: usize = 1024;

/// How many bytes before an offset are hashed.
pub const TAIL_BYTES: usize = 128;

/// Where an earlier run, or an earlier look at the same inode, has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// What the head was.
    pub head: Fingerprint,
    /// Where to go on.
    pub mark: Mark,
}

/// The fingerprint of the last [`TAIL_BYTES`] of `consumed`.
#[must_use]
pub(super) fn tail_of(consumed: &[u8]) -> Fingerprint {
    fingerprint(&consumed[consumed.len().saturating_sub(TAIL_BYTES)..])
}

pub(super) fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let len = u16::try_from(bytes.len()).expect("BUG: fingerprints are of short stretches");
    Fingerprint { len, hash: if bytes.is_empty() { 0 } else { xxh3_64(bytes) } }
}

/// Whether `bytes` begin with what `expected` was made of.
pub(super) fn begins_with(bytes: &[u8], expected: Fingerprint) -> bool {
    let len = usize::from(expected.len);
    bytes.get(..len).is_some_and(|head| fingerprint(head) == expected)
}

/// Hashes the head of a file, up to [`HEAD_BYTES`].
pub(super) fn head_of<D: Files>(files: &mut D, file: &D::File) -> io::Result<Fingerprint> {
    let mut head = [0; HEAD_BYTES];
    let len = read_full(files, file, &mut head, 0)?;
    Ok(fingerprint(&head[..len]))
}

/// Where to start in a file that was opened: at the saved mark when the file is still the same.
pub(super) fn confirm<D: Files>(
    files: &mut D,
    file: &D::File,
    stat: &FileStat,
    resume: Resume,
) -> io::Result<Option<Mark>> {
    if stat.size < resume.mark.offset.0 {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    let wanted = usize::from(resume.head.len).min(HEAD_BYTES);
    let len = read_full(files, file, &mut head[..wanted], 0)?;
    let is_same = begins_with(&head[..len], resume.head)
        && (resume.mark.read_from() == resume.mark.offset || has_tail(files, file, resume.mark)?);
    Ok(is_same.then_some(resume.mark))
}

/// Whether the bytes before `mark` are those that were there. Otherwise the first read looks.
fn has_tail<D: Files>(files: &mut D, file: &D::File, mark: Mark) -> io::Result<bool> {
    let mut tail = [0; TAIL_BYTES];
    let wanted = usize::from(mark.tail.len).min(TAIL_BYTES);
    let from = mark.offset.0.saturating_sub(wanted as u64);
    let len = read_full(files, file, &mut tail[..wanted], from)?;
    Ok(begins_with(&tail[..len], mark.tail))
}

/// Reads until `buf` is full or the file ends.
pub(super) fn read_full<D: Files>(
    files: &mut D,
    file: &D::File,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut len = 0;
    while len < buf.len() {
        match files.read_at(file, &mut buf[len..], offset + len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

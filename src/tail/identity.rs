//! Evidence that a file is the one it was, or a copy of one that was: hashes of its head and of the
//! bytes before an offset.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::file::Tracked;
use crate::model::{FileKey, FileOffset, FileStat, Files, Fingerprint, Mark, MaybeNanos};

/// How much of a file's head is hashed, in bytes. The hash grows with the file until then.
pub const HEAD_BYTES: usize = 1024;

/// How many bytes before an offset are hashed.
pub const TAIL_BYTES: usize = 128;

/// A place that was settled or read in what may be this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// What the head was.
    pub head: Fingerprint,
    /// Where to go on.
    pub mark: Mark,
    /// What the file is to the one that this was noted for.
    pub kin: Kin,
}

impl Resume {
    /// Whether it is of a file with this number that was made at this time, as far as is known: a
    /// file system gives the number of a deleted file to the next one.
    pub(super) fn is_of(&self, stat: &FileStat) -> bool {
        matches!(self.kin, Kin::Same { birth } if !birth.differs_from(stat.identity.birth))
    }
}

/// What a file that was found is to one that was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kin {
    /// The same inode.
    Same {
        /// When the known one was born.
        birth: MaybeNanos,
    },
    /// Another inode with its content: the known one was truncated or is gone, and this is what
    /// `copytruncate` or a compressor has left.
    Copy {
        /// The generation, if it is one of this process.
        of: Option<FileKey>,
    },
    /// Another inode under any name: the known one is gone, and was moved from another file system.
    Moved,
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

/// Hashes before some offsets of a file, ever further apart.
pub(super) type Trail = Box<[(FileOffset, Fingerprint)]>;

/// Where to start in a file that was opened, if it is what `resume` speaks of; `trail` is of that
/// as well, if it is at hand.
pub(super) fn confirm<D: Files>(
    files: &mut D,
    file: &D::File,
    stat: &FileStat,
    resume: &Resume,
    trail: &[(FileOffset, Fingerprint)],
) -> io::Result<Option<Mark>> {
    let (mark, head_len) = (resume.mark, usize::from(resume.head.len));
    let is_longer = mark.offset.0 <= stat.size;
    let may_be = match resume.kin {
        Kin::Same { .. } => resume.is_of(stat) && is_longer,
        Kin::Copy { .. } => head_len != 0,
        // Short files are alike too easily.
        Kin::Moved => is_longer && head_len == HEAD_BYTES && HEAD_BYTES as u64 <= mark.offset.0,
    };
    if !may_be || !has_head(files, file, resume.head)? {
        return Ok(None);
    }
    if !is_longer {
        // What was written between the copying and the truncation was read from the original. A
        // head alone does not tell: files may begin alike.
        let Some(&(at, tail)) = trail.iter().rfind(|(at, _)| at.0 <= stat.size) else {
            return Ok(None);
        };
        let (offset, held) = (FileOffset(stat.size), mark.held);
        let end = Mark { offset, held, ..Mark::default() };
        return Ok(has_before(files, file, at, tail)?.then_some(end));
    }
    Ok(has_before(files, file, mark.offset, mark.tail)?.then_some(mark))
}

/// Whether an opened file is a copy of `known`, as far as that was read.
pub(super) fn is_copy<D: Files>(
    files: &mut D,
    file: &D::File,
    stat: &FileStat,
    known: &Tracked<D::File>,
) -> io::Result<bool> {
    if known.head.len == 0 || !has_head(files, file, known.head)? {
        return Ok(false);
    }
    let (mut proofs, mut is_far) = (0, false);
    let read = (known.read.offset, known.read.tail);
    for &(offset, tail) in known.trail.iter().chain([&read]) {
        if stat.size < offset.0 || tail.len == 0 {
            continue;
        }
        if !has_before(files, file, offset, tail)? {
            return Ok(false);
        }
        proofs += 1;
        is_far |= 2 * HEAD_BYTES as u64 <= offset.0;
    }
    // Files may begin alike for longer than was read: as long as the original has its content, that
    // has the last word.
    let Some(original) = &known.handle else { return Ok(is_far) };
    if !has_before(files, original, known.read.offset, known.read.tail)? {
        return Ok(0 < proofs);
    }
    // A copy is never longer, but that of a file that was moved may have been written to since.
    let there = files.stat(original)?;
    if there.size < stat.size && there.links != 0 {
        return Ok(false);
    }
    let (mut own, mut other) = ([0; HEAD_BYTES], [0; HEAD_BYTES]);
    let common = there.size.min(stat.size);
    let from = common.saturating_sub(HEAD_BYTES as u64);
    let wanted = usize::try_from(common - from).unwrap_or(HEAD_BYTES);
    let len = read_full(files, file, &mut own[..wanted], from)?;
    read_full(files, original, &mut other[..len], from)?;
    Ok(own[..len] == other[..len])
}

fn has_head<D: Files>(files: &mut D, file: &D::File, head: Fingerprint) -> io::Result<bool> {
    let mut bytes = [0; HEAD_BYTES];
    let wanted = usize::from(head.len).min(HEAD_BYTES);
    let len = read_full(files, file, &mut bytes[..wanted], 0)?;
    Ok(begins_with(&bytes[..len], head))
}

/// Whether the bytes before `offset` are those that `tail` was made of.
fn has_before<D: Files>(
    files: &mut D,
    file: &D::File,
    offset: FileOffset,
    tail: Fingerprint,
) -> io::Result<bool> {
    let mut bytes = [0; TAIL_BYTES];
    let wanted = usize::from(tail.len).min(TAIL_BYTES);
    let Some(from) = offset.0.checked_sub(wanted as u64) else { return Ok(false) };
    let len = read_full(files, file, &mut bytes[..wanted], from)?;
    Ok(begins_with(&bytes[..len], tail))
}

/// Reads until `buf` is full or the file ends.
pub(super) fn read_full<D: Files>(
    files: &mut D,
    file: &D::File,
    buf: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    read_enough(files, file, buf, offset, buf.len())
}

/// Reads until `buf` has at least `enough` bytes, or is full, or the file ends.
pub(super) fn read_enough<D: Files>(
    files: &mut D,
    file: &D::File,
    buf: &mut [u8],
    offset: u64,
    enough: usize,
) -> io::Result<usize> {
    let (mut len, enough) = (0, enough.min(buf.len()));
    while len < enough {
        match files.read_at(file, &mut buf[len..], offset + len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

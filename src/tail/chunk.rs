//! The bytes of one read, cut into lines that are borrowed from them.

use std::ops::Range;

use super::identity::tail_of;
use crate::model::{FileKey, FileOffset, Fingerprint, Mark, SourceId};

/// A file's place in its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) usize);

/// Whole lines of one file, in the buffer that was handed to the reader.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Whose lines; for [`super::Reader::consumed`].
    pub slot: Slot,
    /// Which generation of which file.
    pub file: FileKey,
    /// Which source the file belongs to.
    pub source: SourceId,
    /// Where the first line starts, with the line time state there.
    pub start: Mark,
    /// Where the lines are in the buffer.
    pub range: Range<usize>,
    /// The full length of the only line, when it is longer than the buffer: `range` is its head.
    pub long: Option<u64>,
    /// The hash of the bytes before the end of that line, which are not in the buffer.
    pub long_tail: Fingerprint,
    /// The last line has no newline and never will.
    pub unterminated: bool,
}

/// One line, without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawLine<'a> {
    /// The bytes of the line, or the head of a long one.
    pub bytes: &'a [u8],
    /// The full length, when `bytes` is only the head.
    pub truncated_from: Option<u64>,
    /// The offset behind the line and its newline.
    pub end: FileOffset,
}

impl Chunk {
    /// The lines of the chunk, which lies in `buf`.
    pub fn lines<'a>(&self, buf: &'a [u8]) -> impl Iterator<Item = RawLine<'a>> + use<'a> {
        let mut rest = &buf[self.range.clone()];
        let mut offset = self.start.offset.0;
        let long = self.long;
        let newline = u64::from(!self.unterminated);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            if let Some(full) = long {
                let bytes = std::mem::take(&mut rest);
                let end = FileOffset(offset + full + newline);
                return Some(RawLine { bytes, truncated_from: Some(full), end });
            }
            let (bytes, used) = match memchr::memchr(b'\n', rest) {
                Some(newline) => (&rest[..newline], newline + 1),
                None => (rest, rest.len()),
            };
            rest = &rest[used..];
            offset += used as u64;
            Some(RawLine { bytes, truncated_from: None, end: FileOffset(offset) })
        })
    }

    /// The hash of the bytes before `end`, where the lines up to it were taken from `buf`.
    #[must_use]
    pub fn tail(&self, buf: &[u8], end: FileOffset) -> Fingerprint {
        if self.long.is_some() {
            return self.long_tail;
        }
        let len = usize::try_from(end.0 - self.start.offset.0).expect("BUG: end is in the chunk");
        // The bytes of the tail before the chunk stand before `range`, see `Reader::read`.
        let before = usize::from(self.start.tail.len);
        tail_of(&buf[self.range.start - before..self.range.start + len])
    }
}

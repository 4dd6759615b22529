//! Lines that a container runtime has split, held until their last part has come.
//!
//! One [`Join`] belongs to one container: each of its outputs has at most one line that has begun.
//! The joined line has the time of its first part and the bytes of all of them.

use super::parser::Line;
use super::timestamp::Reading;
use crate::model::{Counts, FileKey, FileOffset, OUTPUTS};

/// A line with its place in the input.
#[derive(Debug, Clone, Copy, Default)]
pub struct Piece<'a> {
    /// The line.
    pub line: Line<'a>,
    /// What it is in the input, newline and wrapper included.
    pub input: Counts,
    /// Where it begins.
    pub at: FileOffset,
}

/// The content of a wrapped line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    /// Its full length, of which `bytes` may be only the head.
    pub(super) len: u64,
    /// When the runtime read it.
    pub(super) time: Reading,
}

/// A part in an older generation, which may be forgotten when its line is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Older {
    /// Which generation.
    pub file: FileKey,
    /// Of which output's line.
    pub out: usize,
    /// Where its first part there lies.
    pub at: FileOffset,
}

/// The lines of one container that have begun and not ended.
#[derive(Debug, Default)]
pub struct Join {
    begun: [Option<Begun>; OUTPUTS],
    /// The line that the last piece has ended. It stays until [`Join::end`]: the entry may not have
    /// been taken, and then the piece comes again.
    ending: Option<usize>,
    /// Parts in older generations whose lines have ended.
    freed: Vec<Older>,
}

#[derive(Debug)]
struct Begun {
    /// Of the first part.
    time: Reading,
    /// The content, as far as it will be sent.
    bytes: Vec<u8>,
    /// How much of `bytes` was held; behind it is a last part that may come again.
    held: usize,
    /// The full length of what was held.
    len: u64,
    input: Counts,
    /// The first part in the file that is read now; 0 if the line began in an older generation.
    at: FileOffset,
    older: Vec<Older>,
    /// It is to be sent as it is.
    given_up: bool,
}

impl Join {
    /// Whether no line has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.begun.iter().all(Option::is_none)
    }

    /// What was held.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.begun.iter().flatten().for_each(|begun| counts += begun.input);
        counts
    }

    /// The memory it takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.begun.iter().flatten().map(|begun| begun.bytes.capacity()).sum()
    }

    /// Where the lines that have begun lie in the file that is read now; see `Mark::held`.
    #[must_use]
    pub fn held(&self) -> [Option<FileOffset>; OUTPUTS] {
        self.begun.each_ref().map(|begun| begun.as_ref().map(|begun| begun.at))
    }

    /// Gives up the lines behind whose first part more than `waited_max` bytes of other lines have
    /// gone by in the file that is read now, up to `end`.
    pub fn give_up(&mut self, end: FileOffset, waited_max: u64) {
        for begun in self.begun.iter_mut().flatten() {
            let since = end.0.saturating_sub(begun.at.0);
            begun.given_up |= waited_max < since.saturating_sub(begun.input.bytes);
        }
    }

    /// Gives up all lines that have begun.
    pub fn give_up_all(&mut self) {
        self.begun.iter_mut().flatten().for_each(|begun| begun.given_up = true);
    }

    /// An output whose line was given up.
    #[must_use]
    pub fn given_up(&self) -> Option<usize> {
        self.begun.iter().position(|begun| begun.as_ref().is_some_and(|begun| begun.given_up))
    }

    /// The entry that the last piece gave was taken or dropped. If it was a joined one, returns
    /// what its parts before that piece were in the input.
    pub fn end(&mut self) -> Counts {
        let Some(begun) = self.ending.take().and_then(|out| self.begun[out].take()) else {
            return Counts::default();
        };
        self.freed.extend(begun.older);
        begun.input
    }

    /// Goes on with what `before`, the join of the generation before, holds of the outputs where
    /// `goes_on`.
    pub fn inherit(&mut self, before: &mut Self, file: FileKey, goes_on: [bool; OUTPUTS]) {
        for (out, goes_on) in goes_on.into_iter().enumerate() {
            if goes_on && let Some(begun) = self.take(out, before, file) {
                begun.at = FileOffset(0);
            }
        }
    }

    /// Goes on with all that `original` holds, the join of the `file` that this one is a copy of.
    pub fn take_over(&mut self, original: &mut Self, file: FileKey) {
        (0..OUTPUTS).for_each(|out| {
            self.take(out, original, file);
        });
    }

    fn take(&mut self, out: usize, from: &mut Self, file: FileKey) -> Option<&mut Begun> {
        if self.begun[out].is_some() {
            return None;
        }
        let mut begun = from.begun[out].take()?;
        begun.older.push(Older { file, out, at: begun.at });
        Some(self.begun[out].insert(begun))
    }

    /// Parts in older generations whose lines have ended since the last call.
    pub fn freed(&mut self) -> Vec<Older> {
        std::mem::take(&mut self.freed)
    }

    /// Another piece comes: what the one before has ended and nobody took goes on.
    pub(super) fn begin(&mut self) {
        self.ending = None;
    }

    pub(super) fn has_begun(&self, out: usize) -> bool {
        self.begun[out].is_some()
    }

    /// Holds a part that is not the last. `bytes_max` is how much of a line is kept.
    pub(super) fn hold(&mut self, out: usize, part: Part<'_>, piece: &Piece<'_>, bytes_max: usize) {
        let begun = self.begun[out].get_or_insert_with(|| Begun {
            time: part.time,
            bytes: Vec::new(),
            held: 0,
            len: 0,
            input: Counts::default(),
            at: piece.at,
            older: Vec::new(),
            given_up: false,
        });
        begun.add(part, bytes_max);
        begun.held = begun.bytes.len();
        begun.len += part.len;
        begun.input += piece.input;
    }

    /// The whole line of `out`, which has begun, with its last part, if there is one.
    pub(super) fn whole(
        &mut self,
        out: usize,
        last: Option<Part<'_>>,
        bytes_max: usize,
    ) -> Option<(Line<'_>, Reading)> {
        self.ending = Some(out);
        let begun = self.begun[out].as_mut()?;
        let mut len = begun.len;
        if let Some(last) = last {
            begun.add(last, bytes_max);
            len += last.len;
        }
        let truncated_from = ((begun.bytes.len() as u64) < len).then_some(len);
        Some((Line { bytes: &begun.bytes, truncated_from }, begun.time))
    }
}

impl Begun {
    /// Adds what still fits behind what was held.
    fn add(&mut self, part: Part<'_>, bytes_max: usize) {
        self.bytes.truncate(self.held);
        // Behind a hole nothing can follow.
        if self.held as u64 == self.len {
            let room = bytes_max.saturating_sub(self.held).min(part.bytes.len());
            let wanted = self.held + room;
            if self.bytes.capacity() < wanted {
                // Twice what is there, as a Vec grows, but not beyond what is kept.
                let capacity = wanted.max(2 * self.held).min(bytes_max);
                self.bytes.reserve_exact(capacity - self.held);
            }
            self.bytes.extend_from_slice(&part.bytes[..room]);
        }
    }
}

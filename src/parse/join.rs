//! Lines that a container runtime has split, held until their last part has come, and lines that
//! belong to one entry, held until the next one begins.
//!
//! One [`Join`] belongs to one container: each of its outputs has at most one entry that has begun.
//! The joined entry has the time of its first part and the bytes of all of them.

use std::time::Duration;

use super::multiline::State;
use super::parser::Line;
use super::plan::Plan;
use super::timestamp::Reading;
use crate::model::{Counts, FileKey, FileOffset, Now, OUTPUTS};

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
    /// When the runtime read it, if there is one.
    pub(super) time: Option<Reading>,
    /// It is not in the format.
    pub(super) unfit: bool,
}

/// How a part is held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// It ends a line of the service: another one may follow in the same entry.
    pub(super) is_last: bool,
    /// Where the trace stands with the line that begins here, if one does.
    pub(super) trace: Option<State>,
    pub(super) now: Now,
}

/// An entry whose parts are all there.
#[derive(Debug)]
pub(super) struct Begins<'a> {
    pub(super) line: Line<'a>,
    /// Of its first part.
    pub(super) time: Option<Reading>,
    pub(super) unfit: bool,
    /// Where it begins in the file that is read now.
    pub(super) at: FileOffset,
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
    time: Option<Reading>,
    /// The first part is not in the format.
    unfit: bool,
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
    /// Lines of the service, the last of which is `open` while its last part has not come.
    lines: u32,
    open: bool,
    trace: State,
    /// When the last part came.
    grew_at: Duration,
    /// It is to be sent as it is.
    given_up: bool,
    /// It is to be sent before the next line is taken.
    ended: bool,
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

    /// Gives up the line that has begun on `out`.
    pub(super) fn give_up_one(&mut self, out: usize) {
        self.begun[out].iter_mut().for_each(|begun| begun.given_up = true);
    }

    /// Gives up the entries that have rested for `wait` behind a whole line. Returns whether there
    /// are some.
    pub fn rest(&mut self, wait: Duration, now: Now) -> bool {
        for begun in self.begun.iter_mut().flatten() {
            begun.given_up |= begun.rests_until(wait).is_some_and(|until| until <= now.mono);
        }
        self.given_up().is_some()
    }

    /// When the first of the entries that rest will have done so for `wait`.
    #[must_use]
    pub fn rests_until(&self, wait: Duration) -> Option<Duration> {
        self.begun.iter().flatten().filter_map(|begun| begun.rests_until(wait)).min()
    }

    /// The output on which the last piece begins an entry: the one before is to be taken first, and
    /// then the piece comes again.
    #[must_use]
    pub fn ended(&self) -> Option<usize> {
        self.begun.iter().position(|begun| begun.as_ref().is_some_and(|begun| begun.ended))
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

    /// Whether a line of the service has begun on `out` whose last part has not come.
    pub(super) fn is_open(&self, out: usize) -> bool {
        self.begun[out].as_ref().is_some_and(|begun| begun.open)
    }

    /// How many lines of the service are held of `out`, if there are any.
    pub(super) fn lines(&self, out: usize) -> Option<u32> {
        self.begun[out].as_ref().map(|begun| begun.lines)
    }

    pub(super) fn trace(&self, out: usize) -> State {
        self.begun[out].as_ref().map(|begun| begun.trace).unwrap_or_default()
    }

    /// Another entry begins on `out`.
    pub(super) fn end_group(&mut self, out: usize) {
        self.begun[out].iter_mut().for_each(|begun| begun.ended = true);
    }

    /// Holds a part. What is kept of an entry is what `plan` would send.
    pub(super) fn hold(
        &mut self,
        out: usize,
        part: Part<'_>,
        piece: &Piece<'_>,
        held: Held,
        plan: &Plan,
    ) {
        let begun = self.begun[out].get_or_insert_with(|| Begun::new(&part, piece.at));
        let bytes_max = kept(plan);
        if 0 < begun.lines && !begun.open {
            begun.add(b"\n", 1, bytes_max);
        }
        let cr = held.is_last && part.bytes.ends_with(b"\r") && part.bytes.len() as u64 == part.len;
        let bytes = &part.bytes[..part.bytes.len() - usize::from(cr)];
        begun.add(bytes, part.len - u64::from(cr), bytes_max);
        begun.lines += u32::from(!begun.open);
        begun.open = !held.is_last;
        begun.trace = held.trace.unwrap_or(begun.trace);
        begun.grew_at = held.now.mono;
        begun.input += piece.input;
    }

    /// The whole entry of `out`, which has begun, with its last part, if there is one.
    pub(super) fn whole(
        &mut self,
        out: usize,
        last: Option<Part<'_>>,
        plan: &Plan,
    ) -> Option<Begins<'_>> {
        self.ending = Some(out);
        let begun = self.begun[out].as_mut()?;
        let mut len = begun.len;
        if let Some(last) = last {
            begun.fill(last.bytes, kept(plan));
            len += last.len;
        }
        let truncated_from = ((begun.bytes.len() as u64) < len).then_some(len);
        let line = Line { bytes: &begun.bytes, truncated_from };
        Some(Begins { line, time: begun.time, unfit: begun.unfit, at: begun.at })
    }
}

/// How many bytes of an entry are held: room for a CR beyond what may be sent.
fn kept(plan: &Plan) -> usize {
    plan.line_bytes + 1
}

impl Begun {
    fn new(part: &Part<'_>, at: FileOffset) -> Self {
        Self {
            time: part.time,
            unfit: part.unfit,
            bytes: Vec::new(),
            held: 0,
            len: 0,
            input: Counts::default(),
            at,
            older: Vec::new(),
            lines: 0,
            open: false,
            trace: State::default(),
            grew_at: Duration::ZERO,
            given_up: false,
            ended: false,
        }
    }

    fn rests_until(&self, wait: Duration) -> Option<Duration> {
        (!self.open).then_some(self.grew_at.saturating_add(wait))
    }

    /// Holds `bytes`, the head of something `len` bytes long.
    fn add(&mut self, bytes: &[u8], len: u64, bytes_max: usize) {
        self.fill(bytes, bytes_max);
        self.held = self.bytes.len();
        self.len += len;
    }

    /// Puts what still fits behind what was held.
    fn fill(&mut self, bytes: &[u8], bytes_max: usize) {
        self.bytes.truncate(self.held);
        // Behind a hole nothing can follow.
        if self.held as u64 == self.len {
            let room = bytes_max.saturating_sub(self.held).min(bytes.len());
            let wanted = self.held + room;
            if self.bytes.capacity() < wanted {
                // Twice what is there, as a Vec grows, but not beyond what is kept.
                let capacity = wanted.max(2 * self.held).min(bytes_max);
                self.bytes.reserve_exact(capacity - self.held);
            }
            self.bytes.extend_from_slice(&bytes[..room]);
        }
    }
}

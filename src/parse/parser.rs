//! One line in, one entry out.

use std::sync::Arc;
use std::time::Duration;

use super::finder::{Finder, joined};
use super::flags::Flags;
use super::join::{Join, Piece};
use super::maker::Maker;
use super::plan::Plan;
use super::stamp::Missing;
use crate::model::{Entry, FileOffset, Flag, Now, OUTPUTS, Observation, Origin, Reason, Stamp};

/// A line as tail gives it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line<'a> {
    /// Its bytes, without the newline.
    pub bytes: &'a [u8],
    /// Its full length in bytes, when `bytes` is only its beginning.
    pub truncated_from: Option<u64>,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'a> {
    /// It goes to Loki.
    Emit(Entry<'a>),
    /// It does not.
    Drop(Reason),
    /// It has to come again, at this time since start.
    NotBefore(Duration),
}

/// Reads the lines of one source, on one thread: no locks, and after the first lines no
/// allocation, except for values that have to be cleaned and lines that have to be joined.
#[derive(Debug)]
pub struct Parser {
    plan: Arc<Plan>,
    flags: Flags,
    finder: Finder,
    maker: Maker,
}

impl Parser {
    /// A parser for one source. `stamps_follow`: a line without a usable stamp takes that of the
    /// line before, as in files; on standard input it takes the read time.
    #[must_use]
    pub fn new(plan: Arc<Plan>, stamps_follow: bool) -> Self {
        let missing = if stamps_follow { Missing::Follows } else { Missing::ReadTime };
        let (finder, maker) = (Finder::new(&plan), Maker::new(&plan, missing));
        Self { plan, flags: Flags::default(), finder, maker }
    }

    /// How long lines wait for those that follow in the same entry, if they do.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.plan.wait()
    }

    /// Reads one line and gives the verdict to `then`, whose result is returned. `stamp` belongs to
    /// the line's file. The same plan, line, `stamp` and `now` always give the same verdict. A part
    /// of a line counts as a line.
    pub fn line<R>(
        &mut self,
        line: Line<'_>,
        stamp: &mut Stamp,
        now: Now,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> R {
        let piece = Piece { line, ..Piece::default() };
        self.flags = Flags::default();
        let found = self.finder.find(&self.plan, piece, None, now, &mut self.flags);
        let found = found.expect("BUG: a part is held by nobody");
        self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then)
    }

    /// The same, but a part of a line is held in `join`, which belongs to the line's container,
    /// until the last one comes; then [`Join::end`] is to be called when the verdict was obeyed.
    /// `None` when the piece is held, or when an entry has [`Join::ended`] before it.
    pub fn piece<R>(
        &mut self,
        piece: Piece<'_>,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> Option<R> {
        self.flags = Flags::default();
        let found = self.finder.find(&self.plan, piece, Some(join), now, &mut self.flags)?;
        Some(self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then))
    }

    /// What has begun on the output `out` and will not go on, like [`Parser::piece`]. `None` when
    /// there is nothing.
    pub fn unfinished<R>(
        &mut self,
        out: usize,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> Option<R> {
        self.flags = Flags::default();
        let is_open = join.is_open(out);
        let found =
            joined(&self.plan, out, None, join, &mut self.finder.lossy_joined, &mut self.flags)?;
        if is_open {
            self.flags.set(Flag::Unfinished);
        }
        Some(self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then))
    }

    /// Holds a piece that was held by an earlier run, if it is of an entry that is `wanted`
    /// (`Mark::held`). All else was settled. Returns whether it was held.
    pub fn hold_again(
        &mut self,
        piece: Piece<'_>,
        join: &mut Join,
        wanted: [Option<FileOffset>; OUTPUTS],
        now: Now,
    ) -> bool {
        self.finder.hold_again(&self.plan, &piece, join, wanted, now)
    }

    /// What was noticed about the last line.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// The last line was taken, or dropped as the verdict said: it does not come again.
    pub fn taken(&mut self) {
        self.maker.taken();
    }

    /// What the lines that were taken since the last call have said to the metrics of the plan.
    pub fn observed(&mut self) -> impl Iterator<Item = Observation> {
        self.maker.observed()
    }

    /// Lines from somewhere else follow: what rules call `$name`.
    pub fn set_origin(&mut self, origin: &Origin) {
        self.maker.set_origin(&self.plan, origin);
    }

    /// Says which labels are to be metadata from the next line on, by position in
    /// [`Plan::label_names`]; their place in `Entry::labels` stays, empty.
    pub fn set_demoted(&mut self, demoted: &[bool]) {
        self.maker.set_demoted(demoted);
    }
}

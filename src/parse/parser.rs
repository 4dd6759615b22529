//! One line in, one entry out.

use std::mem::take;
use std::sync::Arc;

use super::fields::Picked;
use super::flags::Flags;
use super::join::{Join, Part, Piece};
use super::options::Format;
use super::plan::Plan;
use super::stamp::{self, LineTime, Missing};
use super::text;
use super::timestamp::{Reading, Times};
use super::values::{Fields, Matcher, TRUNCATED_FROM, Values, Written};
use super::wrapper::{Inner, Tag, Unwrapper};
use super::{json, logfmt};
use crate::model::{
    Entry, FileOffset, Flag, Now, ORIGINAL_TIMESTAMP, OUTPUTS, Pair, Reason, Stamp, UnixNanos,
};

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
        let maker = Maker::new(&plan, missing);
        Self { plan, flags: Flags::default(), finder: Finder::new(), maker }
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
        let found = self.finder.find(&self.plan, piece, None, &mut self.flags);
        let found = found.expect("BUG: a part is held by nobody");
        self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then)
    }

    /// The same, but a part of a line is held in `join`, which belongs to the line's container,
    /// until the last one comes; then [`Join::end`] is to be called when the verdict was obeyed.
    /// `None` when the piece is held.
    pub fn piece<R>(
        &mut self,
        piece: Piece<'_>,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> Option<R> {
        self.flags = Flags::default();
        let found = self.finder.find(&self.plan, piece, Some(join), &mut self.flags)?;
        Some(self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then))
    }

    /// A line that has begun on the output `out` and will not be ended, like [`Parser::piece`].
    /// `None` when there is none.
    pub fn unfinished<R>(
        &mut self,
        out: usize,
        join: &mut Join,
        stamp: &mut Stamp,
        now: Now,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> Option<R> {
        self.flags = Flags::default();
        let found =
            joined(&self.plan, out, None, join, &mut self.finder.lossy_joined, &mut self.flags)?;
        self.flags.set(Flag::Unfinished);
        Some(self.maker.make(&self.plan, &found, stamp, now, &mut self.flags, then))
    }

    /// Holds a piece that was held by an earlier run, if it is a part of a line that is `wanted`
    /// (`Mark::held`). All else was settled. Returns whether it was held.
    pub fn hold_again(
        &mut self,
        piece: Piece<'_>,
        join: &mut Join,
        wanted: [Option<FileOffset>; OUTPUTS],
    ) -> bool {
        let plan = &*self.plan;
        let is_wanted =
            |tag: Tag| !tag.is_last && wanted[tag.out].is_some_and(|from| from <= piece.at);
        self.finder.tag(plan, piece.line, &mut self.flags).is_some_and(is_wanted)
            && self.finder.find(plan, piece, Some(join), &mut self.flags).is_none()
    }

    /// What was noticed about the last line.
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Says which labels are to be metadata from the next line on, by position in
    /// [`Plan::label_names`]; their place in `Entry::labels` stays, empty.
    pub fn set_demoted(&mut self, demoted: &[bool]) {
        self.maker.demoted.copy_from_slice(demoted);
    }
}

/// Finds the service's line: in its wrapper, and in parts. Its fields are scratch.
#[derive(Debug)]
struct Finder {
    lossy: String,
    lossy_joined: String,
    unwrapper: Unwrapper,
}

/// A whole line of a service.
struct Whole<'a> {
    inner: Inner<'a>,
    truncated_from: Option<u64>,
}

impl Finder {
    fn new() -> Self {
        Self { lossy: String::new(), lossy_joined: String::new(), unwrapper: Unwrapper::new() }
    }

    /// The line that `piece` is, or is the last part of. `None` when it is held in `join`.
    #[inline(always)]
    fn find<'a>(
        &'a mut self,
        plan: &Plan,
        piece: Piece<'a>,
        join: Option<&'a mut Join>,
        flags: &mut Flags,
    ) -> Option<Whole<'a>> {
        let text::Text { text, truncated_from } =
            text::read(piece.line, plan.line_bytes, &mut self.lossy, flags);
        let inner = self.unwrapper.unwrap(text, plan.format);
        let whole = Whole { inner, truncated_from };
        let Some(join) = join else { return Some(whole) };
        join.begin();
        let Some((tag, time)) = inner.tag.zip(inner.time) else { return Some(whole) };
        if tag.is_last && !join.has_begun(tag.out) {
            return Some(whole);
        }
        let part = part(&piece, &inner, tag, time);
        take_part(plan, piece, tag, part, join, &mut self.lossy_joined, flags)
    }

    fn tag(&mut self, plan: &Plan, line: Line<'_>, flags: &mut Flags) -> Option<Tag> {
        let text = text::read(line, plan.line_bytes, &mut self.lossy, flags).text;
        self.unwrapper.unwrap(text, plan.format).tag
    }
}

/// The content of a piece that is a part.
fn part<'a>(piece: &Piece<'a>, inner: &Inner<'a>, tag: Tag, time: Reading) -> Part<'a> {
    match tag.before {
        // Not from the text: a part may end inside a character.
        Some(before) => {
            let bytes = piece.line.bytes.get(before..).unwrap_or_default();
            let len = piece.line.truncated_from.map(|len| len.saturating_sub(before as u64));
            Part { bytes, len: len.unwrap_or(bytes.len() as u64), time }
        }
        None => Part { bytes: inner.text.as_bytes(), len: inner.text.len() as u64, time },
    }
}

/// Holds a part, or ends the line with it.
fn take_part<'a>(
    plan: &Plan,
    piece: Piece<'_>,
    tag: Tag,
    part: Part<'_>,
    join: &'a mut Join,
    lossy: &'a mut String,
    flags: &mut Flags,
) -> Option<Whole<'a>> {
    *flags = Flags::default();
    if !tag.is_last {
        join.hold(tag.out, part, &piece, plan.line_bytes + 1);
        return None;
    }
    joined(plan, tag.out, Some(part), join, lossy, flags)
}

/// The line that has begun on `out`, with its last part. Room for a CR is kept beyond the limit.
fn joined<'a>(
    plan: &Plan,
    out: usize,
    last: Option<Part<'_>>,
    join: &'a mut Join,
    lossy: &'a mut String,
    flags: &mut Flags,
) -> Option<Whole<'a>> {
    let (line, time) = join.whole(out, last, plan.line_bytes + 1)?;
    let text::Text { text, truncated_from } = text::read(line, plan.line_bytes, lossy, flags);
    let inner = Inner { text, time: Some(time), unfit: false, tag: None };
    Some(Whole { inner, truncated_from })
}

/// Makes the entry of a line. No locks, and after the first lines no allocation, except for values
/// that have to be cleaned.
#[derive(Debug)]
struct Maker {
    missing: Missing,
    demoted: Vec<bool>,
    matchers: Vec<Matcher>,
    picker: json::Picker,
    times: Times,

    // Scratch, meaningless between lines.
    picked: Picked,
    written: Written,
    labels: Vec<&'static str>,
    metadata: Vec<Pair<'static>>,
}

impl Maker {
    fn new(plan: &Plan, missing: Missing) -> Self {
        Self {
            missing,
            demoted: vec![false; plan.label_names().len()],
            matchers: Matcher::all(plan),
            picker: json::Picker::new(),
            times: Times::new(),
            picked: Picked::default(),
            written: Written::default(),
            labels: Vec::new(),
            metadata: Vec::new(),
        }
    }

    fn make<R>(
        &mut self,
        plan: &Plan,
        whole: &Whole<'_>,
        stamp: &mut Stamp,
        now: Now,
        flags: &mut Flags,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> R {
        let inner = &whole.inner;
        self.pick(plan, inner, whole.truncated_from.is_some(), flags);

        let raw = self.raw_stamp(plan, inner, flags);
        let LineTime { time, moved_from } = stamp::advance(stamp, raw, self.missing, now);
        if moved_from.is_some() {
            flags.set(Flag::MovedIntoWindow);
        }
        if time < now.wall.minus(plan.age) {
            return then(Verdict::Drop(Reason::TooOld));
        }

        let (labels, metadata) = (take(&mut self.labels), take(&mut self.metadata));
        let mut values = Values { labels, metadata, metadata_bytes: 0 };
        let written = &mut self.written;
        written.clear();
        let fields = Fields { text: inner.text, picked: &self.picked, plan };
        values.collect(&fields, &self.demoted, &mut self.matchers, written, flags);
        if let Some(len) = whole.truncated_from {
            values.add_note(TRUNCATED_FROM, format_args!("{len}"), written);
        }
        if let Some(raw) = moved_from {
            values.add_note(ORIGINAL_TIMESTAMP, format_args!("{raw}"), written);
        }
        values.take(written);

        let Values { labels, metadata, .. } = values;
        let entry = Entry { time, line: inner.text, labels: &labels, metadata: &metadata };
        let result = then(Verdict::Emit(entry));
        self.labels = recycle(labels);
        self.metadata = recycle(metadata);
        result
    }

    /// Picks the wanted fields. Of a line that was cut nobody expects that it ends as it should.
    #[inline(always)]
    fn pick(&mut self, plan: &Plan, inner: &Inner<'_>, cut: bool, flags: &mut Flags) {
        let Self { picker, picked, .. } = self;
        if inner.unfit {
            flags.set(Flag::NotInFormat);
            return picked.clear(plan.wanted.slots());
        }
        match plan.format {
            Format::Text => picked.clear(plan.wanted.slots()),
            Format::Logfmt => {
                if !logfmt::pick(inner.text, &plan.wanted, picked) && !cut {
                    flags.set(Flag::NotInFormat);
                }
            }
            Format::Auto | Format::Cri | Format::Docker if !json::looks_like_object(inner.text) => {
                picked.clear(plan.wanted.slots());
            }
            Format::Json | Format::Auto | Format::Cri | Format::Docker => {
                if !picker.pick(inner.text, &plan.wanted, picked) && !cut {
                    flags.set(Flag::NotJson);
                }
            }
        }
    }

    /// The stamp of the line: the first of the rules' fields that can be read, else the wrapper's.
    #[inline(always)]
    fn raw_stamp(
        &mut self,
        plan: &Plan,
        inner: &Inner<'_>,
        flags: &mut Flags,
    ) -> Option<UnixNanos> {
        let reading = plan.times.iter().find_map(|time| {
            let text = self.picked.scalar(time.slot, inner.text)?;
            self.times.read(text, &time.formats)
        });
        let Some(reading) = reading.or(inner.time) else {
            flags.set(Flag::NoTimestamp);
            return None;
        };
        if reading.clamped {
            flags.set(Flag::TimestampClamped);
        }
        Some(reading.time)
    }
}

/// The same memory for another lifetime: collecting an emptied vector into one of the same layout
/// allocates nothing.
fn recycle<T, U>(mut vec: Vec<T>) -> Vec<U> {
    vec.clear();
    vec.into_iter().map(|_| unreachable!("BUG: the vector was emptied")).collect()
}

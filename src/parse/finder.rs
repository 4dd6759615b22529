//! Finds the service's line: in its wrapper, and in parts.

use super::flags::Flags;
use super::join::{Begins, Held, Join, Part, Piece};
use super::multiline::Grouper;
use super::plan::Plan;
use super::wrapper::{Inner, Unwrapper};
use super::{ansi, text};
use crate::model::{FileOffset, Now, OUTPUTS};

/// Finds the service's line: in its wrapper, and in parts. Its fields are scratch.
#[derive(Debug)]
pub(super) struct Finder {
    lossy: String,
    pub(super) lossy_joined: String,
    unwrapper: Unwrapper,
    grouper: Option<Grouper>,
}

/// A whole line of a service.
pub(super) struct Whole<'a> {
    pub(super) inner: Inner<'a>,
    pub(super) truncated_from: Option<u64>,
    /// Where it begins, for chance; of one in parts, where its last part does.
    pub(super) at: FileOffset,
}

impl Finder {
    pub(super) fn new(plan: &Plan) -> Self {
        let (lossy, lossy_joined) = (String::new(), String::new());
        let grouper = plan.multiline.clone().map(Grouper::new);
        Self { lossy, lossy_joined, unwrapper: Unwrapper::new(), grouper }
    }

    /// The line that `piece` is, or is the last part of. `None` when it is held in `join`, or when
    /// what is held there is to be taken first: [`Join::ended`].
    #[inline(always)]
    pub(super) fn find<'a>(
        &'a mut self,
        plan: &Plan,
        piece: Piece<'a>,
        join: Option<&'a mut Join>,
        now: Now,
        flags: &mut Flags,
    ) -> Option<Whole<'a>> {
        let text::Text { text, truncated_from } =
            text::read(piece.line, plan.line_bytes, &mut self.lossy, flags);
        let inner = self.unwrapper.unwrap(text, plan.format.wrapper);
        let whole = Whole { inner, truncated_from, at: piece.at };
        let Some(join) = join else { return Some(whole) };
        join.begin();
        if let Some(grouper) = &self.grouper {
            group(plan, grouper, &piece, &whole.inner, join, now);
            return None;
        }
        let Some(tag) = inner.tag else { return Some(whole) };
        if tag.is_last && !join.has_begun(tag.out) {
            return Some(whole);
        }
        *flags = Flags::default();
        let part = part(&piece, &inner, tag.before);
        if !tag.is_last {
            join.hold(tag.out, part, &piece, Held { is_last: false, trace: None, now }, plan);
            return None;
        }
        let whole = joined(plan, tag.out, Some(part), join, &mut self.lossy_joined, flags)?;
        Some(Whole { at: piece.at, ..whole })
    }

    /// Holds `piece` whatever it is, if it lies behind what is `wanted` of its output.
    pub(super) fn hold_again(
        &mut self,
        plan: &Plan,
        piece: &Piece<'_>,
        join: &mut Join,
        wanted: [Option<FileOffset>; OUTPUTS],
        now: Now,
    ) -> bool {
        let text =
            text::read(piece.line, plan.line_bytes, &mut self.lossy, &mut Flags::default()).text;
        let inner = self.unwrapper.unwrap(text, plan.format.wrapper);
        let (out, is_last) = place(&inner);
        if wanted[out].is_none_or(|from| piece.at < from) {
            return false;
        }
        let trace = self.grouper.as_ref().and_then(|grouper| {
            if join.is_open(out) {
                None
            } else {
                Some(grouper.goes_on(join.trace(out), inner.text))
            }
        });
        let part = part(piece, &inner, inner.tag.and_then(|tag| tag.before));
        join.hold(out, part, piece, Held { is_last, trace, now }, plan);
        if is_last && self.grouper.is_none() {
            // An earlier configuration has grouped these lines.
            join.give_up_one(out);
        }
        true
    }
}

/// The output of a piece, and whether it ends a line of the service.
fn place(inner: &Inner<'_>) -> (usize, bool) {
    match inner.tag {
        Some(tag) => (tag.out, tag.is_last),
        None => (inner.out.unwrap_or(0), true),
    }
}

/// Adds a piece to the entry that it belongs to, or ends the one before.
fn group(
    plan: &Plan,
    grouper: &Grouper,
    piece: &Piece<'_>,
    inner: &Inner<'_>,
    join: &mut Join,
    now: Now,
) {
    let (out, is_last) = place(inner);
    let mut trace = None;
    if !join.is_open(out) {
        let mut stripped = String::new();
        let is_stripped = plan.strip_ansi && ansi::strip(inner.text, &mut stripped);
        let text = if is_stripped { &*stripped } else { inner.text };
        let going_on = join.lines(out).filter(|lines| *lines < grouper.lines_max());
        let going_on = going_on.and_then(|_| grouper.continues(join.trace(out), text));
        if going_on.is_none() && join.has_begun(out) {
            join.end_group(out);
            return;
        }
        trace = Some(going_on.unwrap_or_else(|| grouper.begins(text)));
    }
    let part = part(piece, inner, inner.tag.and_then(|tag| tag.before));
    join.hold(out, part, piece, Held { is_last, trace, now }, plan);
}

/// The content of a piece, which begins at `before` if it lies in the piece as it is.
fn part<'a>(piece: &Piece<'a>, inner: &Inner<'a>, before: Option<usize>) -> Part<'a> {
    let Inner { text, time, unfit, .. } = *inner;
    // Not from the text: a part may end inside a character.
    let before = match (before, time) {
        (Some(before), _) => before,
        (None, None) => 0,
        (None, Some(_)) => {
            return Part { bytes: text.as_bytes(), len: text.len() as u64, time, unfit };
        }
    };
    let bytes = piece.line.bytes.get(before..).unwrap_or_default();
    let len = piece.line.truncated_from.map(|len| len.saturating_sub(before as u64));
    Part { bytes, len: len.unwrap_or(bytes.len() as u64), time, unfit }
}

/// The entry that has begun on `out`, with its last part.
pub(super) fn joined<'a>(
    plan: &Plan,
    out: usize,
    last: Option<Part<'_>>,
    join: &'a mut Join,
    lossy: &'a mut String,
    flags: &mut Flags,
) -> Option<Whole<'a>> {
    let Begins { line, time, unfit, at } = join.whole(out, last, plan)?;
    let text::Text { text, truncated_from } = text::read(line, plan.line_bytes, lossy, flags);
    let inner = Inner { text, time, unfit, tag: None, out: time.map(|_| out) };
    Some(Whole { inner, truncated_from, at })
}

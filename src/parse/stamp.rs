//! From the stamp a line carries to the time Loki stores.

use crate::model::{AHEAD_MAX, Now, Stamp, UnixNanos};

/// What a line without a usable stamp takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The stamp of the line before, and before any the read time: files.
    Follows,
    /// The read time: standard input.
    ReadTime,
}

/// The time of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LineTime {
    pub(super) time: UnixNanos,
    /// The line's own stamp, when it was too far ahead or too old and `time` is the read time.
    pub(super) moved_from: Option<UnixNanos>,
}

/// Takes one more line, with its own stamp `raw` if it has one, into `stamp`.
///
/// Lines with the stamp of the line before get +1 ns each. A replay from the same `stamp` gives
/// the same times, with two exceptions that depend on when the line was read: a stamp later than
/// `now` + [`AHEAD_MAX`] or before `oldest` becomes `now` (and takes part in the +1 ns as if the
/// line had had that), and a missing stamp for which nothing came before.
pub(super) fn advance(
    stamp: &mut Stamp,
    raw: Option<UnixNanos>,
    oldest: UnixNanos,
    missing: Missing,
    now: Now,
) -> LineTime {
    let raw = raw.unwrap_or_else(|| match missing {
        Missing::Follows => stamp.last_raw.get().unwrap_or(now.wall),
        Missing::ReadTime => now.wall,
    });
    let moved_from = (raw > now.wall.plus(AHEAD_MAX) || raw < oldest).then_some(raw);
    let raw = if moved_from.is_some() { now.wall } else { raw };

    let repeats = match stamp.last_raw.get() == Some(raw) {
        true => stamp.repeats.saturating_add(1),
        false => 0,
    };
    *stamp = Stamp { last_raw: Some(raw).into(), repeats };
    let time = UnixNanos(raw.0.saturating_add(i64::from(repeats)));
    LineTime { time, moved_from }
}

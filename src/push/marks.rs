//! Streams that Loki has refused something of lately: they get pushes of their own.

use std::time::Duration;

use crate::model::UnixNanos;

/// How long a stream is sent apart after Loki last refused something of it.
const MARKED_FOR: Duration = Duration::from_secs(600);

/// Most streams that are sent apart; the one that was refused longest ago is forgotten.
const MARKS_MAX: usize = 64;

/// How far inside Loki's window what was too far behind is moved, so that it is still inside when
/// it is sent again, though the stream may have gone on; doubled each time that it was not.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// How often the same entries are moved before they are given up. The last margin is well within
/// the hour that Loki's window has by default.
pub(super) const MOVES_MAX: u32 = 4;

/// Entries are moved at most so many nanoseconds further than their margin: a minute.
const SPREAD_MAX: i64 = 60_000_000_000;

/// The marked streams of one sender.
#[derive(Debug)]
pub(super) struct Marks {
    all: Vec<Mark>,
    /// Nanoseconds that the next entry is moved further than its margin. Grows with each, so that
    /// no two have the same time, whatever is forgotten of a stream; begins anywhere, for another
    /// run may have moved lines to the same margin.
    spread: i64,
}

/// What is known of one of them.
#[derive(Debug)]
pub(super) struct Mark {
    labels: Box<str>,
    until: Duration,
    /// Entries before this are too far behind.
    pub(super) floor: Option<UnixNanos>,
    /// The last time that an entry was moved to.
    moved_to: Option<UnixNanos>,
    /// Bytes a second that Loki takes of it.
    pub(super) rate: Option<u64>,
    /// When it may be sent again, to keep that rate.
    pub(super) not_before: Duration,
}

impl Marks {
    pub(super) fn new(seed: u64) -> Self {
        let spread = fastrand::Rng::with_seed(seed).i64(0..SPREAD_MAX / 2);
        Self { all: Vec::new(), spread }
    }

    /// Marks a stream, or goes on marking it.
    pub(super) fn mark(&mut self, labels: &str, now: Duration) -> &mut Mark {
        let found = self.all.iter().position(|mark| &*mark.labels == labels);
        let idx = found.unwrap_or_else(|| {
            if self.all.len() == MARKS_MAX {
                let oldest = self.all.iter().enumerate().min_by_key(|(_, mark)| mark.until);
                let oldest = oldest.map_or(0, |(idx, _)| idx);
                self.all.swap_remove(oldest);
            }
            self.all.push(Mark {
                labels: labels.into(),
                until: Duration::ZERO,
                floor: None,
                moved_to: None,
                rate: None,
                not_before: Duration::ZERO,
            });
            self.all.len() - 1
        });
        let mark = &mut self.all[idx];
        mark.until = now + MARKED_FOR;
        mark
    }

    /// The mark of a stream.
    pub(super) fn get(&mut self, labels: &str) -> Option<&mut Mark> {
        self.all.iter_mut().find(|mark| &*mark.labels == labels)
    }

    /// Where entries of a stream go that are before `floor` and were moved `moves` times: inside the
    /// window, behind what was moved before.
    pub(super) fn place(&mut self, labels: &str, floor: UnixNanos, moves: u32) -> UnixNanos {
        let to = floor.plus(MARGIN.saturating_mul(1 << moves.min(MOVES_MAX)));
        let to = UnixNanos(to.0.saturating_add(self.spread));
        let last = self.get(labels).and_then(|mark| mark.moved_to);
        last.map_or(to, |last| to.max(UnixNanos(last.0.saturating_add(1))))
    }

    /// Entries of a stream were moved to the times from `first` to `last`.
    pub(super) fn moved(&mut self, labels: &str, first: UnixNanos, last: UnixNanos) {
        self.spread = (self.spread + 1 + last.0 - first.0) % SPREAD_MAX;
        if let Some(mark) = self.get(labels) {
            mark.moved_to = Some(last);
        }
    }

    /// Whether a stream is marked.
    pub(super) fn has(&self, labels: &str) -> bool {
        self.all.iter().any(|mark| &*mark.labels == labels)
    }

    /// Forgets streams whose time is over. Returns whether there are others.
    pub(super) fn any(&mut self, now: Duration) -> bool {
        self.all.retain(|mark| now < mark.until);
        !self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_end() {
        let (mut marks, second) = (Marks::new(1), Duration::from_secs);
        for idx in 0..100 {
            marks.mark(&format!("{{a=\"{idx}\"}}"), second(idx)).rate = Some(idx);
        }
        assert_eq!(marks.all.len(), MARKS_MAX);
        assert!(marks.get("{a=\"35\"}").is_none() && marks.get("{a=\"36\"}").is_some());
        assert_eq!(marks.mark("{a=\"36\"}", second(500)).rate, Some(36));
        assert!(marks.any(second(699)));
        assert!(marks.any(second(1099)) && marks.get("{a=\"99\"}").is_none());
        assert!(!marks.any(second(1100)));
    }

    #[test]
    fn no_two_entries_are_moved_to_the_same_time() {
        let (mut marks, floor) = (Marks::new(7), UnixNanos(0));
        let mut before = marks.place("{}", floor, 0);
        assert!(floor.plus(MARGIN) <= before && before < floor.plus(MARGIN * 2));
        for round in 0..3 {
            marks.mark("{}", Duration::ZERO);
            let last = before.plus(Duration::from_nanos(10));
            marks.moved("{}", before, last);
            // Whether it is still known or not.
            assert_eq!(marks.any(Duration::from_secs(round * 400)), round < 2);
            let next = marks.place("{}", floor, 0);
            assert_eq!(next.0, last.0 + 1, "round {round}");
            before = next;
        }
        marks.mark("{}", Duration::ZERO);
        marks.moved("{}", before, UnixNanos(i64::MAX / 2));
        assert_eq!(marks.place("{}", floor, 0), UnixNanos(i64::MAX / 2 + 1), "never back");
    }
}

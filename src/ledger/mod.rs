//! Knows, for each file, what Loki has answered for: receipts in, watermarks out.
//!
//! May touch: its arguments. Must not: know why something was dropped.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Counts, FileKey, FileOffset, Mark, Moment, Permit};

/// One claim on a stretch of one file: the stretch is settled when all its tickets are.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which file.
    pub file: FileKey,
    /// Which stretch of it, as [`Ledger::issue`] numbered it.
    pub seq: u64,
}

/// What a sealed batch answers for. It is consumed by settling, in `app`, and nowhere else.
#[must_use = "a receipt must be settled, or its files never move on"]
#[derive(Debug)]
pub struct Receipt {
    /// The stretches of files whose lines are in the batch; empty for standard input.
    pub tickets: Vec<Ticket>,
    /// The memory the batch holds.
    pub permit: Permit,
    /// Lines and input bytes in the batch.
    pub counts: Counts,
}

/// Where one file stands between "read" and "settled by Loki".
#[derive(Debug, Clone)]
pub struct Ledger {
    /// Everything before this is settled. Invariant: its offset never moves back.
    watermark: Mark,
    /// The sequence number of `open[0]`.
    first: u64,
    /// Issued and not yet below the watermark, in file order.
    /// Invariant: `open[0].pending` is not 0, else the watermark would have moved.
    open: VecDeque<Slot>,
}

#[derive(Debug, Clone)]
struct Slot {
    end: Mark,
    /// When it was issued.
    at: Moment,
    /// Tickets that have not come back.
    pending: u32,
}

impl Ledger {
    /// A file of which everything before `start` is settled.
    #[must_use]
    pub fn new(start: Mark) -> Self {
        Self { watermark: start, first: 0, open: VecDeque::new() }
    }

    /// The number that the next [`Ledger::issue`] will return.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.first + self.open.len() as u64
    }

    /// Notes that the bytes up to `end` were read and that `tickets` batches hold lines of them;
    /// 0 when every line was dropped by a rule. `at` is the time since start. Returns the number
    /// of the stretch.
    ///
    /// # Panics
    /// If `end` is before that of the stretch before: stretches are issued in file order. It is the
    /// same when parts that were held are sent without their end.
    pub fn issue(&mut self, end: Mark, tickets: u32, at: Duration) -> u64 {
        let before = self.read_to().offset;
        assert!(before <= end.offset, "BUG: stretches out of order: {before:?}, {:?}", end.offset);
        let seq = self.next_seq();
        if self.open.is_empty() {
            // Not the four that a queue begins with: many files have one at a time.
            self.open.reserve_exact(1);
        }
        self.open.push_back(Slot { end, at: at.into(), pending: tickets });
        self.advance();
        seq
    }

    /// Notes that one ticket of `seq` has its outcome. Returns the watermark if it moved.
    ///
    /// # Panics
    /// If the ticket was settled before.
    pub fn settle(&mut self, seq: u64) -> Option<Mark> {
        assert!(self.first <= seq && seq < self.next_seq(), "BUG: stretch {seq} is not open");
        let idx = usize::try_from(seq - self.first).expect("BUG: more slots than memory");
        let slot = &mut self.open[idx];
        assert!(slot.pending != 0, "BUG: stretch {seq} was settled twice");
        slot.pending -= 1;
        self.advance().then_some(self.watermark)
    }

    /// Everything before this is settled.
    #[must_use]
    pub fn watermark(&self) -> Mark {
        self.watermark
    }

    /// Everything before this was read and issued.
    #[must_use]
    pub fn read_to(&self) -> Mark {
        self.open.back().map_or(self.watermark, |slot| slot.end)
    }

    /// When the oldest stretch was issued that is not settled.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        self.open.front().map(|slot| slot.at.mono())
    }

    /// Whether all that was issued is settled, parts that are held apart.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether all that was read is settled.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_settled() && self.watermark.read_from() == self.watermark.offset
    }

    /// Whether the stretch `seq` and all before it are settled.
    #[must_use]
    pub fn has_passed(&self, seq: u64) -> bool {
        seq < self.first
    }

    /// The line of output `out` whose first part is at `at` was settled with a later file: its
    /// parts here are held no more.
    pub fn free(&mut self, out: usize, at: FileOffset) {
        let ends = self.open.iter_mut().map(|slot| &mut slot.end);
        for mark in ends.chain([&mut self.watermark]) {
            let mut held = mark.held.offsets();
            held[out] = held[out].filter(|held| *held != at);
            mark.held = held.into();
        }
    }

    fn advance(&mut self) -> bool {
        let before = self.watermark.offset;
        while let Some(Slot { end, pending: 0, .. }) = self.open.front() {
            self.watermark = *end;
            self.open.pop_front();
            self.first += 1;
        }
        if self.open.is_empty() {
            // Of many files most are settled: room for the next stretch is taken again.
            self.open = VecDeque::new();
        }
        before < self.watermark.offset
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AT: Duration = Duration::ZERO;

    fn mark(offset: u64) -> Mark {
        Mark { offset: FileOffset(offset), ..Mark::default() }
    }

    #[test]
    fn the_watermark_waits_for_the_slowest() {
        let mut ledger = Ledger::new(mark(0));
        let first = ledger.issue(mark(10), 2, AT);
        let second = ledger.issue(mark(20), 1, AT);
        assert_eq!(ledger.settle(second), None);
        assert_eq!(ledger.settle(first), None);
        assert_eq!(ledger.settle(first), Some(mark(20)));
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_stretch_without_tickets_is_settled_once_those_before_it_are() {
        let mut ledger = Ledger::new(mark(5));
        assert_eq!(ledger.issue(mark(6), 0, AT), 0);
        assert_eq!(ledger.watermark(), mark(6));
        let held = ledger.issue(mark(7), 1, AT);
        ledger.issue(mark(8), 0, AT);
        assert_eq!(ledger.watermark(), mark(6));
        assert_eq!(ledger.settle(held), Some(mark(8)));
    }

    #[test]
    fn what_is_held_is_not_done() {
        let held = |at| Mark { held: [Some(FileOffset(at)), None].into(), ..mark(10) };
        let mut ledger = Ledger::new(mark(0));
        ledger.issue(held(4), 0, AT);
        assert!(ledger.is_settled() && !ledger.is_done());
        ledger.free(0, FileOffset(5));
        ledger.free(1, FileOffset(4));
        assert_eq!(ledger.watermark(), held(4), "another line's parts");
        let last = ledger.issue(held(4), 1, AT);
        ledger.free(0, FileOffset(4));
        assert!(!ledger.has_passed(last));
        assert_eq!(ledger.settle(last), None, "the same offset");
        assert!(ledger.is_done() && ledger.has_passed(last));
    }

    #[test]
    #[should_panic(expected = "BUG: stretch 0 is not open")]
    fn settling_twice_is_a_bug() {
        let mut ledger = Ledger::new(mark(0));
        let seq = ledger.issue(mark(1), 1, AT);
        ledger.settle(seq);
        ledger.settle(seq);
    }

    proptest! {
        /// Whatever the order of answers, the watermark is the end of the settled prefix.
        #[test]
        fn the_watermark_is_the_settled_prefix(tickets in prop::collection::vec(0u32..4, 1..20), seed: u64) {
            let mut ledger = Ledger::new(mark(0));
            let mut answers = Vec::new();
            for (idx, count) in tickets.iter().enumerate() {
                let seq = ledger.issue(mark(idx as u64 + 1), *count, AT);
                answers.extend(std::iter::repeat_n(seq, *count as usize));
            }
            let mut rng = fastrand::Rng::with_seed(seed);
            rng.shuffle(&mut answers);
            let mut left = tickets.clone();
            for seq in answers {
                ledger.settle(seq);
                left[usize::try_from(seq).unwrap()] -= 1;
                let prefix = left.iter().take_while(|count| **count == 0).count();
                prop_assert_eq!(ledger.watermark().offset, FileOffset(prefix as u64));
            }
            prop_assert!(ledger.is_settled());
        }
    }
}

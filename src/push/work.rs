//! The batch in hand: what of it is sent next, and what became of the rest.

use std::collections::VecDeque;

use bytes::Bytes;

use super::dead_letters::DeadLetter;
use super::outcome::Answer;
use super::parts::{Parts, Run};
use crate::batch::Sealed;
use crate::ledger::Receipt;
use crate::model::{Reason, UnixNanos};

/// Longest text of Loki's answer in a dead letter, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// A whole batch has its outcome. The receipt is settled in the ledger by whoever gets this.
#[must_use = "the receipt must be settled, or its files never move on"]
#[derive(Debug)]
pub struct Settled {
    /// What the batch answers for.
    pub receipt: Receipt,
    /// Entries that Loki has.
    pub delivered: u64,
    /// Entries that it will never have; all others of the batch.
    pub dropped: Vec<Dropped>,
    /// How often it was taken apart to find what Loki refuses.
    pub isolations: u64,
}

/// Entries that were dropped for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// Why.
    pub reason: Reason,
    /// How many.
    pub entries: u64,
    /// Bytes of their lines, as Loki would have stored them.
    pub line_bytes: u64,
}

/// A batch, sent whole or in runs of entries. Holds either the sealed body, or the decompressed
/// request and the body of one run.
#[derive(Debug)]
pub(super) struct Work {
    receipt: Receipt,
    /// Entries in the whole batch.
    entries: usize,
    /// The body of `run`.
    pub(super) body: Bytes,
    /// What is sent now. Invariant: not empty.
    pub(super) run: Run,
    /// What is sent after `run`, in order.
    queue: VecDeque<Run>,
    /// Refused entries that are not believed to be at fault, see [`Work::set_aside`].
    aside: Vec<Run>,
    /// Made when the batch is first taken apart.
    parts: Option<Parts>,
    /// Whether bodies are made without structured metadata.
    pub(super) stripped: bool,
    /// The last answer and how often it came in a row for the same run.
    last: Option<Answer>,
    repeats: u32,
    /// Whether the batch was split in the hope that it helps against equal 500s.
    pub(super) split_tried: bool,
    /// How often runs were taken apart to find what Loki refuses.
    isolations: u64,
    /// Whether an entry was refused.
    pub(super) refused: bool,
    /// Whether Loki accepted any of it, or refused an entry in a way that only the entry can cause.
    pub(super) judged: bool,
    delivered: u64,
    dropped: Vec<Dropped>,
}

impl Work {
    pub(super) fn new(sealed: Sealed) -> Self {
        assert!(sealed.entries != 0, "BUG: a sealed batch is empty");
        Self {
            receipt: sealed.receipt,
            entries: sealed.entries,
            body: Bytes::from(sealed.body),
            run: 0..sealed.entries,
            queue: VecDeque::new(),
            aside: Vec::new(),
            parts: None,
            stripped: false,
            last: None,
            repeats: 0,
            split_tried: false,
            isolations: 0,
            refused: false,
            judged: false,
            delivered: 0,
            dropped: Vec::new(),
        }
    }

    /// Entries without an outcome.
    pub(super) fn left(&self) -> usize {
        self.run.len() + self.queue.iter().chain(&self.aside).map(Run::len).sum::<usize>()
    }

    /// Notes an answer to the current run. Returns how often it came in a row.
    pub(super) fn note(&mut self, answer: &Answer) -> u32 {
        let same = self.last.as_ref() == Some(answer);
        self.repeats = if same { self.repeats.saturating_add(1) } else { 1 };
        if !same {
            self.last = Some(answer.clone());
        }
        self.repeats
    }

    /// Makes all bodies from here on without structured metadata.
    pub(super) fn strip(&mut self) {
        self.stripped = true;
        let run = self.run.clone();
        let is_whole = self.parts().all() == run;
        self.make(run);
        if is_whole {
            // The new body says it all; to an endpoint without metadata each batch comes here.
            self.parts = None;
        }
    }

    /// Goes on with the first half of the current run; the second comes right after.
    pub(super) fn split(&mut self) {
        let run = self.run.clone();
        let halves = self.parts().halves(&run);
        self.replace(halves);
    }

    /// Goes on with the current run stream by stream.
    pub(super) fn by_stream(&mut self) {
        let run = self.run.clone();
        let runs = self.parts().by_stream(&run);
        self.replace(runs);
    }

    /// Goes on with the current run stream by stream; if it is of one stream, as halves.
    pub(super) fn isolate(&mut self) {
        self.isolations += 1;
        let run = self.run.clone();
        let runs = self.parts().isolate(&run);
        self.replace(runs);
    }

    /// The current run is in Loki. Returns whether there is more to send.
    pub(super) fn deliver(&mut self) -> bool {
        self.delivered += self.run.len() as u64;
        self.judge();
        self.advance()
    }

    /// Loki looks at single entries, so its refusals are about them. What was set aside gets its
    /// own verdict after all. It comes late; it was refused before, so nothing of it is stored out
    /// of order unless Loki has changed its mind.
    pub(super) fn judge(&mut self) {
        self.judged = true;
        self.aside.drain(..).rev().for_each(|run| self.queue.push_front(run));
    }

    /// The current run, one entry, is lost for Loki. Returns whether there is more to send.
    pub(super) fn bury(&mut self, letter: &DeadLetter) -> bool {
        let line_bytes = letter.line.len() as u64;
        match self.dropped.iter_mut().find(|dropped| dropped.reason == letter.reason) {
            Some(dropped) => {
                dropped.entries += 1;
                dropped.line_bytes += line_bytes;
            }
            None => self.dropped.push(Dropped { reason: letter.reason, entries: 1, line_bytes }),
        }
        self.advance()
    }

    /// The current run, one entry, is refused, but so is everything: it is kept until something
    /// is accepted. Returns false when all that is left is aside; then that starts again as a
    /// whole.
    pub(super) fn set_aside(&mut self) -> bool {
        self.aside.push(self.run.clone());
        // Taken apart while `run` is what the body holds.
        let end = self.parts().all().end;
        if self.advance() {
            return true;
        }
        assert!(!self.judged, "BUG: something was set aside though refusals are believed");
        // Runs come in order, and what was buried came before all of these.
        let left = self.aside[0].start..end;
        self.aside.clear();
        self.make(left);
        false
    }

    /// How many entries were buried.
    pub(super) fn buried(&self) -> u64 {
        self.dropped.iter().map(|dropped| dropped.entries).sum()
    }

    /// How many entries are set aside.
    pub(super) fn aside(&self) -> usize {
        self.aside.len()
    }

    /// The current run, one entry, with Loki's reason for refusing it.
    pub(super) fn letter(
        &mut self,
        reason: Reason,
        tenant: Option<&str>,
        answer: &Answer,
    ) -> DeadLetter {
        let (status, text) = match answer {
            Answer::Status { code, body, .. } => (*code, body.trim()),
            Answer::Failed { text, .. } => (0, text.trim()),
        };
        let idx = self.run.start;
        let (labels, entry) = self.parts().entry(idx);
        let time = entry.timestamp.unwrap_or_default();
        let nanos = time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanos.into());
        let pairs = entry.structured_metadata.into_iter();
        DeadLetter {
            time: UnixNanos(nanos),
            reason,
            status,
            text: text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned(),
            tenant: tenant.map(str::to_owned),
            labels,
            metadata: pairs.map(|pair| (pair.name, pair.value)).collect(),
            line: entry.line,
        }
    }

    pub(super) fn settle(self) -> Settled {
        let Self { receipt, entries, delivered, dropped, isolations, .. } = self;
        let lost = dropped.iter().map(|dropped| dropped.entries).sum::<u64>();
        assert!(delivered + lost == entries as u64, "BUG: an entry has no outcome, or two");
        Settled { receipt, delivered, dropped, isolations }
    }

    fn parts(&mut self) -> &Parts {
        if self.parts.is_none() {
            let parts = Parts::new(&self.body);
            assert!(parts.all() == self.run, "BUG: a sealed batch miscounts its entries");
            // All further bodies are made from the parts.
            self.body = Bytes::new();
            self.parts = Some(parts);
        }
        self.parts.as_ref().expect("BUG: just made")
    }

    /// Sends `runs` in place of the current run.
    fn replace(&mut self, runs: impl IntoIterator<Item = Run, IntoIter: DoubleEndedIterator>) {
        runs.into_iter().rev().for_each(|run| self.queue.push_front(run));
        assert!(self.advance(), "BUG: a run was replaced by nothing");
    }

    fn advance(&mut self) -> bool {
        self.run = 0..0;
        match self.queue.pop_front() {
            Some(run) => self.make(run),
            None => return false,
        }
        true
    }

    fn make(&mut self, run: Run) {
        (self.last, self.repeats) = (None, 0);
        let stripped = self.stripped;
        self.body = Bytes::from(self.parts().body(&run, stripped));
        self.run = run;
    }
}

//! The batch in hand: what of it is sent next, and what became of the rest.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::behind::Behind;
use super::dead_letters::DeadLetter;
use super::outcome::Answer;
use super::parts::{Change, Edit, Parts, Run, time_of};
use crate::batch::Sealed;
use crate::ledger::Receipt;
use crate::model::{ORIGINAL_TIMESTAMP, Reason, UnixNanos};

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
    /// Entries that were moved to a time that Loki takes; it has them, or they are dropped as well.
    pub moved: u64,
    /// How often it was taken apart to find what Loki refuses.
    pub isolations: u64,
}

/// What becomes of the labels of a stream that is one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relabel {
    /// The labels that it has from now on.
    pub labels: String,
    /// What they no longer say, for the structured metadata of its entries.
    pub metadata: Vec<(String, String)>,
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
    /// Streams in `run`.
    pub(super) streams: usize,
    /// What is sent after `run`, in order.
    queue: VecDeque<Run>,
    /// How many at the end of `queue` wait because Loki limits their streams.
    postponed: usize,
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
    /// How often the entries of `run` were moved to a later time.
    pub(super) moves: u32,
    /// Moving does not help.
    pub(super) stays_behind: bool,
    /// Entries that were moved.
    moved: u64,
    /// Whether a stream was one too many.
    pub(super) crowded: bool,
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
            streams: sealed.streams,
            queue: VecDeque::new(),
            postponed: 0,
            aside: Vec::new(),
            parts: None,
            stripped: false,
            last: None,
            repeats: 0,
            split_tried: false,
            moves: 0,
            stays_behind: false,
            moved: 0,
            crowded: false,
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

    /// Goes on with all that is left in runs of at most `bytes`.
    pub(super) fn at_most(&mut self, bytes: u64) {
        // Most are small enough as they were sealed, by what snappy says of them.
        let len = snap::raw::decompress_len(&self.body);
        let is_within = |len| Parts::request_bytes(len) as u64 <= bytes;
        if self.parts.is_none() && len.is_ok_and(is_within) {
            return;
        }
        let left: Vec<Run> =
            std::iter::once(self.run.clone()).chain(self.queue.drain(..)).collect();
        self.postponed = 0;
        let parts = self.parts();
        let runs: Vec<Run> = left.iter().flat_map(|run| parts.at_most(run, bytes)).collect();
        self.replace(runs);
    }

    /// Goes on with the current run stream by stream.
    pub(super) fn by_stream(&mut self) {
        let run = self.run.clone();
        let runs = self.parts().by_stream(&run);
        self.replace(runs);
    }

    /// The same, because Loki refuses some of them.
    pub(super) fn apart(&mut self) {
        self.isolations += 1;
        self.by_stream();
    }

    /// Goes on with halves of the current run, because Loki refuses some of it.
    pub(super) fn isolate(&mut self) {
        self.isolations += 1;
        self.split();
    }

    /// Sends the streams of which `is_marked` says so after the others and one by one. Only before
    /// anything was sent.
    pub(super) fn set_apart(&mut self, is_marked: impl Fn(&str) -> bool) {
        let parts = Parts::new(&self.body);
        let streams = parts.by_stream(&parts.all());
        let (apart, others): (Vec<Run>, Vec<Run>) =
            streams.into_iter().partition(|run| is_marked(parts.labels_of(run.start)));
        if apart.is_empty() {
            return;
        }
        let order: Vec<usize> = others.iter().chain(&apart).cloned().flatten().collect();
        self.parts = Some(parts);
        self.edit(&order, &|_| None, &BTreeMap::new());
        let mut at = others.iter().map(Run::len).sum();
        let first = Some(0..at).filter(|run| !run.is_empty());
        let rest: Vec<Run> = apart
            .iter()
            .map(|run| {
                at += run.len();
                at - run.len()..at
            })
            .collect();
        self.replace(first.into_iter().chain(rest).collect::<Vec<_>>());
    }

    /// The current run is of one stream that Loki limits: all of it that is left is sent after the
    /// other streams. Returns whether there is one that was not postponed.
    pub(super) fn postpone(&mut self) -> bool {
        let labels = self.labels();
        let mut group = vec![self.run.clone()];
        while let Some(run) = self.queue.pop_front() {
            if self.parts().labels_of(run.start) != labels {
                self.queue.push_front(run);
                break;
            }
            group.push(run);
        }
        self.postponed = self.postponed.min(self.queue.len());
        let others = self.postponed < self.queue.len();
        self.postponed += group.len();
        self.queue.extend(group);
        assert!(self.advance(), "BUG: a run was postponed and is gone");
        others
    }

    /// The labels of the first stream of the current run.
    pub(super) fn labels(&mut self) -> String {
        let idx = self.run.start;
        self.parts().labels_of(idx).to_owned()
    }

    /// About as many bytes as the current run has before compression.
    pub(super) fn run_bytes(&mut self) -> u64 {
        let run = self.run.clone();
        self.parts().run_bytes(&run) as u64
    }

    /// Moves what `behind` says of the current run, which is of one stream, to `to` and the
    /// nanoseconds after, and goes on with that; the own times are noted in metadata if `noted`.
    /// What is left of the run is stored, or is sent again if that is not sure. Returns the last
    /// time; `None`, and nothing is changed, if nothing is surely refused.
    pub(super) fn move_refused(
        &mut self,
        behind: &Behind,
        to: UnixNanos,
        noted: bool,
    ) -> Option<UnixNanos> {
        let run = self.run.clone();
        let (refused, is_exact) = behind.refused(&self.parts().times(&run));
        let pick = |wanted: bool| {
            let run = run.clone().zip(&refused);
            run.filter(move |(_, refused)| **refused == wanted).map(|(idx, _)| idx)
        };
        let moved: Vec<usize> = pick(true).collect();
        let all = self.parts().all();
        let order = (0..run.start).chain(pick(false)).chain(pick(true)).chain(run.end..all.end);
        let order: Vec<usize> = order.collect();
        let last = self.shift(&moved, &order, to, noted)?;
        let middle = run.end - moved.len();
        if is_exact {
            self.delivered += (middle - run.start) as u64;
        } else if run.start < middle {
            self.queue.push_front(run.start..middle);
        }
        let moves = self.moves + 1;
        self.make(middle..run.end);
        self.moves = moves;
        Some(last)
    }

    /// Moves what of the current run is before `floor`, as [`Work::move_refused`] does, before it
    /// is sent.
    pub(super) fn move_below(
        &mut self,
        floor: UnixNanos,
        to: UnixNanos,
        noted: bool,
    ) -> Option<UnixNanos> {
        let run = self.run.clone();
        let times = self.parts().times(&run);
        let late = run.clone().zip(times).filter(|(_, time)| *time < floor);
        let late: Vec<usize> = late.map(|(idx, _)| idx).collect();
        let order: Vec<usize> = self.parts().all().collect();
        let last = self.shift(&late, &order, to, noted)?;
        self.make(run);
        Some(last)
    }

    /// Gives entries of the current run the times from `to` on, and all entries a new order.
    /// Returns the last time.
    fn shift(
        &mut self,
        entries: &[usize],
        order: &[usize],
        to: UnixNanos,
        noted: bool,
    ) -> Option<UnixNanos> {
        if entries.is_empty() {
            return None;
        }
        let (mut changes, mut time, mut moved) =
            (BTreeMap::new(), UnixNanos(to.0.saturating_sub(1)), 0);
        for idx in entries {
            time = UnixNanos(time.0 + 1);
            let entry = self.parts().decode(*idx);
            let mut pairs = entry.structured_metadata.iter();
            let is_new = pairs.all(|pair| pair.name != ORIGINAL_TIMESTAMP);
            let is_new = if noted { is_new } else { self.moves == 0 };
            moved += u64::from(is_new);
            let own = || (ORIGINAL_TIMESTAMP.to_owned(), time_of(&entry).to_string());
            let metadata = (noted && is_new).then(own).into_iter().collect();
            changes.insert(*idx, Change { time: Some(time), metadata });
        }
        self.moved += moved;
        self.edit(order, &|_| None, &changes);
        Some(time)
    }

    /// Gives streams other labels, and goes on with all that is left.
    pub(super) fn relabel(&mut self, new: &dyn Fn(&str) -> Option<Relabel>) {
        let parts = self.parts();
        let (mut changes, mut answers) = (BTreeMap::new(), BTreeMap::new());
        for run in parts.by_stream(&parts.all()) {
            // Asked once: labels and metadata must be of one answer, and it may change meanwhile.
            let labels = parts.labels_of(run.start);
            let answer = answers.entry(labels.to_owned()).or_insert_with(|| new(labels));
            if let Some(Relabel { metadata, .. }) = answer {
                run.for_each(|idx| {
                    changes.insert(idx, Change { time: None, metadata: metadata.clone() });
                });
            }
        }
        let order: Vec<usize> = parts.all().collect();
        self.edit(&order, &|labels| Some(answers.get(labels)?.as_ref()?.labels.clone()), &changes);
        // What was sent stream by stream goes together again.
        let mut left: Vec<Run> = self.queue.drain(..).chain([self.run.clone()]).collect();
        left.sort_by_key(|run| run.start);
        left.dedup_by(|next, run| {
            let touch = run.end == next.start;
            if touch {
                run.end = next.end;
            }
            touch
        });
        self.replace(left);
    }

    fn edit(
        &mut self,
        order: &[usize],
        labels: &dyn Fn(&str) -> Option<String>,
        changes: &BTreeMap<usize, Change>,
    ) {
        let change = |idx| changes.get(&idx).cloned();
        self.parts = Some(self.parts().edited(&Edit { order, labels, change: &change }));
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
        let time = time_of(&entry);
        let pairs = entry.structured_metadata.into_iter();
        DeadLetter {
            time,
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
        let lost = self.buried();
        let Self { receipt, entries, delivered, dropped, moved, isolations, .. } = self;
        assert!(delivered + lost == entries as u64, "BUG: an entry has no outcome, or two");
        Settled { receipt, delivered, dropped, moved, isolations }
    }

    fn parts(&mut self) -> &Parts {
        if self.parts.is_none() {
            let parts = Parts::new(&self.body);
            assert!(parts.all() == self.run, "BUG: a sealed batch miscounts its entries");
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
        let next = self.queue.pop_front();
        self.postponed = self.postponed.min(self.queue.len());
        match next {
            Some(run) => self.make(run),
            None => return false,
        }
        true
    }

    fn make(&mut self, run: Run) {
        (self.last, self.repeats, self.moves) = (None, 0, 0);
        let stripped = self.stripped;
        self.body = Bytes::from(self.parts().body(&run, stripped));
        self.streams = self.parts().count_streams(&run);
        self.run = run;
    }
}

//! What was written, what must become of it, and the checks that hold at every step.

use std::collections::HashMap;

use skald::checkpoint::SavedFile;
use skald::model::{Fingerprint, UnixNanos};
use xxhash_rust::xxh3::xxh3_64;

use crate::knobs::PROMISED;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// A line that could be read is neither at Loki nor among the dead letters.
    Lost,
    /// A line came more often than kills and lost answers explain.
    Duplicate,
    /// Loki has a line that nobody wrote.
    Foreign,
    /// A line came with other labels, metadata or time than it should, or than before.
    Changed,
    /// First deliveries of a file's lines in one stream are not in the order of the file.
    Order,
    /// A line was refused for being behind another that the agent sent first.
    Behind,
    /// Loki was asked more often than it should be.
    Kind,
    /// The checkpoint says settled of what Loki has not answered for.
    Ahead,
    /// What was saved did not survive.
    Saved,
    /// Batches hold more memory than their permits.
    Memory,
    /// Lines read are not lines delivered, dropped and in flight.
    Sums,
    /// Not all was delivered in time though Loki answered.
    Progress,
}

/// A broken promise.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) check: Check,
    pub(crate) text: String,
}

pub(crate) type Result<T = ()> = std::result::Result<T, Broken>;

/// Breaks `check` unless `holds`.
pub(crate) fn ensure(check: Check, holds: bool, text: impl FnOnce() -> String) -> Result {
    if holds { Ok(()) } else { Err(Broken { check, text: text() }) }
}

/// What an entry is, beside its text: stream, metadata without `original_timestamp`, own time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) labels: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) time: UnixNanos,
}

/// What is to become of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Loki gets it.
    Delivered,
    /// Loki refuses it: it goes to the dead letters.
    Poison,
    /// The agent drops it.
    TooOld,
}

/// A line that a service wrote.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) generation: usize,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) fate: Fate,
    /// What it must be; `None` where only a replay is held to what came first.
    pub(crate) meaning: Option<Meaning>,
    first: Option<Meaning>,
    /// How often Loki has stored it.
    pub(crate) stored: u32,
    /// How often it may have.
    allowed: u32,
    /// Loki has answered for it, it is buried, or it was dropped.
    answered: bool,
    /// It was destroyed before it had to be read.
    pub(crate) excused: bool,
}

impl Line {
    fn is_missing(&self) -> bool {
        !self.answered && !self.excused
    }
}

/// The content of one inode between two truncations.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    /// Number and birth of the files that hold it, or have: the first, and its copies.
    pub(crate) files: Vec<(u64, UnixNanos)>,
    /// All bytes so far.
    pub(crate) content: Vec<u8>,
    pub(crate) lines: Vec<usize>,
    /// Lines before this are answered.
    answered: usize,
    /// The last stamp and its repeats.
    pub(crate) stamp: (i64, i64),
    /// By stream: the last line that came for the first time.
    last: HashMap<String, usize>,
    /// Its last line, of which only so many bytes are written.
    pub(crate) partial: Option<(Draft, usize)>,
    /// Its bytes can be read no more.
    pub(crate) destroyed: bool,
}

/// A line that is being written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) text: Vec<u8>,
    pub(crate) stored: Vec<u8>,
    pub(crate) fate: Fate,
    pub(crate) meaning: Option<Meaning>,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) generations: Vec<Generation>,
    pub(crate) lines: Vec<Line>,
    by_text: HashMap<Vec<u8>, usize>,
    pub(crate) duplicates: u64,
    /// Lines that were in files outside of the globs before their stem was followed.
    pub(crate) before_us: u64,
    /// There were such files: what is written to them later is not read either.
    pub(crate) is_before_us: bool,
}

impl Generation {
    /// Nothing yet, in this inode.
    pub(crate) fn of(inode: u64, born: UnixNanos) -> Self {
        Self { files: vec![(inode, born)], ..Self::default() }
    }
}

impl Truth {
    /// A whole line, as Loki should store it, ends where the content ends now.
    pub(crate) fn wrote(&mut self, generation: usize, start: u64, draft: Draft) {
        let number = self.lines.len();
        let Draft { stored, fate, meaning, .. } = draft;
        let end = self.generations[generation].content.len() as u64;
        let answered = fate == Fate::TooOld;
        // Of a file that was only remembered, no time before its end is known.
        let meaning = meaning.filter(|_| !self.generations[generation].destroyed);
        self.lines.push(Line {
            generation,
            start,
            end,
            fate,
            meaning,
            first: None,
            stored: 0,
            allowed: 1,
            answered,
            excused: self.generations[generation].destroyed,
        });
        self.generations[generation].lines.push(number);
        // Lines that Loki never gets may be equal.
        let before = self.by_text.insert(stored, number);
        assert!(answered || before.is_none(), "lines are distinct");
    }

    /// The line that Loki would store like this.
    pub(crate) fn find(&self, text: &[u8]) -> Result<usize> {
        self.by_text.get(text).copied().ok_or_else(|| {
            let text = String::from_utf8_lossy(text);
            Broken { check: Check::Foreign, text: format!("nobody wrote {text:?}") }
        })
    }

    /// Loki has stored a line. `lost`: it will not say so.
    pub(crate) fn stored(
        &mut self,
        number: usize,
        meaning: Meaning,
        lost: bool,
        is_moved: bool,
    ) -> Result {
        let line = &mut self.lines[number];
        line.stored += 1;
        let may_repeat = !PROMISED.once && 1 < self.generations[line.generation].files.len();
        ensure(Check::Duplicate, line.stored <= line.allowed || may_repeat, || {
            format!("{line:?} came {} times, {} are explained", line.stored, line.allowed)
        })?;
        ensure(Check::Changed, line.fate == Fate::Delivered, || format!("{line:?} came"))?;
        line.allowed += u32::from(lost);
        let expected = line.first.as_ref().or(line.meaning.as_ref());
        ensure(Check::Changed, expected.is_none_or(|expected| *expected == meaning), || {
            format!("{expected:?} came as {meaning:?}; stored {} times", line.stored)
        })?;
        if line.first.is_some() {
            self.duplicates += 1;
            return Ok(());
        }
        if is_moved {
            line.first = Some(meaning);
            return Ok(());
        }
        let last = &mut self.generations[line.generation].last;
        let before = last.insert(meaning.labels.clone(), number);
        line.first = Some(meaning);
        ensure(Check::Order, before.is_none_or(|before| before < number), || {
            format!("line {number} came first after {before:?} of the same file and stream")
        })
    }

    /// Whether all lines of a generation, but for one that is being written, have an answer.
    pub(crate) fn is_answered(&self, generation: usize) -> bool {
        self.generations[generation].lines.iter().all(|line| self.lines[*line].answered)
    }

    /// How many lines need not come.
    pub(crate) fn excused(&self) -> usize {
        self.lines.iter().filter(|line| line.excused).count()
    }

    /// The agent knows that it is done with a line.
    pub(crate) fn answered(&mut self, number: usize) {
        self.lines[number].answered = true;
    }

    /// The offset before which everything in a generation is answered for.
    fn answered_to(&mut self, generation: usize) -> u64 {
        let generation = &mut self.generations[generation];
        let lines = &self.lines;
        while (generation.lines.get(generation.answered)).is_some_and(|line| lines[*line].answered)
        {
            generation.answered += 1;
        }
        let next = generation.lines.get(generation.answered);
        next.map_or(generation.content.len() as u64, |line| lines[*line].start)
    }

    /// The newest generation that a saved file can be.
    fn generation_of(&self, saved: &SavedFile) -> Option<usize> {
        let file = (saved.identity.inode, saved.identity.birth.get().unwrap_or_default());
        let (end, tail) = (saved.mark.offset.0, saved.mark.tail);
        let is_it = |generation: &Generation| {
            generation.files.contains(&file)
                && has(generation, 0, saved.head)
                && end.checked_sub(u64::from(tail.len)).is_some_and(|at| has(generation, at, tail))
        };
        self.generations.iter().rposition(is_it)
    }

    /// No saved place is beyond what Loki has answered for.
    pub(crate) fn not_ahead(&mut self, files: &[SavedFile]) -> Result {
        for saved in files {
            let offset = saved.mark.offset.0;
            if offset == 0 {
                continue;
            }
            let Some(generation) = self.generation_of(saved) else {
                return Err(Broken { check: Check::Ahead, text: format!("{saved:?} is no file") });
            };
            let settled = self.answered_to(generation);
            ensure(Check::Ahead, offset <= settled, || {
                let generation = &self.generations[generation];
                let next = generation.lines.get(generation.answered).map(|line| &self.lines[*line]);
                format!("{saved:?} was answered for up to {settled}, where {next:?} is")
            })?;
        }
        Ok(())
    }

    /// A new process goes on from these places: what it will send again is explained.
    pub(crate) fn restarted(&mut self, files: &[SavedFile]) {
        let mut from: HashMap<usize, u64> = HashMap::new();
        for saved in files {
            if let Some(generation) = self.generation_of(saved) {
                let from = from.entry(generation).or_default();
                *from = saved.mark.offset.0.max(*from);
            }
        }
        for line in &mut self.lines {
            let from = from.get(&line.generation).copied().unwrap_or(0);
            line.allowed += u32::from(from <= line.start && 0 < line.stored);
        }
    }

    /// What of a generation was not delivered, and lies at or behind `from`, need never be.
    pub(crate) fn destroyed(&mut self, generation: usize, from: u64) {
        self.generations[generation].destroyed = true;
        for line in &self.generations[generation].lines {
            let line = &mut self.lines[*line];
            line.excused |= from < line.end && !line.answered;
        }
    }

    /// What a generation holds was there, outside of the globs, before anything was known of its
    /// file: nobody reads that.
    pub(crate) fn was_before_us(&mut self, generation: usize) {
        self.destroyed(generation, 0);
        self.is_before_us = true;
        for line in &self.generations[generation].lines {
            self.before_us += u64::from(!self.lines[*line].answered);
            self.lines[*line].answered = true;
        }
    }

    /// How many lines have to come yet.
    pub(crate) fn missing(&self) -> usize {
        self.lines.iter().filter(|line| line.is_missing()).count()
    }

    /// Nothing that had to come is missing.
    pub(crate) fn nothing_lost(&self, check: Check) -> Result {
        let first = self.lines.iter().position(Line::is_missing);
        let Some(number) = first else { return Ok(()) };
        let count = self.missing();
        let line = &self.lines[number];
        let generation = &self.generations[line.generation];
        Err(Broken {
            check,
            text: format!(
                "{count} of {} lines; the first is {number}: {line:?} of {} bytes in {:?}, \
                 destroyed {}",
                self.lines.len(),
                generation.content.len(),
                generation.files,
                generation.destroyed
            ),
        })
    }
}

/// Whether a generation has the bytes that `print` is of, at `from`.
fn has(generation: &Generation, from: u64, print: Fingerprint) -> bool {
    let from = usize::try_from(from).expect("it fits");
    let bytes = generation.content.get(from..from + usize::from(print.len));
    bytes.is_some_and(|bytes| bytes.is_empty() || xxh3_64(bytes) == print.hash)
}

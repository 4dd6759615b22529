//! The services: they write lines, and somebody rotates their files.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use skald::model::UnixNanos;

use crate::checks::{Draft, Fate, Generation, Meaning, Truth};
use crate::disk::{Disk, Inode};
use crate::faults::Knobs;

const SECOND: i64 = 1_000_000_000;

/// A service holds on to a file for at most so long after it was rotated: well below the time for
/// which the agent does.
const LINGER: Duration = Duration::from_secs(3);

/// Most generations of a file that keep a name.
const KEPT: usize = 3;

/// A service's file.
#[derive(Debug)]
struct Slot {
    path: PathBuf,
    source: usize,
    inode: Rc<Inode>,
    /// Nanoseconds that its lines are behind the wall clock.
    behind: i64,
    /// A rotated file that is still written to, and until when.
    before: Option<(Rc<Inode>, Duration)>,
}

/// What was done how often.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) rotations: u64,
    pub(crate) truncations: u64,
    pub(crate) deletions: u64,
}

/// All services.
#[derive(Debug)]
pub(crate) struct Writer {
    rng: fastrand::Rng,
    knobs: Knobs,
    slots: Vec<Slot>,
    next_id: u64,
    pub(crate) done: Done,
}

/// How far the agent has read in the inode, if it has it open.
pub(crate) type ReadTo<'a> = &'a dyn Fn(&Inode) -> Option<u64>;

impl Writer {
    pub(crate) fn new(rng: fastrand::Rng, knobs: Knobs) -> Self {
        Self { rng, knobs, slots: Vec::new(), next_id: 0, done: Done::default() }
    }

    /// The name of a rotated generation.
    fn older(&self, path: &Path, age: usize) -> PathBuf {
        let suffix = if self.knobs.globs_find_rotated { "log" } else { "old" };
        path.with_extension(format!("{age}.{suffix}"))
    }

    /// Does one thing. Returns after how long the next one comes.
    pub(crate) fn step(
        &mut self,
        disk: &mut Disk,
        truth: &mut Truth,
        at: (Duration, UnixNanos),
        read_to: ReadTo<'_>,
    ) -> Duration {
        let (mono, wall) = at;
        if self.slots.len() < self.knobs.files && (self.slots.is_empty() || self.rng.u8(0..10) == 0)
        {
            self.open(disk, truth, wall);
        }
        let idx = self.rng.usize(0..self.slots.len());
        match self.rng.u16(0..500) {
            0..3 => self.rotate(idx, disk, truth, at, read_to),
            3..6 if self.knobs.copytruncate => self.truncate(idx, truth, read_to),
            6 => self.replace(idx, disk, truth, wall, read_to),
            7..50 => self.begin_line(idx, truth, wall),
            _ => {
                let lines = self.rng.usize(1..8);
                let slot = &self.slots[idx];
                let old = slot.before.as_ref().filter(|(_, until)| mono < *until);
                let inode = old.map_or(&slot.inode, |(inode, _)| inode);
                let inode = Rc::clone(inode);
                for _ in 0..lines {
                    self.write_line(idx, &inode, truth, wall);
                }
            }
        }
        Duration::from_millis(self.rng.u64(1..2 * self.knobs.write_pause))
    }

    /// Ends: lines that were begun are finished, or not.
    pub(crate) fn finish(&mut self, truth: &mut Truth) {
        for idx in 0..self.slots.len() {
            if self.rng.bool() {
                let inode = Rc::clone(&self.slots[idx].inode);
                finish_line(&inode, truth);
            }
        }
    }

    fn open(&mut self, disk: &mut Disk, truth: &mut Truth, wall: UnixNanos) {
        let path = PathBuf::from(format!("/log/{}.log", self.slots.len()));
        let source = self.rng.usize(0..self.knobs.sources);
        let inode = begin(disk, truth, &path, source, wall);
        let behind = match self.rng.u8(0..6) {
            0 => 2 * 3600 * SECOND,
            1 => 1200 * SECOND,
            _ => 0,
        };
        self.slots.push(Slot { path, source, inode, behind, before: None });
    }

    fn rotate(
        &mut self,
        idx: usize,
        disk: &mut Disk,
        truth: &mut Truth,
        at: (Duration, UnixNanos),
        read_to: ReadTo<'_>,
    ) {
        self.done.rotations += 1;
        let path = self.slots[idx].path.clone();
        let oldest = disk.unlink(&self.older(&path, KEPT));
        if let Some(oldest) = oldest.filter(|_| self.knobs.globs_find_rotated) {
            self.unnamed(&oldest, truth, read_to);
        }
        for age in (1..KEPT).rev() {
            disk.rename_log(&self.older(&path, age), &self.older(&path, age + 1));
        }
        disk.rename_log(&path, &self.older(&path, 1));
        let source = self.slots[idx].source;
        let inode = begin(disk, truth, &path, source, at.1);
        let slot = &mut self.slots[idx];
        let old = std::mem::replace(&mut slot.inode, inode);
        if self.knobs.globs_find_rotated {
            finish_line(&old, truth);
        } else {
            self.unnamed(&old, truth, read_to);
        }
        let slot = &mut self.slots[idx];
        if truth.generations[old.generation.get()].partial.is_some() {
            leave_fragment(&old, self.knobs.line_bytes, truth);
            slot.before = None;
        } else {
            slot.before = Some((old, at.0 + LINGER.mul_f64(self.rng.f64())));
        }
    }

    /// The file has no name that the globs find: who has not opened it never will.
    fn unnamed(&self, inode: &Inode, truth: &mut Truth, read_to: ReadTo<'_>) {
        if read_to(inode).is_none() {
            truth.destroyed(inode.generation.get(), 0);
        }
    }

    fn truncate(&mut self, idx: usize, truth: &mut Truth, read_to: ReadTo<'_>) {
        self.done.truncations += 1;
        let slot = &self.slots[idx];
        let old = slot.inode.generation.get();
        let first_in_inode = |generation: &Generation| generation.inode == slot.inode.number;
        // Of a generation after a truncation nobody knows whether the agent has noticed it,
        // unless it has sent some of it.
        let is_first = truth.generations.iter().position(first_in_inode) == Some(old);
        let lines = &truth.generations[old].lines;
        let is_known = is_first || lines.iter().any(|line| 0 < truth.lines[*line].stored);
        let read = read_to(&slot.inode).filter(|_| is_known).unwrap_or(0);
        truth.destroyed(old, read);
        slot.inode.data.borrow_mut().clear();
        slot.inode.touch();
        slot.inode.generation.set(new_generation(truth, slot.inode.number));
    }

    fn replace(
        &mut self,
        idx: usize,
        disk: &mut Disk,
        truth: &mut Truth,
        wall: UnixNanos,
        read_to: ReadTo<'_>,
    ) {
        self.done.deletions += 1;
        let (path, source) = (self.slots[idx].path.clone(), self.slots[idx].source);
        disk.unlink(&path);
        let old = Rc::clone(&self.slots[idx].inode);
        self.unnamed(&old, truth, read_to);
        leave_fragment(&old, self.knobs.line_bytes, truth);
        drop(old);
        self.slots[idx].inode = begin(disk, truth, &path, source, wall);
    }

    fn begin_line(&mut self, idx: usize, truth: &mut Truth, wall: UnixNanos) {
        let inode = Rc::clone(&self.slots[idx].inode);
        finish_line(&inode, truth);
        let generation = inode.generation.get();
        let draft = self.draft(idx, generation, truth, wall);
        // Behind the fields that decide what becomes of the line.
        let fields = draft.text.windows(5).position(|bytes| bytes == b"\"pad\"");
        let written = self.rng.usize(fields.expect("all lines have it")..draft.text.len());
        write(&inode, truth, &draft.text[..written]);
        truth.generations[generation].partial = Some((draft, written));
    }

    fn write_line(&mut self, idx: usize, inode: &Inode, truth: &mut Truth, wall: UnixNanos) {
        finish_line(inode, truth);
        let generation = inode.generation.get();
        let draft = self.draft(idx, generation, truth, wall);
        let start = truth.generations[generation].content.len() as u64;
        write(inode, truth, &draft.text);
        truth.wrote(generation, start, draft);
    }

    fn draft(
        &mut self,
        idx: usize,
        generation: usize,
        truth: &mut Truth,
        wall: UnixNanos,
    ) -> Draft {
        let (rng, slot) = (&mut self.rng, &mut self.slots[idx]);
        let stamp = &mut truth.generations[generation].stamp;
        self.next_id += 1;
        let id = self.next_id;
        let level = ["info", "info", "WARNING", "error"][rng.usize(0..4)];
        let event = ["login", "pay", "request_end"][rng.usize(0..3)];
        // The clock of a late file comes nearer to now.
        slot.behind = (slot.behind - rng.i64(0..10 * SECOND)).max(0);
        let raw = match rng.u8(0..20) {
            0..3 if stamp.0 != 0 => None,
            3 => Some(wall.0 - 10 * 24 * 3600 * SECOND),
            4..9 if stamp.0 != 0 => Some(stamp.0),
            _ => Some((wall.0 - slot.behind) / 1_000_000 * 1_000_000),
        };
        let effective = raw.unwrap_or(stamp.0);
        *stamp = (effective, if stamp.0 == effective { stamp.1 + 1 } else { 0 });
        let too_old = effective < wall.0 - 24 * 3600 * SECOND;
        let poison = self.knobs.one_in_poison != 0 && rng.u64(0..self.knobs.one_in_poison) == 0;
        let fate = match (too_old, poison) {
            (true, _) => Fate::TooOld,
            (_, true) => Fate::Poison,
            _ => Fate::Delivered,
        };
        let pad = match rng.u8(0..40) {
            0 => rng.usize(0..2 * self.knobs.line_bytes),
            1 => rng.usize(0..3 * self.knobs.chunk_bytes),
            _ => rng.usize(0..100),
        };
        let ts = raw.map_or(String::new(), |raw| format!(r#","ts":"{}""#, UnixNanos(raw)));
        let poison = if poison { r#","x":"poison""# } else { "" };
        let pad: String = (0..pad).map(|_| rng.alphanumeric()).collect();
        let text = format!(
            r#"{{"id":"{id:020}"{ts}{poison},"level":"{level}","event":"{event}","rid":"r{id}","pad":"{pad}"}}"#
        );
        let mut stored = text.clone();
        stored.truncate(self.knobs.line_bytes);
        let time = UnixNanos(stamp.0 + stamp.1);
        let mut meaning = meaning(slot.source, level, event, id, time);
        if stored.len() < text.len() {
            meaning.metadata.push(("truncated_from".to_owned(), text.len().to_string()));
        }
        let text = (text + "\n").into_bytes();
        Draft { text, stored: stored.into_bytes(), fate, meaning: Some(meaning) }
    }
}

/// What the rules of the two sources make of a line; see `settings::sources`.
fn meaning(source: usize, level: &str, event: &str, id: u64, time: UnixNanos) -> Meaning {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let rid = pair("request_id", &format!("r{id}"));
    let (labels, metadata) = if source == 0 {
        (format!(r#"{{app="s0", event_type="{event}", level="{level}"}}"#), vec![rid])
    } else {
        let level = if level == "WARNING" { "warn" } else { level };
        (format!(r#"{{app="s1", level="{level}"}}"#), vec![rid, pair("event", event)])
    };
    Meaning { labels, metadata, time }
}

fn begin(
    disk: &mut Disk,
    truth: &mut Truth,
    path: &Path,
    source: usize,
    wall: UnixNanos,
) -> Rc<Inode> {
    let inode = disk.create(path, source, wall);
    inode.generation.set(new_generation(truth, inode.number));
    inode
}

fn new_generation(truth: &mut Truth, inode: u64) -> usize {
    truth.generations.push(Generation::of(inode));
    truth.generations.len() - 1
}

fn write(inode: &Inode, truth: &mut Truth, bytes: &[u8]) {
    inode.data.borrow_mut().extend_from_slice(bytes);
    inode.touch();
    truth.generations[inode.generation.get()].content.extend_from_slice(bytes);
}

/// Writes the rest of a line that was begun.
fn finish_line(inode: &Inode, truth: &mut Truth) {
    let generation = inode.generation.get();
    let Some((draft, written)) = truth.generations[generation].partial.take() else { return };
    write(inode, truth, &draft.text[written..]);
    let start = truth.generations[generation].content.len() - draft.text.len();
    truth.wrote(generation, start as u64, draft);
}

/// Nobody will write the rest: what is there is the line.
fn leave_fragment(inode: &Inode, line_bytes: usize, truth: &mut Truth) {
    let generation = inode.generation.get();
    let Some((mut draft, written)) = truth.generations[generation].partial.take() else { return };
    let start = truth.generations[generation].content.len() - written;
    draft.stored = draft.text[..written.min(line_bytes)].to_vec();
    truth.wrote(generation, start as u64, Draft { meaning: None, ..draft });
}

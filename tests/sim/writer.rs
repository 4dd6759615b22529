//! The services: they write lines, and somebody rotates their files.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use skald::model::UnixNanos;

use crate::checks::{Draft, Generation, Truth};
use crate::disk::{Disk, Inode};
use crate::knobs::{Hold, Knobs, pick};
use crate::lines::{Lines, Whose};

const SECOND: i64 = 1_000_000_000;

/// A service holds on to a file for at most so long after it was rotated: well below the time for
/// which the agent does.
const LINGER: Duration = Duration::from_secs(3);

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
    /// What waits until it may be done; nothing is written before.
    wish: Option<Act>,
}

/// What can be done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Replace,
    Truncate,
    /// So many rotations, so fast that nobody looks between them.
    Rotate(u8),
}

/// What was done how often.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) rotations: u64,
    pub(crate) truncations: u64,
    pub(crate) copies: u64,
    pub(crate) regrown: u64,
    pub(crate) compressed: u64,
    pub(crate) deletions: u64,
    pub(crate) postponed: u64,
}

/// All services.
#[derive(Debug)]
pub(crate) struct Writer {
    rng: fastrand::Rng,
    knobs: Knobs,
    lines: Lines,
    slots: Vec<Slot>,
    pub(crate) done: Done,
}

/// What an act works on.
pub(crate) struct Site<'a> {
    pub(crate) disk: &'a mut Disk,
    pub(crate) truth: &'a mut Truth,
    /// Time since the beginning, and on the wall.
    pub(crate) mono: Duration,
    pub(crate) wall: UnixNanos,
    /// How far the agent has read in the file.
    pub(crate) read_to: &'a dyn Fn(&Inode) -> u64,
}

/// Whether a name is in the globs: `*.log` or `*.log*`.
pub(crate) fn is_in_globs(path: &Path, knobs: &Knobs) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".log") || (knobs.globs_find_rotated && !name.ends_with(".gz"))
}

/// The name of a rotated generation.
fn older(path: &Path, age: usize, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}.{age}{ending}", path.display()))
}

impl Writer {
    pub(crate) fn new(mut rng: fastrand::Rng, knobs: Knobs) -> Self {
        let lines = Lines::new(rng.fork(), knobs.clone());
        Self { rng, knobs, lines, slots: Vec::new(), done: Done::default() }
    }

    /// Does one thing. Returns after how long the next one comes.
    pub(crate) fn step(&mut self, site: &mut Site<'_>) -> Duration {
        if self.slots.len() < self.knobs.files && (self.slots.is_empty() || self.rng.u8(0..10) == 0)
        {
            self.open(site);
        }
        let idx = self.rng.usize(0..self.slots.len());
        if self.rng.u32(0..self.knobs.one_in_rotate) == 0 && self.slots[idx].wish.is_none() {
            self.slots[idx].wish = Some(match self.rng.u8(0..6) {
                0 => Act::Replace,
                1..4 if self.knobs.copytruncate => Act::Truncate,
                _ => Act::Rotate(pick(&mut self.rng, &[1, 1, 2, 4])),
            });
        }
        if let Some(act) = self.slots[idx].wish.take() {
            let is_done = match act {
                Act::Replace => self.replace(idx, site),
                Act::Truncate => self.truncate(idx, site),
                Act::Rotate(times) => self.rotate_often(idx, times, site),
            };
            if !is_done {
                self.slots[idx].wish = Some(act);
                self.done.postponed += 1;
            }
        } else if self.rng.u8(0..12) == 0 {
            self.begin_line(idx, site);
        } else {
            self.write_some(idx, site);
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

    fn open(&mut self, site: &mut Site<'_>) {
        let path = PathBuf::from(format!("/log/{}.log", self.slots.len()));
        // Each source has a file before any has two.
        let source = self.slots.len() % self.knobs.sources;
        let behind = match self.rng.u8(0..6) {
            0 if self.knobs.late_files => 2 * 3600 * SECOND,
            1 if self.knobs.late_files => 1200 * SECOND,
            _ => 0,
        };
        let inode = self.create(&path, source, site);
        self.slots.push(Slot { path, source, inode, behind, before: None, wish: None });
    }

    fn create(&mut self, path: &Path, source: usize, site: &mut Site<'_>) -> Rc<Inode> {
        let inode = site.disk.create(path, source, site.wall);
        self.begin(&inode, site);
        inode
    }

    /// A generation begins in a file.
    fn begin(&mut self, inode: &Inode, site: &mut Site<'_>) {
        site.truth.generations.push(Generation::of(inode.number, inode.born));
        let generation = site.truth.generations.len() - 1;
        inode.generation.set(generation);
        if self.knobs.equal_heads {
            let stamp = &mut site.truth.generations[generation].stamp;
            let banner = self.lines.banner(site.wall, stamp);
            write(inode, site.truth, &banner.text);
            site.truth.wrote(generation, 0, banner);
        }
    }

    fn rotate_often(&mut self, idx: usize, times: u8, site: &mut Site<'_>) -> bool {
        for done in 0..times {
            if !self.rotate(idx, site) {
                return 0 < done;
            }
            self.write_some(idx, site);
        }
        true
    }

    /// A file gets the name of an older generation, and a new one its own. All acts return
    /// whether they may be done.
    fn rotate(&mut self, idx: usize, site: &mut Site<'_>) -> bool {
        let (path, source) = (self.slots[idx].path.clone(), self.slots[idx].source);
        let old = Rc::clone(&self.slots[idx].inode);
        if !self.make_room(idx, site) {
            return false;
        }
        self.done.rotations += 1;
        site.disk.rename_log(&path, &older(&path, 1, ""));
        let inode = self.create(&path, source, site);
        finish_line(&old, site.truth);
        let slot = &mut self.slots[idx];
        slot.inode = inode;
        slot.before = Some((old, site.mono + LINGER.mul_f64(self.rng.f64())));
        true
    }

    /// Moves the older generations on, so that the name of the first is free; `false` when the
    /// oldest must not go yet.
    fn make_room(&mut self, idx: usize, site: &mut Site<'_>) -> bool {
        let (path, kept) = (self.slots[idx].path.clone(), self.knobs.kept);
        let endings = ["", ".gz"];
        let last = endings.map(|ending| older(&path, kept, ending));
        let oldest = last.iter().find_map(|name| site.disk.names.get(name).map(|_| name));
        if let Some(oldest) = oldest {
            let inode = Rc::clone(&site.disk.names[oldest]);
            if !self.may_go(&inode, site) {
                return false;
            }
            site.disk.unlink(oldest);
            self.unnamed(&inode, site);
        }
        let lingers = |inode: &Rc<Inode>| {
            let before = self.slots[idx].before.as_ref();
            before.is_some_and(|(old, until)| Rc::ptr_eq(old, inode) && site.mono < *until)
        };
        for age in (1..kept).rev() {
            let name = older(&path, age, "");
            let plain = site.disk.names.get(&name).cloned();
            if let Some(inode) = plain.filter(|inode| self.knobs.gz && !lingers(inode)) {
                finish_line(&inode, site.truth);
                let copy = site.disk.copy(&inode, &older(&path, age + 1, ".gz"), site.wall);
                // As gzip does.
                copy.modified.set(inode.modified.get());
                let generation = &mut site.truth.generations[inode.generation.get()];
                generation.files.push((copy.number, copy.born));
                site.disk.unlink(&name);
                self.done.compressed += 1;
            }
            for ending in endings {
                site.disk.rename_log(&older(&path, age, ending), &older(&path, age + 1, ending));
            }
        }
        true
    }

    /// Whether the last name of a file may be taken away.
    fn may_go(&self, inode: &Inode, site: &Site<'_>) -> bool {
        let generation = inode.generation.get();
        let is_answered = site.truth.is_answered(generation)
            && site.truth.generations[generation].partial.is_none();
        match self.knobs.hold {
            Hold::Answered => is_answered,
            Hold::Opened => is_answered || site.disk.is_open(generation),
            Hold::Never => true,
        }
    }

    /// A name of the file is gone. If it was the last and nobody has it open, what is not read of
    /// it is lost.
    fn unnamed(&self, inode: &Inode, site: &mut Site<'_>) {
        let generation = inode.generation.get();
        let has_name = site.disk.names_of(generation).next().is_some();
        if !has_name && !site.disk.is_open(generation) {
            site.truth.destroyed(generation, (site.read_to)(inode));
        }
    }

    fn truncate(&mut self, idx: usize, site: &mut Site<'_>) -> bool {
        let (path, inode) = (self.slots[idx].path.clone(), Rc::clone(&self.slots[idx].inode));
        let old = inode.generation.get();
        if self.knobs.copies {
            finish_line(&inode, site.truth);
            if !self.make_room(idx, site) {
                return false;
            }
            let copy = site.disk.copy(&inode, &older(&path, 1, ""), site.wall);
            site.truth.generations[old].files.push((copy.number, copy.born));
            self.done.copies += 1;
        } else {
            let read = self.known_read(&inode, site);
            let all = site.truth.generations[old].content.len() as u64 <= read;
            if !self.may_go(&inode, site) || self.knobs.hold == Hold::Opened && !all {
                return false;
            }
            site.truth.destroyed(old, read);
        }
        self.done.truncations += 1;
        let len = inode.data.borrow().len();
        inode.data.borrow_mut().clear();
        inode.touch();
        self.begin(&inode, site);
        if self.knobs.regrow {
            self.regrow(idx, len, site);
        }
        true
    }

    /// How far the agent has read in the generation that a file holds, as far as one can know.
    fn known_read(&self, inode: &Inode, site: &Site<'_>) -> u64 {
        let now = inode.generation.get();
        let of_this =
            |generation: &Generation| generation.files.first() == Some(&(inode.number, inode.born));
        // Of a generation after a truncation nobody knows whether the agent has noticed it,
        // unless it has sent some of it.
        let is_first = site.truth.generations.iter().position(of_this) == Some(now);
        let lines = &site.truth.generations[now].lines;
        let is_known = is_first || lines.iter().any(|line| 0 < site.truth.lines[*line].stored);
        if is_known && 0 < inode.opens.get() { (site.read_to)(inode) } else { 0 }
    }

    /// A truncated file is at once about as long as before: shorter, longer or the same.
    fn regrow(&mut self, idx: usize, len: usize, site: &mut Site<'_>) {
        let (inode, same) = (Rc::clone(&self.slots[idx].inode), self.rng.bool());
        let least = 300;
        while inode.data.borrow().len() + 2 * least < len {
            let some = self.rng.usize(least / 2..least);
            self.write_line(idx, &inode, site, Some(some));
        }
        let left = len.checked_sub(inode.data.borrow().len());
        if same && let Some(left) = left.filter(|left| least / 2 < *left) {
            self.write_line(idx, &inode, site, Some(left));
            self.done.regrown += u64::from(inode.data.borrow().len() == len);
        } else if self.rng.bool() {
            self.write_line(idx, &inode, site, Some(2 * least));
        }
    }

    fn replace(&mut self, idx: usize, site: &mut Site<'_>) -> bool {
        let old = Rc::clone(&self.slots[idx].inode);
        if !self.may_go(&old, site) {
            return false;
        }
        self.done.deletions += 1;
        let (path, source) = (self.slots[idx].path.clone(), self.slots[idx].source);
        site.disk.unlink(&path);
        self.unnamed(&old, site);
        leave_fragment(&old, self.knobs.line_bytes, site.truth);
        drop(old);
        self.slots[idx].inode = self.create(&path, source, site);
        true
    }

    fn begin_line(&mut self, idx: usize, site: &mut Site<'_>) {
        let inode = Rc::clone(&self.slots[idx].inode);
        finish_line(&inode, site.truth);
        let generation = inode.generation.get();
        let draft = self.draft(idx, generation, site, None);
        // Behind the fields that decide what becomes of the line.
        let fields = memchr::memmem::find(&draft.text, b"\"pad\"");
        let written = self.rng.usize(fields.expect("all lines have it")..draft.text.len());
        write(&inode, site.truth, &draft.text[..written]);
        site.truth.generations[generation].partial = Some((draft, written));
    }

    fn write_some(&mut self, idx: usize, site: &mut Site<'_>) {
        let slot = &self.slots[idx];
        let old = slot.before.as_ref().filter(|(_, until)| site.mono < *until);
        let inode = Rc::clone(old.map_or(&slot.inode, |(inode, _)| inode));
        for _ in 0..self.rng.usize(1..8) {
            self.write_line(idx, &inode, site, None);
        }
    }

    fn write_line(&mut self, idx: usize, inode: &Inode, site: &mut Site<'_>, len: Option<usize>) {
        finish_line(inode, site.truth);
        let generation = inode.generation.get();
        let draft = self.draft(idx, generation, site, len);
        let start = site.truth.generations[generation].content.len() as u64;
        write(inode, site.truth, &draft.text);
        site.truth.wrote(generation, start, draft);
    }

    fn draft(
        &mut self,
        idx: usize,
        generation: usize,
        site: &mut Site<'_>,
        len: Option<usize>,
    ) -> Draft {
        let slot = &mut self.slots[idx];
        let stamp = &mut site.truth.generations[generation].stamp;
        let whose = Whose { source: slot.source, behind: &mut slot.behind, stamp };
        self.lines.next(whose, site.wall, len)
    }
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

//! The generations of a file: which is read first, and what truncation has cut off.
//!
//! Files of one stem are generations of one log. The older one is read to its end before the next
//! begins. `copytruncate` makes generations of one inode: it copies the file, then truncates it.
//! The copy is recognised and held; when the file is found truncated, reading goes on in the copy,
//! from the old offset. So it does when the file is gone, as after a compressor.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::{State, Tracked};
use super::identity::{self, Kin, Resume, Trail};
use super::news::{Loss, NewFile, News};
use super::reader::Reader;
use crate::model::{FileKey, FileOffset, FileStat, Files, Fingerprint, Mark, Now};

/// How long a copy of a truncated file is looked for before its unread bytes count as lost.
pub const COPY_WITHIN: Duration = Duration::from_secs(10);

/// A file that appears on another file system is held for so long if it is a copy: when the original
/// goes within this time, it was moved.
const MOVED_WITHIN: Duration = Duration::from_secs(5);

/// Most truncated generations that are remembered.
const BYGONE_MAX: usize = 64;

/// What a truncated file holds now is read after this: folders that are not watched are looked at
/// each second, so its copy is found by then, and goes first.
const COPY_FIRST: Duration = Duration::from_millis(1200);

/// What a truncated file held, to know its copy.
#[derive(Debug)]
pub(super) struct Bygone {
    file: FileKey,
    pub(super) stem: Arc<Path>,
    pub(super) resume: Resume,
    pub(super) trail: Trail,
}

/// A copy of a file that is followed. There is nothing in it that cannot be read from the file, as
/// long as that is not truncated.
#[derive(Debug)]
pub(super) struct Held<H> {
    of: FileKey,
    handle: H,
    new: NewFile,
    pub(super) stat: FileStat,
    /// If its original has still a name then, it is a file of its own.
    until: Option<Duration>,
}

/// What a truncated file held behind the place it was read to.
#[derive(Debug)]
pub(super) struct Missing {
    file: FileKey,
    bytes: u64,
    until: Duration,
}

impl<H> Reader<H> {
    /// Whether an older generation has something left that can be read, or may turn up.
    pub(super) fn must_wait(&self, idx: usize, now: Now) -> bool {
        let Some(file) = self.slots[idx].as_ref() else { return false };
        if now.mono < file.not_before.mono() {
            return true;
        }
        if self.expects_older(&file.stem, file.rank.0) {
            return true;
        }
        if !file.has_kin {
            return false;
        }
        let goes_first = |other: usize| {
            self.slots[other].as_ref().is_some_and(|other| {
                other.rank < file.rank
                    && other.source == file.source
                    && other.has_unseen()
                    && !matches!(other.state, State::SetAside { .. })
            })
        };
        self.generations(&file.stem).any(goes_first)
    }

    /// The file has nothing to read for now: those that wait for it may try.
    pub(super) fn let_next_go(&mut self, idx: usize) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        if file.has_kin {
            let stem = Arc::clone(&file.stem);
            self.let_go(&stem, idx);
        }
    }

    pub(super) fn let_go(&mut self, stem: &Path, but: usize) {
        let mut others: Vec<usize> = self.generations(stem).filter(|idx| *idx != but).collect();
        others.sort_unstable();
        for idx in others {
            if self.slots[idx].as_ref().is_some_and(|file| file.has_unseen()) {
                self.enqueue(idx);
            }
        }
    }

    /// One more generation: what the others have left is looked at first.
    pub(super) fn join_stem(&mut self, stem: &Path, idx: usize, now: Now) {
        let others: Vec<usize> = self.generations(stem).collect();
        for other in &others {
            if let Some(file) = self.slots[*other].as_mut() {
                file.has_kin = true;
                self.look_ats[*other] = now.mono.into();
                self.look_at = now.mono;
            }
        }
        if let Some(file) = self.slots[idx].as_mut() {
            file.has_kin = !others.is_empty();
        }
        let slots = &self.slots;
        self.by_stem.insert(idx, |idx| slots[idx].as_ref().map(|file| &*file.stem));
    }

    pub(super) fn leave_stem(&mut self, stem: &Path, idx: usize) {
        if self.by_stem.remove(idx, Some(stem)) {
            self.let_go(stem, idx);
        }
    }

    /// All generations that are followed, in no order.
    pub(super) fn generations<'a>(&'a self, stem: &'a Path) -> impl Iterator<Item = usize> {
        let own = |idx: usize| self.slots[idx].as_ref().map(|file| &*file.stem);
        self.by_stem.all(Some(stem), own)
    }

    /// The followed file that a rotated one is a copy of.
    pub(super) fn original_of<D: Files<File = H>>(
        &self,
        new: &NewFile,
        handle: &H,
        stat: &FileStat,
        files: &mut D,
    ) -> std::io::Result<Option<FileKey>> {
        for idx in self.generations(&new.stem) {
            let Some(file) = self.slots[idx].as_ref() else { continue };
            if identity::is_copy(files, handle, stat, file)? {
                return Ok(Some(file.key));
            }
        }
        Ok(None)
    }

    /// The followed file that a file may be which was moved here from another file system.
    pub(super) fn moved_from<D: Files<File = H>>(
        &self,
        handle: &H,
        stat: &FileStat,
        files: &mut D,
    ) -> std::io::Result<Option<FileKey>> {
        let own = stat.identity.device;
        if self.devices.keys().all(|device| *device == own)
            || stat.size < identity::HEAD_BYTES as u64
        {
            return Ok(None);
        }
        let head = identity::head_of(files, handle)?;
        let others = self.slots.iter().flatten();
        for file in others.filter(|file| file.identity.device != own && file.head == head) {
            if identity::is_copy(files, handle, stat, file)? {
                return Ok(Some(file.key));
            }
        }
        Ok(None)
    }

    /// Keeps a copy for the case that its original is truncated or goes.
    pub(super) fn hold(&mut self, of: FileKey, handle: H, new: NewFile, stat: FileStat, now: Now) {
        let until = (!new.is_rotated()).then(|| now.mono + MOVED_WITHIN);
        self.held.retain(|held| held.of != of);
        self.held.push(Held { of, handle, new, stat, until });
    }

    /// What was held for a copy and has become a file of its own is read.
    pub(super) fn review_held<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        for mut held in std::mem::take(&mut self.held) {
            let stat = files.stat(&held.handle).unwrap_or(held.stat);
            let has_changed = (stat.size, stat.modified) != (held.stat.size, held.stat.modified);
            held.stat = stat;
            let original = self.slots.iter().flatten().find(|file| file.key == held.of);
            let is_copy = |file: &Tracked<H>, files: &mut D| {
                !has_changed || identity::is_copy(files, &held.handle, &stat, file).unwrap_or(true)
            };
            let is_due = held.until.is_some_and(|until| until <= now.mono);
            if original.is_some_and(|file| !is_copy(file, files) || is_due && file.is_named) {
                self.insert(held.new, held.handle, &stat, Mark::default(), None, now);
                continue;
            }
            held.until = held.until.filter(|_| !is_due);
            self.held.push(held);
        }
    }

    /// The file begins anew at 0, under a new key; `unread` bytes of it are known to be gone, unless
    /// there is a copy. Always `None`.
    pub(super) fn new_generation<T, D: Files<File = H>>(
        &mut self,
        idx: usize,
        unread: u64,
        now: Now,
        files: &mut D,
    ) -> Option<T> {
        let new = self.new_key();
        let file = self.slots[idx].as_mut()?;
        let old = std::mem::replace(&mut file.key, new);
        let (read, stem) = (file.read, Arc::clone(&file.stem));
        let kin = Kin::Copy { of: Some(old) };
        let resume = Resume { head: file.head, mark: read, kin };
        (file.read, file.partial, file.head) = (Mark::default(), 0, Fingerprint::default());
        (file.grew_at, self.look_ats[idx]) =
            (now.mono.into(), (now.mono + self.options.look_busy).into());
        let trail = std::mem::take(&mut file.trail);
        self.bygone.truncate(BYGONE_MAX - 1);
        self.bygone.insert(0, Bygone { file: old, stem, resume, trail });
        self.news.push(News::Truncated { old, new });
        let copied = self.held.iter().position(|held| held.of == old).map(|at| {
            let mut held = self.held.swap_remove(at);
            // It was still being written when it was found.
            held.stat = files.stat(&held.handle).unwrap_or(held.stat);
            held
        });
        let there = copied.as_ref().map_or(0, |held| held.stat.size);
        // What was written behind the copier's back.
        let missing = unread.min((read.offset.0 + unread).saturating_sub(there));
        if 0 < missing {
            let until = now.mono + COPY_WITHIN;
            self.missing.push(Missing { file: old, bytes: missing, until });
        }
        match copied {
            Some(held) => self.go_on_in(held, read, now),
            None => self.wait_for_copy(idx, now),
        }
        self.let_next_go(idx);
        self.enqueue(idx);
        None
    }

    fn wait_for_copy(&mut self, idx: usize, now: Now) {
        let until = now.mono + COPY_FIRST;
        let Some(file) = self.slots[idx].as_mut() else { return };
        (file.not_before, self.look_ats[idx]) = (until.into(), until.into());
        self.paused.retain(|other| *other != idx);
        self.paused.push(idx);
        self.look_at = self.look_at.min(until);
    }

    /// Reading goes on in a copy, at the place where the original was.
    fn go_on_in(&mut self, held: Held<H>, read: Mark, now: Now) {
        let Held { of, handle, new, stat, .. } = held;
        let offset = FileOffset(stat.size);
        let start = if read.offset <= offset { read } else { Mark { offset, ..Mark::default() } };
        self.bygone.retain(|bygone| bygone.file != of);
        let kin = Some(Kin::Copy { of: Some(of) });
        self.insert(new, handle, &stat, start, kin, now);
    }

    /// The original is followed no more: what a copy has beyond the place that it was read to is
    /// read, mostly nothing, and the copy is known from here on.
    pub(super) fn release_copy_of(&mut self, original: &Tracked<H>, now: Now) {
        let Some(at) = self.held.iter().position(|held| held.of == original.key) else { return };
        let held = self.held.swap_remove(at);
        self.go_on_in(held, original.read, now);
    }

    /// A copy of the truncated file was found: what is not in it either is lost.
    pub(super) fn found_copy_of(&mut self, file: FileKey, start: u64, size: u64) {
        self.bygone.retain(|bygone| bygone.file != file);
        for missing in self.missing.iter_mut().filter(|missing| missing.file == file) {
            missing.bytes = missing.bytes.saturating_sub(size.saturating_sub(start));
        }
        self.missing.retain(|missing| missing.bytes != 0);
    }

    /// What no copy was found of is lost.
    pub(super) fn give_up_missing(&mut self, now: Now) {
        for missing in self.missing.extract_if(.., |missing| missing.until <= now.mono) {
            let Missing { file, bytes, .. } = missing;
            self.news.push(News::Lost { file, bytes, why: Loss::Truncated });
        }
    }

    /// Nothing more will be read: what is missing is lost.
    pub fn end(&mut self, now: Now) {
        self.give_up_missing(Now { mono: now.mono + COPY_WITHIN, ..now });
    }
}

//! When a file is looked at, and what a look brings: it grew, shrank, was deleted, or is over.

use std::time::Duration;

use super::file::State;
use super::hot::HOT_BYTES;
use super::news::News;
use super::reader::Reader;
use crate::model::{Files, Now, is_compressed};

/// A file counts as idle when it did not grow for this long.
pub(super) const BUSY_FOR: Duration = Duration::from_secs(60);

/// Most files that are looked at within a second because they grew: when more grow, each is looked
/// at less often, and a look brings more. And most of the others.
const BUSY_PER_SECOND: u32 = 2_000;
const IDLE_PER_SECOND: u32 = 400;

/// Of an idle file only the size is asked for, and of one that grows where so many do; so often,
/// until all of it is again.
const BUSY_MANY: u32 = 1000;
pub(super) const GLANCES_MAX: u8 = 5;

impl<H> Reader<H> {
    pub(super) fn look<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        self.open_waiting(now, files);
        for idx in 0..self.slots.len() {
            if self.look_ats[idx].mono() <= now.mono {
                self.look_at_due(idx, now, files);
            }
        }
        self.review_held(now, files);
        self.give_up_missing(now);
        self.keep_budget(now, files);
        let slots = &self.slots;
        let until =
            |idx: usize| slots[idx].as_ref().map_or(Duration::ZERO, |file| file.not_before.mono());
        self.paused.retain(|idx| now.mono < until(*idx));
        let soon = self.paused.iter().map(|idx| until(*idx)).min();
        let next = now.mono + self.options.look_busy;
        self.look_at = soon.map_or(next, |soon| soon.min(next));
    }

    fn look_at_due<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) {
        let known = self.slots[idx].as_ref().map(|file| file.size);
        if !self.glance(idx, now, files) {
            self.look_at_one(idx, now, files);
        }
        let file = self.slots[idx].as_ref();
        let grown = known.zip(file).map_or(0, |(known, file)| file.size.saturating_sub(known));
        if HOT_BYTES <= grown {
            self.heat(idx, now);
        }
    }

    /// A glance at a file, where files are many: whether that is all that has to be known of it.
    fn glance<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) -> bool {
        let (look_busy, look_idle, are_many) =
            (self.look_busy(), self.look_idle(), BUSY_MANY <= self.busy);
        let Some(file) = self.slots[idx].as_mut() else { return false };
        let is_calm = file.state == State::Following && !file.has_unseen();
        let is_enough = is_calm && file.glances < GLANCES_MAX && (are_many || !file.is_busy);
        let Some(handle) = file.handle.as_ref().filter(|_| is_enough) else { return false };
        let Ok(size) = files.size(handle) else { return false };
        let pause = match file.is_busy {
            false if size == file.size => look_idle,
            true if file.size < size && file.not_before.mono() <= now.mono => look_busy,
            _ => return false,
        };
        file.glances += 1;
        self.look_ats[idx] = (now.mono + pause).into();
        if file.size < size {
            self.grew(idx, size, now);
        }
        true
    }

    /// The file in `slots[idx]` has this size now, and something to read.
    pub(super) fn grew(&mut self, idx: usize, size: u64, now: Now) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        (file.size_before, file.size, file.grew_at) = (file.size, size, now.mono.into());
        self.news.push(News::Size { file: file.key, size });
        self.enqueue(idx);
    }

    /// How long to wait before the next look at a file that grew lately.
    pub(super) fn look_busy(&self) -> Duration {
        self.options.look_busy.max(self.busy * Duration::from_secs(1) / BUSY_PER_SECOND)
    }

    /// The same for any other file.
    pub(super) fn look_idle(&self) -> Duration {
        let files = u32::try_from(self.by_inode.len()).unwrap_or(u32::MAX).min(1_000_000);
        self.options.look_idle.max(files * Duration::from_secs(1) / IDLE_PER_SECOND)
    }

    pub(super) fn look_at_one<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) {
        let (look_busy, look_idle) = (self.look_busy(), self.look_idle());
        let Some(file) = self.slots[idx].as_mut() else { return };
        let looked = match &file.handle {
            Some(handle) => files.stat(handle),
            None => files.look(&file.path),
        };
        let stat = match looked {
            Ok(stat) if stat.identity == file.identity || file.handle.is_some() => stat,
            // Its name and its number are another file's: a scan cannot tell the two apart.
            Ok(stat) if stat.identity.inode == file.identity.inode => {
                return self.succeeded(idx, now, files);
            }
            // The name is another file's: the next scan says what became of this one.
            Ok(_) => {
                self.look_ats[idx] = (now.mono + look_idle).into();
                return;
            }
            Err(_) if file.handle.is_none() => {
                self.look_ats[idx] = (now.mono + look_idle).into();
                return;
            }
            Err(error) => {
                self.set_aside::<()>(idx, &error, now);
                return;
            }
        };
        // What was compressed does not grow.
        if file.handle.is_none() && is_compressed(&file.path) {
            self.look_ats[idx] = (now.mono + look_idle).into();
            return;
        }
        if let State::SetAside { gone, .. } = file.state {
            file.state = if gone { State::Gone } else { State::Following };
            self.news.push(News::Back { file: file.key, gone });
        }
        let known = std::mem::replace(&mut file.size, stat.size);
        let is_changed = std::mem::replace(&mut file.modified, stat.modified) != stat.modified;
        if stat.size != known {
            file.grew_at = now.mono.into();
            file.size_before = known;
            self.news.push(News::Size { file: file.key, size: stat.size });
        }
        let quiet = now.mono.saturating_sub(file.grew_at.mono());
        file.glances = 0;
        let was_busy = std::mem::replace(&mut file.is_busy, quiet < BUSY_FOR);
        self.busy = self.busy + u32::from(file.is_busy) - u32::from(was_busy);
        let next = now.mono
            + match file.state {
                State::Following if file.is_busy => look_busy,
                State::Gone if file.is_busy || file.handle.is_some() => self.options.look_busy,
                State::Following | State::Gone | State::SetAside { .. } => look_idle,
            };
        let not_before = Some(file.not_before.mono()).filter(|until| now.mono < *until);
        self.look_ats[idx] = not_before.map_or(next, |until| next.min(until)).into();
        let is_deleted = stat.links == 0 && file.handle.is_some();
        if is_deleted && !std::mem::replace(&mut file.is_deleted, true) {
            file.is_named = false;
            self.deleted.push(idx);
            self.news.push(News::Deleted { file: file.key });
        }
        if stat.size < file.seen().0 {
            let unread = known.saturating_sub(file.read.offset.0);
            self.new_generation::<(), _>(idx, unread, now, files);
        } else if file.has_unseen() {
            self.enqueue(idx);
        } else if is_changed && file.partial <= self.options.chunk_bytes as u64 {
            // Without growing: it may have been truncated and have grown as far again.
            file.partial = 0;
            self.enqueue(idx);
        } else if file.is_gone() && self.options.grace <= quiet {
            self.finish(idx, now);
        } else if is_deleted {
            self.set_gone(idx, true, now);
        }
    }
}

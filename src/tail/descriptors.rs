//! What is kept open: a descriptor for each file that is read, within a budget, and deleted files
//! until they were read, within another.

use std::io;

use super::file::Tracked;
use super::identity;
use super::news::{Loss, News};
use super::reader::Reader;
use crate::model::{Files, Now};

/// What a reader may keep open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most descriptors of log files. Beyond them, files that have a name are closed and opened
    /// again when they are read, those first that were read to their end.
    pub open_files: usize,
    /// Most deleted files that are kept.
    pub deleted_files: usize,
    /// Most bytes on disk that only our descriptors keep there.
    pub deleted_bytes: u64,
}

/// How much is read at once to count the lines of a file that is given up.
const COUNT_BYTES: usize = 64 * 1024;

impl<H> Reader<H> {
    /// Closes descriptors until there is room for one more. There may be none to close; then the
    /// operating system's limit decides.
    pub(super) fn make_room(&mut self) {
        while self.options.budget.open_files <= self.open {
            if !self.close_one() {
                break;
            }
        }
    }

    /// Closes the descriptor that is needed least; false when each is of a file without a name.
    pub(super) fn close_one(&mut self) -> bool {
        let named = self.slots.iter().enumerate().filter_map(|(idx, file)| {
            let file = file.as_ref().filter(|file| file.is_named && file.handle.is_some())?;
            Some((file.has_unseen(), file.grew_at, idx))
        });
        let Some((_, _, idx)) = named.min() else { return false };
        self.doze(idx);
        true
    }

    /// Closes the descriptor of a file that can be opened again.
    pub(super) fn doze(&mut self, idx: usize) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        self.open -= usize::from(file.handle.take().is_some());
    }

    /// Opens a dormant file again. Returns false if its name is gone or another file's.
    pub(super) fn wake<D: Files<File = H>>(
        &mut self,
        idx: usize,
        now: Now,
        files: &mut D,
    ) -> io::Result<bool> {
        if self.slots[idx].as_ref().is_none_or(|file| file.handle.is_some()) {
            return Ok(true);
        }
        self.make_room();
        let Some(path) = self.slots[idx].as_ref().map(|file| file.path.clone()) else {
            return Ok(false);
        };
        let opened = self.open_within_limit(&path, files);
        self.look_ats[idx] = (now.mono + self.look_busy()).into();
        let Some(file) = self.slots[idx].as_mut() else { return Ok(false) };
        match opened {
            Ok((handle, stat)) if stat.identity == file.identity => {
                file.handle = Some(handle);
                file.size = stat.size;
                self.open += 1;
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens a file; closes others when the process has too many.
    pub(super) fn open_within_limit<D: Files<File = H>>(
        &mut self,
        path: &std::path::Path,
        files: &mut D,
    ) -> io::Result<(H, crate::model::FileStat)> {
        let opened = match files.open(path) {
            Err(error) if is_too_many(&error) && self.close_one() => files.open(path),
            opened => opened,
        };
        let handle = opened?;
        let stat = files.stat(&handle)?;
        Ok((handle, stat))
    }

    /// A dormant file is gone.
    pub(super) fn vanished(&mut self, idx: usize, now: Now) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        let bytes = file.unread();
        if 0 < bytes {
            self.news.push(News::Lost { file: file.key, bytes, why: Loss::Vanished });
        }
        self.close(idx, now);
    }

    /// A dormant file is gone, and a new one has its name and its number.
    pub(super) fn succeeded<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        let new = file.successor();
        self.vanished(idx, now);
        self.found(new, now, files);
    }

    /// Gives up the oldest deleted files while they are too many or too large.
    pub(super) fn keep_budget<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        let budget = self.options.budget;
        loop {
            let (mut count, mut bytes, mut oldest) = (0, 0, None);
            for idx in self.deleted.iter().copied() {
                let file = self.slots[idx].as_ref().filter(|file| file.handle.is_some());
                let Some(file) = file else { continue };
                count += 1;
                bytes += file.size;
                if oldest.is_none_or(|(rank, _)| file.rank < rank) {
                    oldest = Some((file.rank, idx));
                }
            }
            let is_within = count <= budget.deleted_files && bytes <= budget.deleted_bytes;
            let Some((_, idx)) = oldest.filter(|_| !is_within) else { return };
            self.give_up(idx, now, files);
        }
    }

    fn give_up<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        let bytes = file.unread();
        if 0 < bytes {
            let lines = lines_left(file, files);
            self.news.push(News::GivenUp { file: file.key, bytes, lines });
        }
        self.close(idx, now);
    }
}

/// Lines behind the place a file was read to, as far as they can be read.
fn lines_left<D: Files>(file: &Tracked<D::File>, files: &mut D) -> u64 {
    let Some(handle) = &file.handle else { return 0 };
    let mut buf = vec![0; COUNT_BYTES];
    let (mut lines, mut at, mut is_open) = (0, file.read.offset.0, false);
    while let Ok(len @ 1..) = identity::read_full(files, handle, &mut buf, at) {
        at += len as u64;
        lines += memchr::memchr_iter(b'\n', &buf[..len]).count() as u64;
        is_open = buf[len - 1] != b'\n';
    }
    lines + u64::from(is_open)
}

fn is_too_many(error: &io::Error) -> bool {
    let too_many = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    too_many.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

//! How a file gets into a reader: opened, identified, and set to where reading starts.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::file::{State, Tracked};
use super::generations::Bygone;
use super::identity::{self, Kin, Trail};
use super::looks::BUSY_FOR;
use super::news::{Begin, NewFile, News};
use super::reader::{Reader, failed, retry_pause};
use crate::model::{FileOffset, FileStat, Files, Fingerprint, Kind, Mark, Moment, Now};

/// Names under which nothing was found are tried so often: for more than a minute in all. All names
/// are scanned again within that time.
const MISSES_MAX: u32 = 7;

/// A name that leads to another file than the one that was found is tried so often before that is
/// believed: for three seconds in all. A scan tells within that time what became of the one; some
/// file systems give a file another number each time.
const STRANGERS_MAX: u32 = 2;

/// A name to try again.
#[derive(Debug)]
pub(super) struct Waiting {
    new: NewFile,
    at: Duration,
    /// How often it could not be opened.
    tries: u32,
    /// How often there was nothing, since there last was something.
    misses: u32,
    /// How often there was another file.
    strangers: u32,
}

impl Waiting {
    fn new(new: NewFile, at: Duration) -> Self {
        Self { new, at, tries: 0, misses: 0, strangers: 0 }
    }

    /// Whether the file was renamed, or is gone, since it was found: the next scan tells.
    fn is_elsewhere(&self) -> bool {
        let tries = self.misses + self.strangers;
        self.new.inode.is_some() && self.tries == 0 && 0 < tries && tries <= STRANGERS_MAX
    }
}

impl<H> Reader<H> {
    /// Opens a file that discovery found, now or when it can be.
    pub fn found<D: Files<File = H>>(&mut self, new: NewFile, now: Now, files: &mut D) {
        if let Some(inode) = new.inode {
            self.expect_no_more(inode);
        }
        self.try_open(Waiting::new(new, now.mono), now, files);
    }

    /// A file that is not to be read before a time may be.
    pub fn release(&mut self, inode: (u64, u64), now: Now) {
        for waiting in &mut self.waiting {
            if waiting.new.inode == Some(inode) {
                waiting.new.not_before = Duration::ZERO;
            }
        }
        let Some(idx) = self.slot_of(inode) else { return };
        if let Some(file) =
            self.slots[idx].as_mut().filter(|file| now.mono < file.not_before.mono())
        {
            file.not_before = Moment::default();
            let stem = Arc::clone(&file.stem);
            self.enqueue(idx);
            // Those that wait for it look whether they still have to.
            self.let_go(&stem, idx);
        }
    }

    /// A scan tells of this file: it is no more waited for under the name that it had.
    pub(super) fn expect_no_more(&mut self, inode: (u64, u64)) {
        let mut waiting = self.waiting.iter();
        if let Some(at) = waiting.position(|waiting| waiting.new.inode == Some(inode)) {
            let stem = self.waiting.remove(at).new.stem;
            self.let_go(&stem, usize::MAX);
        }
    }

    /// Whether a generation of `stem` that is older than `rank` is about to be found elsewhere.
    pub(super) fn expects_older(&self, stem: &Path, rank: i64) -> bool {
        let is_older = |new: &NewFile| *new.stem == *stem && new.rank < rank;
        self.waiting.iter().any(|waiting| is_older(&waiting.new) && waiting.is_elsewhere())
    }

    /// Tries the files again that could not be opened before.
    pub(super) fn open_waiting<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        for waiting in std::mem::take(&mut self.waiting) {
            if waiting.at <= now.mono {
                self.try_open(waiting, now, files);
            } else {
                self.waiting.push(waiting);
            }
        }
    }

    fn try_open<D: Files<File = H>>(&mut self, waiting: Waiting, now: Now, files: &mut D) {
        self.make_room();
        let Waiting { new: NewFile { path, inode, .. }, strangers, .. } = &waiting;
        let expected = inode.filter(|_| *strangers < STRANGERS_MAX);
        match self.open_within_limit(path, files) {
            // Rotated since it was found: what is here now comes behind what was.
            Ok((_, stat)) if expected.is_some_and(|inode| inode != stat.identity.inode()) => {
                let at = now.mono + retry_pause(waiting.strangers);
                let new = waiting.new.not_there_before();
                let strangers = waiting.strangers + 1;
                self.waiting.push(Waiting { new, at, strangers, ..waiting });
            }
            Ok((handle, stat)) if stat.kind == Kind::File => {
                if let Err(error) = self.track(&waiting.new, handle, &stat, now, files) {
                    self.wait(waiting, &error, now);
                }
            }
            Ok(_) => self.news.push(News::Refused { path: waiting.new.path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.missed(waiting, now),
            Err(error) => self.wait(waiting, &error, now),
        }
    }

    fn wait(&mut self, waiting: Waiting, error: &io::Error, now: Now) {
        self.news.push(failed(&waiting.new.path, error));
        let at = now.mono + retry_pause(waiting.tries);
        self.waiting.push(Waiting { at, tries: waiting.tries + 1, misses: 0, ..waiting });
    }

    /// The file went before it was opened. A scan knows files by their numbers, and this one's is
    /// free: the next file of this name may have it, and then no scan will tell of that.
    fn missed(&mut self, waiting: Waiting, now: Now) {
        if waiting.misses < MISSES_MAX {
            let at = now.mono + retry_pause(waiting.misses);
            let (new, misses) = (waiting.new.not_there_before(), waiting.misses + 1);
            self.waiting.push(Waiting { new, at, misses, ..waiting });
        }
    }

    /// A deleted file is closed, maybe before a scan has missed it: as [`Self::missed`].
    pub(super) fn expect_successor(&mut self, file: &Tracked<H>, now: Now) {
        if file.is_deleted {
            self.missed(Waiting::new(file.successor(), now.mono), now);
        }
    }

    fn track<D: Files<File = H>>(
        &mut self,
        new: &NewFile,
        handle: H,
        stat: &FileStat,
        now: Now,
        files: &mut D,
    ) -> io::Result<()> {
        let inode = stat.identity.inode();
        if self.follows(inode, &new.path, now, files) {
            self.renamed(inode, &new.path, &new.stem, now);
            return Ok(());
        }
        let known = self.known_start(new, &handle, stat, files)?;
        let original = match known {
            Some((_, Kin::Same { .. })) => None,
            Some(_) | None if new.is_rotated() => self.original_of(new, &handle, stat, files)?,
            Some(_) => None,
            None => self.moved_from(&handle, stat, files)?,
        };
        if let Some(original) = original {
            self.hold(original, handle, new.clone(), *stat, now);
            return Ok(());
        }
        // With the number of the file that was found: that one is gone, and this one is new.
        let is_another = new.birth.differs_from(stat.identity.birth);
        let begin = if is_another { Begin::Start } else { new.begin };
        let (start, kin) = match known {
            Some((mark, kin)) => (mark, Some(kin)),
            None if begin == Begin::Start || new.was_known() => (Mark::default(), None),
            None => (end_of_lines(files, &handle, stat.size, self.options.chunk_bytes)?, None),
        };
        let head = identity::head_of(files, &handle)?;
        if let Some(Kin::Copy { of: Some(original) }) = kin {
            self.found_copy_of(original, start.offset.0, stat.size);
        }
        let idx = self.insert(new.clone(), handle, stat, start, kin, now);
        self.set_head(idx, head);
        if known.is_none() && begin == Begin::Never {
            self.close(idx, now);
        }
        Ok(())
    }

    /// Where reading starts in a file of which something is known.
    fn known_start<D: Files<File = H>>(
        &mut self,
        new: &NewFile,
        handle: &H,
        stat: &FileStat,
        files: &mut D,
    ) -> io::Result<Option<(Mark, Kin)>> {
        for resume in &new.known {
            let bygone = self.bygone.iter().find(|bygone| bygone.resume.mark == resume.mark);
            let trail = bygone.map_or(&[][..], |bygone| &bygone.trail);
            if let Some(mark) = identity::confirm(files, handle, stat, resume, trail)? {
                return Ok(Some((mark, resume.kin)));
            }
        }
        // Truncated since the file was found by its name.
        for bygone in self.bygone.iter().filter(|bygone| bygone.stem == new.stem) {
            let Bygone { resume, trail, .. } = bygone;
            if new.is_rotated()
                && let Some(mark) = identity::confirm(files, handle, stat, resume, trail)?
            {
                return Ok(Some((mark, resume.kin)));
            }
        }
        // A file with the number of one that is gone is no reason to worry.
        if let Some(resume) = new.known.first().filter(|resume| resume.is_of(stat)) {
            let (path, saved) = (Arc::clone(&new.path), resume.mark.offset);
            self.news.push(News::NotResumed { path, saved });
        }
        Ok(None)
    }

    /// Takes a file in, to be read from `start` on.
    pub(super) fn insert(
        &mut self,
        new: NewFile,
        handle: H,
        stat: &FileStat,
        start: Mark,
        kin: Option<Kin>,
        now: Now,
    ) -> usize {
        let key = self.new_key();
        let identity = stat.identity;
        // What this run has held of the original need not be read again in a copy.
        let start = match kin {
            Some(Kin::Copy { of: Some(_) }) => Mark { held: Default::default(), ..start },
            Some(_) | None => start,
        };
        let state = if new.is_rotated() { State::Gone } else { State::Following };
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.look_ats.push(Duration::MAX.into());
            self.slots.len() - 1
        });
        let is_busy = now.wall.since(stat.modified) < BUSY_FOR;
        self.slots[idx] = Some(Box::new(Tracked {
            handle: Some(handle),
            key,
            source: new.source,
            path: Arc::clone(&new.path),
            stem: Arc::clone(&new.stem),
            identity,
            head: Fingerprint::default(),
            state,
            is_named: true,
            is_deleted: false,
            read: begin(start),
            partial: 0,
            size: stat.size,
            size_before: stat.size,
            modified: stat.modified,
            grew_at: now.mono.into(),
            not_before: new.not_before.into(),
            is_busy,
            glances: 0,
            has_kin: false,
            is_queued: false,
            rank: (new.rank, key),
            trail: Trail::default(),
        }));
        self.busy += u32::from(is_busy);
        let pause = match state {
            State::Following if is_busy => self.look_busy(),
            State::Following => self.look_idle(),
            State::Gone | State::SetAside { .. } => self.options.look_busy,
        };
        self.look_ats[idx] = (now.mono + pause).into();
        if now.mono < new.not_before {
            self.look_ats[idx] = self.look_ats[idx].min(new.not_before.into());
            self.look_at = self.look_at.min(new.not_before);
            self.paused.push(idx);
        }
        self.open += 1;
        *self.devices.entry(identity.device).or_default() += 1;
        let slots = &self.slots;
        self.by_inode.insert(idx, |idx| slots[idx].as_ref().map(|file| file.identity.inode()));
        self.set_path(&new.path, idx);
        self.join_stem(&new.stem, idx, now);
        let NewFile { path, stem, source, .. } = new;
        let (size, waits) = (stat.size, self.must_wait(idx, now));
        let opened =
            News::Opened { file: key, source, path, stem, identity, start, size, kin, waits };
        self.news.push(opened);
        if state == State::Gone {
            self.news.push(News::Rotated { file: key });
        }
        self.enqueue(idx);
        idx
    }

    pub(super) fn set_head(&mut self, idx: usize, head: Fingerprint) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        file.head = head;
        self.news.push(News::Head { file: file.key, head });
    }
}

/// Where the first read of this run begins: what was held is read again. The bytes before that
/// place are not known; [`identity::confirm`] has looked at those before the mark.
fn begin(mark: Mark) -> Mark {
    let offset = mark.read_from();
    let tail = if offset == mark.offset { mark.tail } else { Fingerprint::default() };
    Mark { offset, tail, ..mark }
}

/// The offset behind the last newline of a file, which is searched in its last `within` bytes.
fn end_of_lines<D: Files>(
    files: &mut D,
    file: &D::File,
    size: u64,
    within: usize,
) -> io::Result<Mark> {
    let mut end = vec![0; within.min(usize::try_from(size).unwrap_or(within))];
    let from = size - end.len() as u64;
    let len = identity::read_full(files, file, &mut end, from)?;
    let lines = memchr::memrchr(b'\n', &end[..len]).map_or(len, |newline| newline + 1);
    let offset = FileOffset(from + lines as u64);
    Ok(Mark { offset, tail: identity::tail_of(&end[..lines]), ..Mark::default() })
}

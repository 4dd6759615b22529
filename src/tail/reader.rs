//! Many files, one buffer: each turn hands out the next chunk of one file.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chunk::Chunk;
use super::file::{State, Tracked};
use super::identity::Resume;
use crate::model::{FileKey, FileOffset, Files, Fingerprint, Identity, Mark, Now, SourceId};

/// How a reader behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the buffer behind [`Reader::turn`]: a line that does not fit is cut.
    pub chunk_bytes: usize,
    /// A file without a name in the globs is closed when it was quiet for this long.
    pub grace: Duration,
    /// How often a file is looked at that grew within the last minute.
    pub look_busy: Duration,
    /// How often an idle file is looked at.
    pub look_idle: Duration,
    /// The first key that this reader gives to a file, and the step to the next: readers share
    /// the numbers out among them.
    pub keys: (u64, u64),
}

/// A file counts as idle when it did not grow for this long.
const BUSY_FOR: Duration = Duration::from_secs(60);

/// Longest pause before a file that could not be opened or read is tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A file that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its name.
    pub path: PathBuf,
    /// Its source.
    pub source: SourceId,
    /// Where to go on, if it is still the file that this was saved for.
    pub resume: Option<Resume>,
    /// Without a usable `resume`: start behind its last line end.
    pub from_end: bool,
}

/// What happened to files, in order; for the registry, the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum News {
    /// A file is read from `start` on.
    Opened {
        file: FileKey,
        source: SourceId,
        path: PathBuf,
        identity: Identity,
        start: Mark,
        size: u64,
        resumed: bool,
        /// It waits until the file that had its path before is read to its end.
        waits: bool,
    },
    /// It has no whole line that was not read.
    NoLine { file: FileKey },
    /// Its saved place did not fit its content: it is read from the beginning.
    NotResumed { path: PathBuf, saved: FileOffset },
    /// It shrank, or the bytes before the offset changed: `new` starts at 0. `unread` bytes were
    /// there at the last look and are gone.
    Truncated { old: FileKey, new: FileKey, unread: u64 },
    /// The hash of its head covers more.
    Head { file: FileKey, head: Fingerprint },
    /// It has another name.
    Renamed { file: FileKey, path: PathBuf },
    /// It has no name in the globs any more, and is read to its end.
    Rotated { file: FileKey },
    /// Its size when it was looked at.
    Size { file: FileKey, size: u64 },
    /// It cannot be read for the moment; a `Failed` says why.
    SetAside { file: FileKey },
    /// It can be read again.
    Back { file: FileKey, gone: bool },
    /// It was read to its end and closed.
    Closed { file: FileKey },
    /// It could not be opened, looked at or read; it is tried again.
    Failed { path: PathBuf, error: String, kind: io::ErrorKind },
    /// It is not a regular file, or became another one before it was opened; it is left alone.
    Refused { path: PathBuf },
}

/// What a turn brought.
#[derive(Debug)]
pub enum Turn {
    /// Lines, in the buffer. [`Reader::consumed`] must follow.
    Chunk(Chunk),
    /// Nothing to read; look again then.
    Idle(Duration),
}

/// Reads a set of files, a chunk of one file a turn.
#[derive(Debug)]
pub struct Reader<H> {
    pub(super) options: Options,
    pub(super) slots: Vec<Option<Tracked<H>>>,
    /// Places in `slots` without a file.
    pub(super) free: Vec<usize>,
    pub(super) by_inode: HashMap<(u64, u64), usize>,
    pub(super) by_path: HashMap<PathBuf, usize>,
    /// By the key of a rotated generation: the file that has its path now.
    pub(super) successors: HashMap<FileKey, usize>,
    /// Files that may have unread bytes, each at most once.
    ready: VecDeque<usize>,
    /// Files that could not be opened yet.
    pub(super) waiting: Vec<(NewFile, Duration, u32)>,
    look_at: Duration,
    next_key: u64,
    pub(super) news: Vec<News>,
}

impl<H> Reader<H> {
    /// A reader without files.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let next_key = options.keys.0;
        Self {
            options,
            slots: Vec::new(),
            free: Vec::new(),
            by_inode: HashMap::new(),
            by_path: HashMap::new(),
            successors: HashMap::new(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            look_at: Duration::ZERO,
            next_key,
            news: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub fn news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// How many files wait to be read.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether a file waits to be read whose source is `wanted`.
    #[must_use]
    pub fn has_ready(&self, wanted: impl Fn(SourceId) -> bool) -> bool {
        let mut files = self.ready.iter().filter_map(|idx| self.slots[*idx].as_ref());
        files.any(|file| wanted(file.source))
    }

    /// How many files are open.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.by_inode.len()
    }

    /// Whether a file is open.
    #[must_use]
    pub fn has(&self, inode: (u64, u64)) -> bool {
        self.by_inode.contains_key(&inode)
    }

    /// A file has another name in the globs.
    pub fn renamed(&mut self, inode: (u64, u64), path: &Path, now: Now) {
        let Some(&idx) = self.by_inode.get(&inode) else { return };
        let Some(file) = self.slots[idx].as_mut() else { return };
        let old = std::mem::replace(&mut file.path, path.to_owned());
        if file.state == State::Gone {
            file.state = State::Following;
        }
        file.look_at = now.mono;
        self.look_at = now.mono;
        let key = file.key;
        if self.by_path.get(&old) == Some(&idx) {
            self.by_path.remove(&old);
        }
        self.by_path.insert(path.to_owned(), idx);
        self.news.push(News::Renamed { file: key, path: path.to_owned() });
    }

    /// A file has no name in the globs any more.
    pub fn gone(&mut self, inode: (u64, u64), now: Now) {
        let Some(&idx) = self.by_inode.get(&inode) else { return };
        let Some(file) = self.slots[idx].as_mut() else { return };
        if file.is_gone() {
            return;
        }
        match &mut file.state {
            State::SetAside { gone, .. } => *gone = true,
            state @ (State::Following | State::Gone) => *state = State::Gone,
        }
        file.grew_at = now.mono;
        file.look_at = now.mono;
        self.look_at = now.mono;
        self.news.push(News::Rotated { file: file.key });
    }

    /// A file may have grown: looks at it.
    pub fn hint<D: Files<File = H>>(&mut self, path: &Path, now: Now, files: &mut D) {
        if let Some(&idx) = self.by_path.get(path) {
            self.look_at_one(idx, now, files);
        }
    }

    /// Looks at what is due and reads the next chunk into `buf`. Files of which `may_read` says no
    /// are passed over; it is asked just before a read.
    pub fn turn<D: Files<File = H>>(
        &mut self,
        now: Now,
        files: &mut D,
        buf: &mut Vec<u8>,
        mut may_read: impl FnMut(SourceId) -> bool,
    ) -> Turn {
        if self.look_at <= now.mono {
            self.look(now, files);
        }
        let mut passed = 0;
        for _ in 0..self.ready.len() {
            let Some(idx) = self.ready.pop_front() else { break };
            let source = self.slots[idx].as_ref().map(|file| file.source);
            if source.is_some_and(|source| !may_read(source)) {
                self.ready.push_back(idx);
                passed += 1;
                continue;
            }
            if let Some(chunk) = self.read(idx, now, files, buf) {
                return Turn::Chunk(chunk);
            }
        }
        // Some of them were put back: a long line is looked through a chunk a turn.
        Turn::Idle(if self.ready.len() == passed { self.look_at } else { now.mono })
    }

    /// The lines of `chunk` up to `end` were taken; the rest is read again. `whole` says that all
    /// of its lines were. Returns whether the file has unread data.
    pub fn consumed(&mut self, chunk: &Chunk, end: Mark, whole: bool) -> bool {
        let idx = chunk.slot.0;
        let Some(file) = self.slots[idx].as_mut() else { return false };
        let seen = file.seen();
        assert!(end.offset <= seen, "BUG: {:?} was taken, {seen:?} was seen", end.offset);
        file.read = end;
        file.partial = if whole { seen.0 - end.offset.0 } else { 0 };
        let unread = file.has_unseen() || !whole;
        if unread {
            self.enqueue(idx);
        }
        unread
    }

    fn look<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        self.open_waiting(now, files);
        for idx in 0..self.slots.len() {
            if self.slots[idx].as_ref().is_some_and(|file| file.look_at <= now.mono) {
                self.look_at_one(idx, now, files);
            }
        }
        self.look_at = now.mono + self.options.look_busy;
    }

    fn look_at_one<D: Files<File = H>>(&mut self, idx: usize, now: Now, files: &mut D) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        let stat = match files.stat(&file.handle) {
            Ok(stat) => stat,
            Err(error) => {
                self.set_aside::<()>(idx, &error, now);
                return;
            }
        };
        if let State::SetAside { gone, .. } = file.state {
            file.state = if gone { State::Gone } else { State::Following };
            self.news.push(News::Back { file: file.key, gone });
        }
        let known = std::mem::replace(&mut file.size, stat.size);
        if stat.size != known {
            file.grew_at = now.mono;
            self.news.push(News::Size { file: file.key, size: stat.size });
        }
        let quiet = now.mono.saturating_sub(file.grew_at);
        let busy = file.is_gone() || quiet < BUSY_FOR;
        let pause = if busy { self.options.look_busy } else { self.options.look_idle };
        file.look_at = now.mono + pause;
        if stat.size < file.seen().0 {
            let unread = known.saturating_sub(file.read.offset.0);
            self.new_generation::<()>(idx, unread, now);
        } else if file.has_unseen() {
            self.enqueue(idx);
        } else if file.is_gone() && self.options.grace <= quiet {
            self.finish(idx);
        } else if stat.links == 0 {
            let inode = (file.identity.device, file.identity.inode);
            self.gone(inode, now);
        }
    }

    /// The file had its last look: a line without a newline is its last, then it is closed.
    fn finish(&mut self, idx: usize) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        if file.partial != 0 {
            return self.enqueue(idx);
        }
        self.news.push(News::Closed { file: file.key });
        let Some(file) = self.slots[idx].take() else { return };
        self.free.push(idx);
        self.by_inode.remove(&(file.identity.device, file.identity.inode));
        if self.by_path.get(&file.path) == Some(&idx) {
            self.by_path.remove(&file.path);
        }
        self.ready.retain(|ready| *ready != idx);
        self.let_successor_go(file.key);
    }

    /// The file waits after a failure, longer each time. Always `None`.
    pub(super) fn set_aside<T>(&mut self, idx: usize, error: &io::Error, now: Now) -> Option<T> {
        let file = self.slots[idx].as_mut()?;
        let (gone, tries) = match file.state {
            State::SetAside { gone, tries } => (gone, tries + 1),
            State::Gone => (true, 0),
            State::Following => (false, 0),
        };
        file.state = State::SetAside { gone, tries };
        file.look_at = now.mono + retry_pause(tries);
        let (key, news) = (file.key, failed(&file.path, error));
        self.news.push(news);
        self.news.push(News::SetAside { file: key });
        self.let_successor_go(key);
        None
    }

    pub(super) fn enqueue(&mut self, idx: usize) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        if !file.queued {
            file.queued = true;
            self.ready.push_back(idx);
        }
    }

    pub(super) fn let_successor_go(&mut self, before: FileKey) {
        if let Some(idx) = self.successors.remove(&before) {
            self.enqueue(idx);
        }
    }

    pub(super) fn new_key(&mut self) -> FileKey {
        let key = FileKey(self.next_key);
        self.next_key += self.options.keys.1;
        key
    }

    /// The file that has `path` at the moment.
    pub(super) fn holder_of(&self, path: &Path) -> Option<(usize, FileKey)> {
        let idx = *self.by_path.get(path)?;
        self.slots[idx].as_ref().map(|file| (idx, file.key))
    }
}

pub(super) fn failed(path: &Path, error: &io::Error) -> News {
    News::Failed { path: path.to_owned(), error: error.to_string(), kind: error.kind() }
}

pub(super) fn retry_pause(tries: u32) -> Duration {
    (Duration::from_secs(1) * 2u32.pow(tries.min(5))).min(RETRY_MAX)
}

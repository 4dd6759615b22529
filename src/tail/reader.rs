//! Many files, one buffer: each turn hands out the next chunk of one file.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::chunk::Chunk;
use super::descriptors::Budget;
use super::file::{State, Tracked};
use super::generations::{Bygone, Held, Missing};
use super::hot::Hot;
use super::looks::GLANCES_MAX;
use super::news::News;
use super::open::Waiting;
use crate::model::{FileKey, Files, Identity, Index, Mark, Moment, Now, SourceId};

/// How a reader behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Size of the buffer behind [`Reader::turn`]: a line that does not fit is cut.
    pub chunk_bytes: usize,
    /// A file that was rotated or deleted has its last line when it was quiet for this long.
    pub grace: Duration,
    /// How often a file is looked at that grew within the last minute.
    pub look_busy: Duration,
    /// How often an idle file is looked at.
    pub look_idle: Duration,
    /// How often one is looked at that grows fast and of which no hint tells.
    pub look_hot: Duration,
    /// The first key that this reader gives to a file, and the step to the next: readers share
    /// the numbers out among them.
    pub keys: (u64, u64),
    /// What may be open.
    pub budget: Budget,
}

/// Longest pause before a file that could not be opened or read is tried again.
const RETRY_MAX: Duration = Duration::from_secs(30);

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
    pub(super) slots: Vec<Option<Box<Tracked<H>>>>,
    /// When to look at the size of each again. Apart from them: it is gone through each second.
    pub(super) look_ats: Vec<Moment>,
    /// Places in `slots` without a file.
    pub(super) free: Vec<usize>,
    pub(super) by_inode: Index,
    /// How many files are followed on each device.
    pub(super) devices: HashMap<u64, usize>,
    /// By path where that is not the stem.
    pub(super) by_path: HashMap<Arc<Path>, usize>,
    /// The generations of each file.
    pub(super) by_stem: Index,
    /// Files that may have unread bytes, each at most once.
    ready: VecDeque<usize>,
    /// Files that could not be opened yet.
    pub(super) waiting: Vec<Waiting>,
    /// Copies of files that are followed and were not truncated yet.
    pub(super) held: Vec<Held<H>>,
    /// Bytes of truncated files for which no copy was found yet.
    pub(super) missing: Vec<Missing>,
    /// Truncated generations, the last one first: a copy may turn up.
    pub(super) bygone: Vec<Bygone>,
    /// Files that are not read before a time.
    pub(super) paused: Vec<usize>,
    /// Files without a name anywhere.
    pub(super) deleted: Vec<usize>,
    /// How many files grew lately.
    pub(super) busy: u32,
    /// How many descriptors of log files are open.
    pub(super) open: usize,
    pub(super) look_at: Duration,
    /// Those that grow fast.
    pub(super) hot: Vec<Hot>,
    pub(super) look_hot_at: Duration,
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
            look_ats: Vec::new(),
            free: Vec::new(),
            by_inode: Index::default(),
            devices: HashMap::new(),
            by_path: HashMap::new(),
            by_stem: Index::default(),
            ready: VecDeque::new(),
            waiting: Vec::new(),
            held: Vec::new(),
            missing: Vec::new(),
            bygone: Vec::new(),
            paused: Vec::new(),
            deleted: Vec::new(),
            busy: 0,
            open: 0,
            look_at: Duration::ZERO,
            hot: Vec::new(),
            look_hot_at: Duration::MAX,
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

    /// How many files are followed.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.by_inode.len()
    }

    /// Whether the file that has this number and name is followed. While a file is closed, its
    /// number may be given to a new one: then the old one is gone.
    pub fn follows<D: Files<File = H>>(
        &mut self,
        inode: (u64, u64),
        path: &Path,
        now: Now,
        files: &mut D,
    ) -> bool {
        let Some(idx) = self.slot_of(inode) else { return false };
        let Some(file) = self.slots[idx].as_ref() else { return false };
        // Another number is no news of this one: it was renamed again since it was found.
        let is_another = |own: Identity| own.inode() == inode && own != file.identity;
        let is_dormant = file.handle.is_none();
        if is_dormant && files.look(path).is_ok_and(|stat| is_another(stat.identity)) {
            self.vanished(idx, now);
            return false;
        }
        true
    }

    /// A file has another name: `stem`, or one that says that it was rotated.
    pub fn renamed(&mut self, inode: (u64, u64), path: &Arc<Path>, stem: &Arc<Path>, now: Now) {
        let Some(idx) = self.slot_of(inode) else { return };
        let Some(file) = self.slots[idx].as_mut() else { return };
        let old = std::mem::replace(&mut file.path, Arc::clone(path));
        file.is_named = true;
        self.look_ats[idx] = now.mono.into();
        self.look_at = now.mono;
        let key = file.key;
        if self.by_path.get(&old) == Some(&idx) {
            self.by_path.remove(&old);
        }
        self.set_path(path, idx);
        if old != *path {
            self.news.push(News::Renamed { file: key, path: Arc::clone(path) });
        }
        self.set_gone(idx, path != stem, now);
    }

    /// A file has no name any more that discovery would find.
    pub fn gone(&mut self, inode: (u64, u64), now: Now) {
        self.expect_no_more(inode);
        let Some(idx) = self.slot_of(inode) else { return };
        let Some(file) = self.slots[idx].as_mut() else { return };
        file.is_named = false;
        if file.handle.is_none() {
            return self.vanished(idx, now);
        }
        self.set_gone(idx, true, now);
        self.look_at = now.mono;
    }

    /// Where the file is that has this number.
    pub(super) fn slot_of(&self, inode: (u64, u64)) -> Option<usize> {
        let own = |idx: usize| self.slots[idx].as_ref().map(|file| file.identity.inode());
        self.by_inode.get(Some(inode), own)
    }

    /// The file that has this number, if it is followed.
    #[must_use]
    pub fn key_of(&self, inode: (u64, u64)) -> Option<FileKey> {
        self.slots[self.slot_of(inode)?].as_ref().map(|file| file.key)
    }

    /// The file is of no source any more, or another one's: it is closed where it is.
    pub fn leave(&mut self, inode: (u64, u64), now: Now) {
        self.expect_no_more(inode);
        self.held.retain(|held| held.stat.identity.inode() != inode);
        if let Some(idx) = self.slot_of(inode) {
            self.close(idx, now);
        }
    }

    /// From now on no more than this may be open.
    pub fn set_budget(&mut self, budget: Budget) {
        self.options.budget = budget;
    }

    /// Nobody is expected to write to the file for long, or somebody is after all.
    pub(super) fn set_gone(&mut self, idx: usize, is_gone: bool, now: Now) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        let was_gone = file.is_gone();
        match &mut file.state {
            State::SetAside { gone, .. } => *gone = is_gone,
            state @ (State::Following | State::Gone) => {
                *state = if is_gone { State::Gone } else { State::Following };
            }
        }
        if was_gone == is_gone {
            return;
        }
        file.grew_at = now.mono.into();
        self.look_ats[idx] = now.mono.into();
        let file = file.key;
        let news = if is_gone { News::Rotated { file } } else { News::Unrotated { file } };
        self.news.push(news);
    }

    /// The newest file that has this path.
    fn at_path(&self, path: &Path) -> Option<usize> {
        let file = |idx: usize| self.slots[idx].as_ref().filter(|file| *file.path == *path);
        let own = self.generations(path).filter(|idx| file(*idx).is_some());
        own.max_by_key(|idx| file(*idx).map(|file| file.key))
            .or_else(|| self.by_path.get(path).copied())
    }

    /// The file in `slots[idx]` has this path.
    pub(super) fn set_path(&mut self, path: &Arc<Path>, idx: usize) {
        if self.slots[idx].as_ref().is_some_and(|file| file.stem != *path) {
            self.by_path.insert(Arc::clone(path), idx);
        }
    }

    /// A file may have grown: looks at it. If nobody will tell of it for a while, it is taken to
    /// grow fast.
    pub fn hint<D: Files<File = H>>(
        &mut self,
        path: &Path,
        is_last: bool,
        now: Now,
        files: &mut D,
    ) {
        let Some(idx) = self.at_path(path) else { return };
        if let Some(file) = self.slots[idx].as_mut() {
            file.glances = GLANCES_MAX;
        }
        self.look_at_one(idx, now, files);
        if is_last {
            self.heat(idx, now);
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
        if self.look_hot_at <= now.mono {
            self.look_at_hot(now, files);
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
        let next = self.look_at.min(self.look_hot_at);
        Turn::Idle(if self.ready.len() == passed { next } else { now.mono })
    }

    /// The lines of `chunk` up to `end` were taken; the rest is read again. `whole` says that all
    /// of its lines were. Returns whether the file has unread data.
    pub fn consumed(&mut self, chunk: &Chunk, end: Mark, whole: bool) -> bool {
        let idx = chunk.slot.0;
        let Some(file) = self.slots[idx].as_mut() else { return false };
        let seen = file.seen();
        assert!(end.offset <= seen, "BUG: {:?} was taken, {seen:?} was seen", end.offset);
        file.read_to(end);
        file.partial = if whole { seen.0 - end.offset.0 } else { 0 };
        let unread = file.has_unseen() || !whole;
        if unread {
            self.enqueue(idx);
        }
        unread
    }

    /// The file had its last look: a line without a newline is its last, then it is closed; one
    /// that has a name is looked at now and then, in case that somebody writes to it all the same.
    pub(super) fn finish(&mut self, idx: usize, now: Now) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        if file.partial != 0 {
            self.enqueue(idx);
        } else if file.is_named {
            self.doze(idx);
        } else {
            self.close(idx, now);
        }
    }

    /// The file is followed no more.
    pub(super) fn close(&mut self, idx: usize, now: Now) {
        let Some(path) = self.slots[idx].as_ref().map(|file| Arc::clone(&file.path)) else {
            return;
        };
        let is_last = self.at_path(&path) == Some(idx);
        let Some(file) = self.slots[idx].take() else { return };
        self.news.push(News::Closed { file: file.key });
        self.open -= usize::from(file.handle.is_some());
        self.busy -= u32::from(file.is_busy);
        if file.is_deleted {
            self.deleted.retain(|other| *other != idx);
        }
        self.look_ats[idx] = Duration::MAX.into();
        self.free.push(idx);
        let device = file.identity.device;
        self.by_inode.remove(idx, Some(file.identity.inode()));
        self.devices.entry(device).and_modify(|count| *count -= 1);
        self.devices.retain(|_, count| *count != 0);
        if self.by_path.get(&path) == Some(&idx) {
            self.by_path.remove(&path);
        }
        if is_last {
            self.expect_successor(&file, now);
        }
        self.ready.retain(|ready| *ready != idx);
        self.leave_stem(&file.stem, idx);
        self.release_copy_of(&file, now);
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
        self.look_ats[idx] = (now.mono + retry_pause(tries)).into();
        let (key, news) = (file.key, failed(&file.path, error));
        self.news.push(news);
        self.news.push(News::SetAside { file: key });
        self.let_next_go(idx);
        None
    }

    pub(super) fn enqueue(&mut self, idx: usize) {
        let Some(file) = self.slots[idx].as_mut() else { return };
        if !file.is_queued {
            file.is_queued = true;
            self.ready.push_back(idx);
        }
    }

    pub(super) fn new_key(&mut self) -> FileKey {
        let key = FileKey(self.next_key);
        self.next_key += self.options.keys.1;
        key
    }
}

pub(super) fn failed(path: &Arc<Path>, error: &io::Error) -> News {
    News::Failed { path: Arc::clone(path), error: error.to_string(), kind: error.kind() }
}

pub(super) fn retry_pause(tries: u32) -> Duration {
    (Duration::from_secs(1) * 2u32.pow(tries.min(5))).min(RETRY_MAX)
}

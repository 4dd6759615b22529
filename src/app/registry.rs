//! What is known of every file: read to where, settled to where, and how to know it again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::json;

use crate::checkpoint::SavedFile;
use crate::ledger::{Ledger, Ticket};
use crate::model::{
    FileKey, FileOffset, Fingerprint, Identity, Mark, Now, OUTPUTS, SourceId, UnixNanos,
};
use crate::parse::Older;
use crate::tail::{News, Resume};
use crate::telemetry::FileState;

/// A file without a name in the globs is remembered for this long, so that it is known again when
/// it comes back under another name or after a restart.
const FORGET_AFTER_NANOS: i64 = 7 * 24 * 3_600_000_000_000;

/// Shared by readers, senders and the checkpoint; locked once or twice a chunk and once a push.
#[derive(Debug)]
pub struct Registry {
    sources: Vec<Arc<str>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Files that are open, or closed and not settled.
    files: HashMap<FileKey, Tracked>,
    /// Files of an earlier run or closed ones, by device and inode.
    saved: HashMap<(u64, u64), SavedFile>,
    /// Parts in older generations, until the stretch that has the end of their lines is settled.
    releases: Vec<(Vec<Older>, FileKey, u64)>,
    /// Something changed since the last snapshot.
    dirty: bool,
}

/// A file among the generations that one container wrote.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The name that all of them share.
    pub stem: Arc<Path>,
    /// For each output, whether the file begins where the one before ended: this run has read it
    /// from its beginning, or an earlier run has held parts from there.
    pub goes_on: [bool; OUTPUTS],
}

#[derive(Debug)]
struct Tracked {
    source: SourceId,
    path: Arc<Path>,
    lineage: Lineage,
    identity: Identity,
    head: Fingerprint,
    size: u64,
    state: FileState,
    closed: bool,
    /// A newer generation of the same inode has taken its place.
    replaced: bool,
    ledger: Ledger,
    /// When the first unsettled stretch was issued.
    unsettled_since: Option<std::time::Duration>,
}

/// How far behind the agent is, all files together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub struct Lag {
    pub following: usize,
    pub rotated: usize,
    pub set_aside: usize,
    pub unread_bytes: u64,
    pub oldest_unsettled: Option<std::time::Duration>,
}

impl Registry {
    /// A registry that knows what an earlier run has saved.
    #[must_use]
    pub fn new(sources: Vec<Arc<str>>, saved: Vec<SavedFile>) -> Self {
        let key = |file: &SavedFile| (file.identity.device, file.identity.inode);
        let saved = saved.into_iter().map(|file| (key(&file), file)).collect();
        Self { sources, inner: Mutex::new(Inner { saved, ..Inner::default() }) }
    }

    /// Where to go on in a file that was found. After a reboot a device may have another number:
    /// then inode and path have to agree, and the hashes decide.
    #[must_use]
    pub fn resume(&self, inode: (u64, u64), path: &Path) -> Option<Resume> {
        let inner = self.inner();
        let by_path = || {
            let same = |file: &&SavedFile| file.identity.inode == inode.1 && *file.path == *path;
            inner.saved.values().find(same)
        };
        let saved = inner.saved.get(&inode).or_else(by_path)?;
        Some(Resume { head: saved.head, mark: saved.mark })
    }

    /// Notes what happened to files.
    pub fn note(&self, news: &[News], now: Now) {
        let mut inner = self.inner();
        inner.dirty |= !news.is_empty();
        for news in news {
            inner.note(news, now, &self.sources);
        }
    }

    /// The last known path of `file`.
    #[must_use]
    pub fn path(&self, file: FileKey) -> Option<Arc<Path>> {
        self.inner().files.get(&file).map(|file| Arc::clone(&file.path))
    }

    /// The number that the next stretch of `file` will have.
    #[must_use]
    pub fn next_seq(&self, file: FileKey) -> u64 {
        self.inner().files.get(&file).map_or(0, |file| file.ledger.next_seq())
    }

    /// A stretch of `file` up to `end` was read, and `tickets` batches hold lines of it.
    pub fn issue(&self, key: FileKey, end: Mark, tickets: u32, now: Now) {
        let mut inner = self.inner();
        inner.dirty = true;
        let Some(file) = inner.files.get_mut(&key) else { return };
        file.ledger.issue(end, tickets);
        file.size = file.size.max(end.offset.0);
        if file.ledger.is_settled() {
            file.unsettled_since = None;
        } else {
            file.unsettled_since.get_or_insert(now.mono);
        }
        inner.let_go(now.wall, &self.sources);
        inner.retire_if_done(key, now.wall, &self.sources);
    }

    /// Everything before this was read of `file`.
    #[must_use]
    pub fn read_to(&self, file: FileKey) -> Mark {
        self.inner().files.get(&file).map_or_else(Mark::default, |file| file.ledger.read_to())
    }

    /// Which generation of what `file` is.
    #[must_use]
    pub fn lineage(&self, file: FileKey) -> Option<Lineage> {
        self.inner().files.get(&file).map(|file| file.lineage.clone())
    }

    /// Lines that began in `older` generations have ended in the stretch `seq` of `file`.
    pub fn release(&self, older: Vec<Older>, file: FileKey, seq: u64, now: Now) {
        let mut inner = self.inner();
        inner.dirty = true;
        inner.releases.push((older, file, seq));
        inner.let_go(now.wall, &self.sources);
    }

    /// Whether `file` is closed, and no file is open that may go on where it ended.
    #[must_use]
    pub fn is_over(&self, file: FileKey) -> bool {
        let inner = self.inner();
        let Some(file) = inner.files.get(&file) else { return true };
        let is_heir = |other: &Tracked| !other.closed && other.lineage.stem == file.lineage.stem;
        file.closed && !inner.files.values().any(is_heir)
    }

    /// The path of `file` if it was read to its end when it was last looked at.
    #[must_use]
    pub fn read_out(&self, file: FileKey) -> Option<Arc<Path>> {
        let inner = self.inner();
        let file = inner.files.get(&file)?;
        (file.size <= file.ledger.read_to().offset.0).then(|| Arc::clone(&file.path))
    }

    /// A batch has its outcome.
    pub fn settle(&self, tickets: &[Ticket], now: Now) {
        let mut inner = self.inner();
        inner.dirty = true;
        for ticket in tickets {
            let Some(file) = inner.files.get_mut(&ticket.file) else { continue };
            if file.ledger.settle(ticket.seq).is_some() {
                file.unsettled_since = (!file.ledger.is_settled()).then_some(now.mono);
            }
            inner.retire_if_done(ticket.file, now.wall, &self.sources);
        }
        inner.let_go(now.wall, &self.sources);
    }

    /// What the checkpoint has to say of files, if it changed since the last call.
    #[must_use]
    pub fn snapshot(&self, now: UnixNanos) -> Option<Vec<SavedFile>> {
        let mut inner = self.inner();
        if !std::mem::take(&mut inner.dirty) {
            return None;
        }
        inner.saved.retain(|_, file| now.0.saturating_sub(file.seen.0) < FORGET_AFTER_NANOS);
        let tracked = inner.files.values().filter(|file| !file.replaced);
        let mut files: Vec<SavedFile> =
            tracked.map(|file| file.to_save(now, &self.sources)).collect();
        let open: std::collections::HashSet<(u64, u64)> =
            files.iter().map(|file| (file.identity.device, file.identity.inode)).collect();
        files.extend(
            inner.saved.iter().filter(|(key, _)| !open.contains(key)).map(|(_, file)| file.clone()),
        );
        Some(files)
    }

    /// The next snapshot is wanted, whatever happened to the last one.
    pub fn set_dirty(&self) {
        self.inner().dirty = true;
    }

    /// How far behind the agent is.
    #[must_use]
    pub fn lag(&self, now: Now) -> Lag {
        let inner = self.inner();
        let mut lag = Lag::default();
        for file in inner.files.values().filter(|file| !file.closed && !file.replaced) {
            match file.state {
                FileState::Following => lag.following += 1,
                FileState::Rotated => lag.rotated += 1,
                FileState::SetAside => lag.set_aside += 1,
            }
            lag.unread_bytes += file.size.saturating_sub(file.ledger.read_to().offset.0);
        }
        let since = inner.files.values().filter_map(|file| file.unsettled_since).min();
        lag.oldest_unsettled = since.map(|since| now.mono.saturating_sub(since));
        lag
    }

    /// Every file as JSON, for `/files`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let inner = self.inner();
        let mut files: Vec<_> = inner.files.iter().collect();
        files.sort_by(|a, b| (&a.1.path, a.0).cmp(&(&b.1.path, b.0)));
        files.into_iter().map(|(_, file)| file.to_json(&self.sources)).collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("BUG: a thread panicked while it held the registry")
    }
}

impl Inner {
    fn note(&mut self, news: &News, now: Now, sources: &[Arc<str>]) {
        match news {
            News::Opened { file, source, path, identity, start, size, .. } => {
                let tracked =
                    Tracked::new(*source, path.as_path().into(), *identity, *size, *start);
                // An entry for the same inode under another device number is this file's.
                self.saved.retain(|_, saved| {
                    saved.identity.inode != identity.inode || *saved.path != **path
                });
                self.saved.remove(&(identity.device, identity.inode));
                self.files.insert(*file, tracked);
            }
            News::Truncated { old, new, unread: _ } => self.replace(*old, *new),
            News::Closed { file } => {
                self.update(*file, |tracked| tracked.closed = true);
                self.retire_if_done(*file, now.wall, sources);
            }
            News::Head { file, head } => self.update(*file, |tracked| tracked.head = *head),
            News::Size { file, size } => self.update(*file, |tracked| tracked.size = *size),
            News::Renamed { file, path } => self.update(*file, |tracked| {
                tracked.path = path.as_path().into();
                tracked.state = FileState::Following;
            }),
            News::Rotated { file } | News::Back { file, gone: true } => {
                self.update(*file, |tracked| tracked.state = FileState::Rotated);
            }
            News::Back { file, gone: false } => {
                self.update(*file, |tracked| tracked.state = FileState::Following);
            }
            News::SetAside { file } => {
                self.update(*file, |tracked| tracked.state = FileState::SetAside);
            }
            News::NoLine { .. }
            | News::NotResumed { .. }
            | News::Failed { .. }
            | News::Refused { .. } => {}
        }
    }

    fn update(&mut self, file: FileKey, change: impl FnOnce(&mut Tracked)) {
        if let Some(tracked) = self.files.get_mut(&file) {
            change(tracked);
        }
    }

    /// The inode has a new generation; the old one's batches still come back.
    fn replace(&mut self, old: FileKey, new: FileKey) {
        let Some(tracked) = self.files.get_mut(&old) else { return };
        (tracked.closed, tracked.replaced) = (true, true);
        let path = Arc::clone(&tracked.path);
        let (source, identity) = (tracked.source, tracked.identity);
        let state = tracked.state;
        let stem = Arc::clone(&tracked.lineage.stem);
        let mut successor = Tracked::new(source, path, identity, 0, Mark::default());
        (successor.state, successor.lineage.stem) = (state, stem);
        let settled = tracked.ledger.is_done();
        self.files.insert(new, successor);
        if settled {
            self.files.remove(&old);
        }
    }

    /// Frees parts in older generations as far as their lines are settled.
    fn let_go(&mut self, now: UnixNanos, sources: &[Arc<str>]) {
        let files = &self.files;
        let is_settled = |(_, file, seq): &mut (_, FileKey, u64)| {
            files.get(file).is_none_or(|file| file.ledger.has_passed(*seq))
        };
        let freed: Vec<_> = self.releases.extract_if(.., is_settled).collect();
        for older in freed.into_iter().flat_map(|(older, ..)| older) {
            self.update(older.file, |file| file.ledger.free(older.out, older.at));
            self.retire_if_done(older.file, now, sources);
        }
    }

    /// Of a file that is closed and done, only its place is remembered.
    fn retire_if_done(&mut self, file: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        if self.files.get(&file).is_some_and(|file| file.closed && file.ledger.is_done()) {
            self.retire(file, now, sources);
        }
    }

    fn retire(&mut self, file: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        let Some(file) = self.files.remove(&file) else { return };
        if !file.replaced {
            let key = (file.identity.device, file.identity.inode);
            self.saved.insert(key, file.to_save(now, sources));
        }
    }
}

impl Tracked {
    fn new(source: SourceId, path: Arc<Path>, identity: Identity, size: u64, start: Mark) -> Self {
        Self {
            source,
            lineage: Lineage {
                stem: Arc::clone(&path),
                goes_on: start.held.map(|held| held.unwrap_or(start.offset) == FileOffset(0)),
            },
            path,
            identity,
            head: Fingerprint::default(),
            size,
            state: FileState::Following,
            closed: false,
            replaced: false,
            ledger: Ledger::new(start),
            unsettled_since: None,
        }
    }

    fn to_save(&self, now: UnixNanos, sources: &[Arc<str>]) -> SavedFile {
        SavedFile {
            path: Arc::clone(&self.path),
            source: Arc::clone(&sources[usize::from(self.source.0)]),
            identity: self.identity,
            head: self.head,
            mark: self.ledger.watermark(),
            seen: now,
            rotated: self.state == FileState::Rotated,
        }
    }

    fn to_json(&self, sources: &[Arc<str>]) -> serde_json::Value {
        let (read, settled) = (self.ledger.read_to().offset.0, self.ledger.watermark().offset.0);
        json!({
            "path": self.path.to_string_lossy(),
            "source": *sources[usize::from(self.source.0)],
            "device": self.identity.device,
            "inode": self.identity.inode,
            "birth": self.identity.birth.map(|birth| birth.to_string()),
            "head": format!("{:016x}/{}", self.head.hash, self.head.len),
            "state": self.state.name(),
            "closed": self.closed,
            "size": self.size,
            "read": read,
            "settled": settled,
            "lag_bytes": self.size.saturating_sub(read),
            "unsettled_bytes": read - settled,
        })
    }
}

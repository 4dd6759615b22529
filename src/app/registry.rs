//! What is known of every file: read to where, settled to where, and how to know it again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::json;

use crate::checkpoint::SavedFile;
use crate::ledger::{Ledger, Ticket};
use crate::model::{FileKey, Fingerprint, Identity, Mark, Now, SourceId, UnixNanos};
use crate::tail::{Kin, News, Resume};
use crate::telemetry::FileState;

/// A file without a name in the globs is remembered for this long, so that it is known again when
/// it comes back under another name or after a restart.
const FORGET_AFTER_NANOS: i64 = 7 * 24 * 3_600_000_000_000;

/// How long a copy of a file that is gone is looked for before its unread bytes count as lost.
const COPY_WITHIN: Duration = Duration::from_secs(10);

/// Most truncated or replaced generations that are remembered of one file, to know their copies.
const FORMER_MAX: usize = 8;

/// Shared by readers, senders and the checkpoint; locked once or twice a chunk and once a push.
#[derive(Debug)]
pub struct Registry {
    sources: Vec<Arc<str>>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Files that are followed, or not settled.
    files: HashMap<FileKey, Tracked>,
    /// Files of an earlier run or closed ones, by device and inode.
    saved: HashMap<(u64, u64), SavedFile>,
    /// Generations whose inode holds something else by now, by stem: a copy may turn up.
    former: HashMap<Arc<Path>, Vec<SavedFile>>,
    /// Files of an earlier run that were not found, with bytes that were not read.
    absent: Vec<Absent>,
    /// Something changed since the last snapshot.
    dirty: bool,
}

#[derive(Debug)]
struct Absent {
    path: Arc<Path>,
    mark: Mark,
    bytes: u64,
    until: Duration,
}

#[derive(Debug)]
struct Tracked {
    source: SourceId,
    path: Arc<Path>,
    stem: Arc<Path>,
    identity: Identity,
    head: Fingerprint,
    size: u64,
    state: FileState,
    /// Only our descriptor keeps it on disk.
    deleted: bool,
    closed: bool,
    /// A newer generation of the same inode has taken its place.
    replaced: bool,
    /// It is a copy of this generation, and was begun where that was read to.
    continues: Option<FileKey>,
    ledger: Ledger,
    /// When the first unsettled stretch was issued.
    unsettled_since: Option<Duration>,
}

/// How far behind the agent is, all files together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub struct Lag {
    pub following: usize,
    pub rotated: usize,
    pub set_aside: usize,
    pub unread_bytes: u64,
    pub deleted_bytes: u64,
    pub oldest_unsettled: Option<Duration>,
}

impl Registry {
    /// A registry that knows what an earlier run has saved.
    #[must_use]
    pub fn new(sources: Vec<Arc<str>>, saved: Vec<SavedFile>) -> Self {
        let mut inner = Inner::default();
        for file in saved {
            if file.former {
                inner.former.entry(Arc::clone(&file.stem)).or_default().push(file);
            } else {
                inner.saved.insert((file.identity.device, file.identity.inode), file);
            }
        }
        Self { sources, inner: Mutex::new(inner) }
    }

    /// The stems of all files that are known.
    #[must_use]
    pub fn stems(&self) -> Vec<Arc<Path>> {
        let inner = self.inner();
        let saved = inner.saved.values().map(|file| Arc::clone(&file.stem));
        saved.chain(inner.former.keys().cloned()).collect()
    }

    /// What a file that was found may be, the likeliest first. After a reboot a device may have
    /// another number: then inode and path have to agree, and the hashes decide. A file that was
    /// rotated may be a copy of a generation that was truncated or is gone; any file may be one
    /// that was moved here from another file system.
    #[must_use]
    pub fn resume(&self, inode: (u64, u64), path: &Path, stem: &Path) -> Vec<Resume> {
        let inner = self.inner();
        let is_it = |file: &&SavedFile| {
            let Identity { device, inode: number, .. } = file.identity;
            number == inode.1 && (device == inode.0 || *file.path == *path)
        };
        let same = |file: &SavedFile| resume(file, Kin::Same { birth: file.identity.birth });
        let saved = inner.saved.get(&inode).or_else(|| inner.saved.values().find(is_it));
        let mut known: Vec<Resume> = saved.map(same).into_iter().collect();
        let former = || inner.former.values().flat_map(|files| files.iter().rev());
        known.extend(former().filter(is_it).map(same));
        if path != stem {
            let replaced = inner.files.iter().filter(|(_, file)| file.replaced);
            known.extend(replaced.filter(|(_, file)| *file.stem == *stem).map(|(key, file)| {
                let (head, mark) = (file.head, file.ledger.read_to());
                Resume { head, mark, kin: Kin::Copy { of: Some(*key) } }
            }));
            let of_stem = inner.former.get(stem).into_iter().flatten().rev();
            known.extend(of_stem.map(|file| resume(file, Kin::Copy { of: None })));
        }
        known.extend(former().map(|file| resume(file, Kin::Moved)));
        known
    }

    /// After the first look: files of an earlier run that are not there, unless a copy of them
    /// turns up.
    pub fn look_for(&self, is_there: impl Fn((u64, u64)) -> bool, now: Now) {
        let mut inner = self.inner();
        let saved: Vec<SavedFile> =
            inner.saved.extract_if(|inode, _| !is_there(*inode)).map(|(_, file)| file).collect();
        for file in saved {
            let bytes = file.size.saturating_sub(file.mark.offset.0);
            if 0 < bytes {
                let (path, mark) = (Arc::clone(&file.path), file.mark);
                inner.absent.push(Absent { path, mark, bytes, until: now.mono + COPY_WITHIN });
            }
            inner.remember(file);
        }
    }

    /// Files of an earlier run whose unread bytes are lost: they are gone, and so is any copy.
    pub fn lost(&self, now: Now) -> Vec<(Arc<Path>, u64)> {
        let mut inner = self.inner();
        let lost = inner.absent.extract_if(.., |absent| absent.until <= now.mono);
        lost.map(|absent| (absent.path, absent.bytes)).collect()
    }

    /// A file has no name any more. What is known of it may be needed for a copy of it.
    pub fn unnamed(&self, inode: (u64, u64)) {
        let mut inner = self.inner();
        if let Some(file) = inner.saved.remove(&inode) {
            inner.dirty = true;
            inner.remember(file);
        }
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
    pub fn issue(&self, file: FileKey, end: Mark, tickets: u32, now: Now) {
        let mut inner = self.inner();
        inner.dirty = true;
        let Some(file) = inner.files.get_mut(&file) else { return };
        file.ledger.issue(end, tickets);
        file.size = file.size.max(end.offset.0);
        if file.ledger.is_settled() {
            file.unsettled_since = None;
        } else {
            file.unsettled_since.get_or_insert(now.mono);
        }
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
            if (file.closed || file.replaced) && file.ledger.is_settled() {
                inner.retire(ticket.file, now.wall, &self.sources);
            }
        }
    }

    /// What the checkpoint has to say of files, if it changed since the last call.
    #[must_use]
    pub fn snapshot(&self, now: UnixNanos) -> Option<Vec<SavedFile>> {
        let mut inner = self.inner();
        if !std::mem::take(&mut inner.dirty) {
            return None;
        }
        let is_young = |file: &SavedFile| now.0.saturating_sub(file.seen.0) < FORGET_AFTER_NANOS;
        inner.saved.retain(|_, file| is_young(file));
        inner.former.retain(|_, files| {
            files.retain(is_young);
            !files.is_empty()
        });
        let mut files: Vec<SavedFile> =
            inner.files.values().map(|file| inner.to_save(file, now, &self.sources)).collect();
        let current = files.iter().filter(|file| !file.former);
        let open: std::collections::HashSet<(u64, u64)> =
            current.map(|file| (file.identity.device, file.identity.inode)).collect();
        files.extend(
            inner.saved.iter().filter(|(key, _)| !open.contains(key)).map(|(_, file)| file.clone()),
        );
        files.extend(inner.former.values().flatten().cloned());
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
            lag.deleted_bytes += if file.deleted { file.size } else { 0 };
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
            News::Opened { file, source, path, stem, identity, start, size, kin, .. } => {
                let (path, stem) = (Arc::clone(path), Arc::clone(stem));
                let mut tracked = Tracked::new(*source, path, stem, *identity, *size, *start);
                self.make_way_for(&tracked, *kin, *start);
                if let Some(Kin::Copy { of }) = kin {
                    tracked.continues = *of;
                }
                self.files.insert(*file, tracked);
            }
            News::Truncated { old, new } => self.replace(*old, *new, now.wall, sources),
            News::Deleted { file } => self.update(*file, |tracked| tracked.deleted = true),
            News::Closed { file } => {
                let Some(tracked) = self.files.get_mut(file) else { return };
                tracked.closed = true;
                if tracked.ledger.is_settled() {
                    self.retire(*file, now.wall, sources);
                }
            }
            News::Head { file, head } => self.update(*file, |tracked| tracked.head = *head),
            News::Size { file, size } => self.update(*file, |tracked| tracked.size = *size),
            News::Renamed { file, path } => {
                self.update(*file, |tracked| tracked.path = Arc::clone(path));
            }
            News::Unrotated { file } => {
                self.update(*file, |tracked| tracked.state = FileState::Following);
            }
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
            | News::Lost { .. }
            | News::GivenUp { .. }
            | News::Skipped { .. }
            | News::Failed { .. }
            | News::Refused { .. } => {}
        }
    }

    fn update(&mut self, file: FileKey, change: impl FnOnce(&mut Tracked)) {
        if let Some(tracked) = self.files.get_mut(&file) {
            change(tracked);
        }
    }

    /// A file was opened: what was saved under its inode is either this file, or was.
    fn make_way_for(&mut self, file: &Tracked, kin: Option<Kin>, start: Mark) {
        let is_it = |mark: Mark| (mark.offset, mark.tail) == (start.offset, start.tail);
        if kin.is_some() {
            self.absent.retain(|absent| !is_it(absent.mark));
        }
        if let Some(Kin::Copy { of: None } | Kin::Moved) = kin {
            self.former.values_mut().for_each(|files| files.retain(|file| !is_it(file.mark)));
        }
        let inode = (file.identity.device, file.identity.inode);
        // An entry for the same inode under another device number is this file's.
        let is_same = |saved: &SavedFile| {
            saved.identity.inode == inode.1
                && (saved.identity.device == inode.0 || *saved.path == *file.path)
        };
        let saved: Vec<SavedFile> =
            self.saved.extract_if(|_, saved| is_same(saved)).map(|(_, saved)| saved).collect();
        if !matches!(kin, Some(Kin::Same { .. })) {
            saved.into_iter().for_each(|saved| self.remember(saved));
        }
    }

    /// Remembers a generation that is not in its inode any more.
    fn remember(&mut self, file: SavedFile) {
        let former = self.former.entry(Arc::clone(&file.stem)).or_default();
        former.push(SavedFile { former: true, ..file });
        if FORMER_MAX < former.len() {
            former.remove(0);
        }
    }

    /// The inode has a new generation; the old one's batches still come back.
    fn replace(&mut self, old: FileKey, new: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        let Some(tracked) = self.files.get_mut(&old) else { return };
        (tracked.closed, tracked.replaced) = (true, true);
        let (path, stem) = (Arc::clone(&tracked.path), Arc::clone(&tracked.stem));
        let (source, identity) = (tracked.source, tracked.identity);
        let state = tracked.state;
        let start = Mark::default();
        let successor = Tracked { state, ..Tracked::new(source, path, stem, identity, 0, start) };
        let settled = tracked.ledger.is_settled();
        self.files.insert(new, successor);
        if settled {
            self.retire(old, now, sources);
        }
    }

    /// A closed or replaced file is settled: only its place is remembered.
    fn retire(&mut self, file: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        let Some(file) = self.files.remove(&file) else { return };
        let saved = self.to_save(&file, now, sources);
        if file.replaced || file.deleted {
            self.remember(saved);
        } else {
            self.saved.insert((file.identity.device, file.identity.inode), saved);
        }
    }

    fn to_save(&self, file: &Tracked, now: UnixNanos, sources: &[Arc<str>]) -> SavedFile {
        // Of a copy nothing is settled as long as something before its start is not.
        let original = file.continues.and_then(|of| self.files.get(&of));
        let mark = original.map_or(&file.ledger, |original| &original.ledger).watermark();
        SavedFile {
            path: Arc::clone(&file.path),
            stem: Arc::clone(&file.stem),
            source: Arc::clone(&sources[usize::from(file.source.0)]),
            identity: file.identity,
            head: file.head,
            mark,
            size: file.size,
            seen: now,
            rotated: file.state == FileState::Rotated,
            former: file.replaced,
        }
    }
}

impl Tracked {
    fn new(
        source: SourceId,
        path: Arc<Path>,
        stem: Arc<Path>,
        identity: Identity,
        size: u64,
        start: Mark,
    ) -> Self {
        Self {
            source,
            path,
            stem,
            identity,
            head: Fingerprint::default(),
            size,
            state: FileState::Following,
            deleted: false,
            closed: false,
            replaced: false,
            continues: None,
            ledger: Ledger::new(start),
            unsettled_since: None,
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

fn resume(file: &SavedFile, kin: Kin) -> Resume {
    Resume { head: file.head, mark: file.mark, kin }
}

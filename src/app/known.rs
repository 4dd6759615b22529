//! What is known of every file, without a lock: open ones, closed ones, and those that were there
//! before.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use serde_json::json;

use super::behind::{Lag, Unread};
use crate::checkpoint::SavedFile;
use crate::ledger::Ledger;
use crate::model::{
    FileKey, FileOffset, Fingerprint, Identity, Mark, Moment, Now, OUTPUTS, SourceId, UnixNanos,
};
use crate::parse::Older;
use crate::tail::{Kin, News, Resume};
use crate::telemetry::FileState;

/// Most truncated or replaced generations that are remembered of one file, to know their copies.
const FORMER_MAX: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Inner {
    /// Files that are followed, or not settled. Shared with a snapshot until it is saved: what
    /// changes meanwhile is copied first.
    pub(super) files: BTreeMap<FileKey, Arc<Tracked>>,
    /// Files of an earlier run or closed ones, by device and inode.
    pub(super) saved: HashMap<(u64, u64), SavedFile>,
    /// Parts in older generations, until the stretch that has the end of their lines is settled.
    pub(super) releases: Vec<(Vec<Older>, FileKey, u64)>,
    /// Generations whose inode holds something else by now, by stem: a copy may turn up.
    pub(super) former: HashMap<Arc<Path>, Vec<SavedFile>>,
    /// Files of an earlier run that were not found, with bytes that were not read.
    pub(super) absent: Vec<Absent>,
    /// Something changed since the last snapshot.
    pub(super) dirty: bool,
    /// `None` since something changed.
    pub(super) totals: Option<Totals>,
}

/// What is asked each second of all files together.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    /// All but the age of the oldest stretch.
    pub(super) lag: Lag,
    /// When the oldest stretch was issued that is not settled.
    pub(super) oldest: Option<Duration>,
    /// The files that have unread bytes.
    pub(super) unread: Vec<FileKey>,
}

/// A file among the generations that one container wrote.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// The name that all of them share.
    pub stem: Arc<Path>,
    /// For each output, whether the file begins where the one before ended: this run has read it
    /// from its beginning, or an earlier run has held parts from there.
    pub goes_on: [bool; OUTPUTS],
    /// It is a copy of this generation of this run, and goes on at the offset that was read to.
    pub continues: Option<FileKey>,
}

#[derive(Debug)]
pub(super) struct Absent {
    pub(super) path: Arc<Path>,
    pub(super) mark: Mark,
    pub(super) bytes: u64,
    pub(super) until: Duration,
}

#[derive(Debug, Clone)]
pub(super) struct Tracked {
    pub(super) source: SourceId,
    pub(super) path: Arc<Path>,
    pub(super) stem: Arc<Path>,
    /// As in [`Lineage`].
    pub(super) goes_on: [bool; OUTPUTS],
    pub(super) identity: Identity,
    pub(super) head: Fingerprint,
    pub(super) size: u64,
    pub(super) state: FileState,
    /// Only our descriptor keeps it on disk.
    pub(super) deleted: bool,
    pub(super) closed: bool,
    /// What is unread was looked at: it is no whole line.
    pub(super) has_no_line: bool,
    /// When it was found.
    pub(super) found_at: Moment,
    /// A newer generation of the same inode has taken its place.
    pub(super) replaced: bool,
    /// It is a copy of this generation, and was begun where that was read to. Few are.
    pub(super) continues: Option<Box<FileKey>>,
    pub(super) ledger: Ledger,
}

impl Inner {
    /// Something changes.
    pub(super) fn set_dirty(&mut self) {
        (self.dirty, self.totals) = (true, None);
    }

    /// Counts all files if something has changed.
    pub(super) fn totals(&mut self) -> &Totals {
        let files = &self.files;
        self.totals.get_or_insert_with(|| {
            let mut totals = Totals::default();
            for (key, file) in files {
                totals.add(*key, file);
            }
            totals
        })
    }

    pub(super) fn note(&mut self, news: &News, now: Now, sources: &[Arc<str>]) {
        match news {
            News::Opened { file, source, path, stem, identity, start, size, kin, .. } => {
                let (path, stem) = (Arc::clone(path), Arc::clone(stem));
                let mut tracked = Tracked::new(*source, path, stem, *identity, *size, *start);
                tracked.found_at = now.mono.into();
                self.make_way_for(&tracked, *kin, *start);
                if let Some(Kin::Copy { of }) = kin {
                    tracked.continues = of.map(Box::new);
                }
                self.files.insert(*file, Arc::new(tracked));
            }
            News::Truncated { old, new } => self.replace(*old, *new, now.wall, sources),
            News::Deleted { file } => self.update(*file, |tracked| tracked.deleted = true),
            News::Closed { file } => {
                self.update(*file, |tracked| tracked.closed = true);
                self.retire_if_done(*file, now.wall, sources);
            }
            News::Head { file, head } => self.update(*file, |tracked| tracked.head = *head),
            News::Size { file, size } => self.update(*file, |tracked| {
                (tracked.size, tracked.has_no_line) = (*size, false);
            }),
            News::NoLine { file } => self.update(*file, |tracked| tracked.has_no_line = true),
            News::Renamed { file, path } => {
                self.update(*file, |tracked| tracked.path = Arc::clone(path));
            }
            News::Rotated { file } | News::Back { file, gone: true } => {
                self.update(*file, |tracked| tracked.state = FileState::Rotated);
            }
            News::Unrotated { file } | News::Back { file, gone: false } => {
                self.update(*file, |tracked| tracked.state = FileState::Following);
            }
            News::SetAside { file } => {
                self.update(*file, |tracked| tracked.state = FileState::SetAside);
            }
            News::NotResumed { .. }
            | News::Lost { .. }
            | News::GivenUp { .. }
            | News::Skipped { .. }
            | News::Failed { .. }
            | News::Refused { .. } => {}
        }
    }

    pub(super) fn file_mut(&mut self, file: FileKey) -> Option<&mut Tracked> {
        self.files.get_mut(&file).map(Arc::make_mut)
    }

    pub(super) fn update(&mut self, file: FileKey, change: impl FnOnce(&mut Tracked)) {
        if let Some(tracked) = self.file_mut(file) {
            change(tracked);
        }
    }

    /// Frees parts in older generations as far as their lines are settled.
    pub(super) fn let_go(&mut self, now: UnixNanos, sources: &[Arc<str>]) {
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

    /// A file was opened: what was saved under its inode is either this file, or was.
    pub(super) fn make_way_for(&mut self, file: &Tracked, kin: Option<Kin>, start: Mark) {
        let is_it = |mark: Mark| (mark.offset, mark.tail) == (start.offset, start.tail);
        if kin.is_some() {
            self.absent.retain(|absent| !is_it(absent.mark));
        }
        if let Some(Kin::Copy { .. } | Kin::Moved) = kin {
            self.former.values_mut().for_each(|files| files.retain(|file| !is_it(file.mark)));
        }
        let inode = file.identity.inode();
        let same = self.saved.extract_if(|_, saved| may_be(saved, inode, &file.path));
        let saved: Vec<SavedFile> = same.map(|(_, saved)| saved).collect();
        if !matches!(kin, Some(Kin::Same { .. })) {
            saved.into_iter().for_each(|saved| self.remember(saved));
        }
    }

    /// Remembers a generation that is not in its inode any more.
    pub(super) fn remember(&mut self, file: SavedFile) {
        let former = self.former.entry(Arc::clone(&file.stem)).or_default();
        former.push(SavedFile { former: true, ..file });
        if FORMER_MAX < former.len() {
            former.remove(0);
        }
    }

    /// The inode has a new generation; the old one's batches still come back.
    pub(super) fn replace(
        &mut self,
        old: FileKey,
        new: FileKey,
        now: UnixNanos,
        sources: &[Arc<str>],
    ) {
        let Some(tracked) = self.file_mut(old) else { return };
        (tracked.closed, tracked.replaced) = (true, true);
        let (path, stem) = (Arc::clone(&tracked.path), Arc::clone(&tracked.stem));
        let (source, identity) = (tracked.source, tracked.identity);
        let state = tracked.state;
        let start = Mark::default();
        let successor = Tracked { state, ..Tracked::new(source, path, stem, identity, 0, start) };
        self.files.insert(new, Arc::new(successor));
        self.retire_if_done(old, now, sources);
    }

    /// Of a closed or replaced file that is done, only its place is remembered.
    pub(super) fn retire_if_done(&mut self, file: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        if self.files.get(&file).is_some_and(|file| file.closed && file.ledger.is_done()) {
            self.retire(file, now, sources);
        }
    }

    pub(super) fn retire(&mut self, key: FileKey, now: UnixNanos, sources: &[Arc<str>]) {
        let Some(file) = self.files.remove(&key) else { return };
        let saved = file.to_save(self.original(&file), now, sources);
        // Of a generation whose copy was found, that copy is the memory.
        let is_continued = |others: &BTreeMap<FileKey, Arc<Tracked>>| {
            others.values().any(|other| other.continues.as_deref() == Some(&key))
        };
        if !(file.replaced || file.deleted) {
            self.saved.insert(file.identity.inode(), saved);
        } else if !is_continued(&self.files) {
            self.remember(saved);
        }
    }

    /// The generation that a copy goes on with, as long as it is known.
    pub(super) fn original(&self, file: &Tracked) -> Option<&Arc<Tracked>> {
        self.files.get(file.continues.as_deref()?)
    }
}

/// A file as it was when a snapshot was taken.
#[derive(Debug)]
pub(super) enum Taken {
    /// One that is followed or not settled, and what it is a copy of.
    Tracked(Arc<Tracked>, Option<Arc<Tracked>>),
    /// One of which only the place is remembered.
    Saved(Box<SavedFile>),
}

impl Taken {
    pub(super) fn into_saved(self, now: UnixNanos, sources: &[Arc<str>]) -> SavedFile {
        match self {
            Self::Tracked(file, original) => file.to_save(original.as_ref(), now, sources),
            Self::Saved(file) => *file,
        }
    }
}

impl Totals {
    fn add(&mut self, key: FileKey, file: &Tracked) {
        self.oldest = self.oldest.into_iter().chain(file.ledger.oldest()).min();
        if file.closed || file.replaced {
            return;
        }
        match file.state {
            FileState::Following => self.lag.following += 1,
            FileState::Rotated => self.lag.rotated += 1,
            FileState::SetAside => self.lag.set_aside += 1,
        }
        let unread = file.unread();
        self.lag.unread_bytes += unread;
        self.lag.deleted_bytes += if file.deleted { file.size } else { 0 };
        if unread != 0 {
            self.unread.push(key);
        }
    }
}

impl Tracked {
    pub(super) fn new(
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
            goes_on: start.held.offsets().map(|held| held.unwrap_or(start.offset) == FileOffset(0)),
            identity,
            head: Fingerprint::default(),
            size,
            state: FileState::Following,
            deleted: false,
            closed: false,
            has_no_line: false,
            found_at: Moment::default(),
            replaced: false,
            continues: None,
            ledger: Ledger::new(start),
        }
    }

    pub(super) fn to_save(
        &self,
        original: Option<&Arc<Self>>,
        now: UnixNanos,
        sources: &[Arc<str>],
    ) -> SavedFile {
        // Of a copy nothing is settled as long as something before its start is not.
        let mark = original.map_or(&self.ledger, |original| &original.ledger).watermark();
        SavedFile {
            path: Arc::clone(&self.path),
            stem: Arc::clone(&self.stem),
            source: Arc::clone(&sources[usize::from(self.source.0)]),
            identity: self.identity,
            head: self.head,
            mark,
            size: self.size,
            seen: now,
            rotated: self.state == FileState::Rotated,
            former: self.replaced,
        }
    }

    pub(super) fn unread(&self) -> u64 {
        self.size.saturating_sub(self.ledger.read_to().offset.0)
    }

    pub(super) fn to_unread(&self, now: Now) -> Unread {
        Unread {
            source: self.source,
            inode: self.identity.inode(),
            stem: Arc::clone(&self.stem),
            bytes: self.unread(),
            age: (!self.has_no_line).then(|| match self.ledger.read_to().stamp.last_raw.get() {
                Some(time) => now.wall.since(time),
                None => now.mono.saturating_sub(self.found_at.mono()),
            }),
            is_deleted: self.deleted,
        }
    }

    pub(super) fn to_json(&self, sources: &[Arc<str>]) -> serde_json::Value {
        // What is held is not settled, though all behind it may be.
        let (read, settled) =
            (self.ledger.read_to().offset.0, self.ledger.watermark().read_from().0);
        json!({
            "path": self.path.to_string_lossy(),
            "source": *sources[usize::from(self.source.0)],
            "device": self.identity.device,
            "inode": self.identity.inode,
            "birth": self.identity.birth.get().map(|birth| birth.to_string()),
            "head": format!("{:016x}/{}", self.head.hash, self.head.len),
            "state": self.state.name(),
            "closed": self.closed,
            "size": self.size,
            "read": read,
            "settled": settled,
            "lag_bytes": self.unread(),
            "unsettled_bytes": read - settled,
        })
    }
}

/// Whether what was saved is of the file that has this number and name. After a reboot a device may
/// have another number: then inode and path have to agree.
pub(super) fn may_be(saved: &SavedFile, (device, inode): (u64, u64), path: &Path) -> bool {
    saved.identity.inode == inode && (saved.identity.device == device || *saved.path == *path)
}

pub(super) fn resume(file: &SavedFile, kin: Kin) -> Resume {
    Resume { head: file.head, mark: file.mark, kin }
}

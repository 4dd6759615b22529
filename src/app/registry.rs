//! What is known of every file: read to where, settled to where, and how to know it again.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};

use super::behind::{Lag, Unread};
use super::known::{Absent, Inner, Lineage, Taken, Tracked, may_be, resume};
use crate::checkpoint::SavedFile;
use crate::ledger::Ticket;
use crate::model::{FileKey, Mark, Now, SourceId, UnixNanos, is_compressed};
use crate::parse::Older;
use crate::tail::{COPY_WITHIN, Kin, News, Resume};

/// A file without a name in the globs is remembered for this long, so that it is known again when
/// it comes back under another name or after a restart.
pub(super) const FORGET_AFTER: Duration = Duration::from_hours(7 * 24);

const POISONED: &str = "BUG: a thread panicked while it held the registry";

/// Shared by readers, senders and the checkpoint; locked once or twice a chunk and once a push.
#[derive(Debug)]
pub struct Registry {
    /// Their names, by number.
    sources: Mutex<Arc<[Arc<str>]>>,
    inner: Mutex<Inner>,
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
                inner.saved.insert(file.identity.inode(), file);
            }
        }
        Self { sources: Mutex::new(sources.into()), inner: Mutex::new(inner) }
    }

    /// There are these sources now; those of before have their names and places still.
    pub(super) fn set_sources(&self, names: Vec<Arc<str>>) {
        *self.sources.lock().expect(POISONED) = names.into();
    }

    /// What is unread of a file that is not followed at the moment, in bytes.
    pub(super) fn unread_of(&self, inode: (u64, u64)) -> u64 {
        let inner = self.inner();
        let saved = inner.saved.get(&inode);
        let saved = saved.map(|file| file.size.saturating_sub(file.mark.offset.0));
        let tracked = inner.files.values().find(|file| file.identity.inode() == inode);
        saved.or_else(|| tracked.map(|file| file.unread())).unwrap_or_default()
    }

    /// The files that are followed or not settled, each with its source.
    pub(super) fn tracked(&self) -> HashMap<(u64, u64), SourceId> {
        let inner = self.inner();
        inner.files.values().map(|file| (file.identity.inode(), file.source)).collect()
    }

    /// The stems of all files that are known.
    #[must_use]
    pub fn stems(&self) -> Vec<Arc<Path>> {
        let inner = self.inner();
        let saved = inner.saved.values().map(|file| Arc::clone(&file.stem));
        saved.chain(inner.former.keys().cloned()).collect()
    }

    /// What a file that was found may be, the likeliest first; the hashes decide. A file that was
    /// rotated may be a copy of a generation that was truncated or is gone; any file may be one
    /// that was moved here from another file system.
    #[must_use]
    pub fn resume(&self, inode: (u64, u64), path: &Path, stem: &Path) -> Vec<Resume> {
        let inner = self.inner();
        let is_it = |file: &&SavedFile| may_be(file, inode, path);
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
        if is_compressed(path) {
            // What it was compressed from is gone, but its number may be another file's by now.
            let others = inner.saved.values().filter(|file| *file.stem == *stem && !is_it(file));
            known.extend(others.map(|file| resume(file, Kin::Copy { of: None })));
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
            inner.set_dirty();
            inner.remember(file);
        }
    }

    /// Notes what happened to files.
    pub fn note(&self, news: &[News], now: Now) {
        let mut inner = self.inner();
        if !news.is_empty() {
            inner.set_dirty();
        }
        let sources = self.names();
        for news in news {
            inner.note(news, now, &sources);
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
        inner.set_dirty();
        let Some(file) = inner.file_mut(key) else { return };
        file.ledger.issue(end, tickets, now.mono);
        file.size = file.size.max(end.offset.0);
        file.has_no_line = false;
        inner.let_go(now.wall, &self.names());
        inner.retire_if_done(key, now.wall, &self.names());
    }

    /// What is unread of `file` is no whole line.
    pub fn has_no_line(&self, file: FileKey) {
        self.inner().update(file, |tracked| tracked.has_no_line = true);
    }

    /// Everything before this was read of `file`.
    #[must_use]
    pub fn read_to(&self, file: FileKey) -> Mark {
        self.inner().files.get(&file).map_or_else(Mark::default, |file| file.ledger.read_to())
    }

    /// Which generation of what `file` is.
    #[must_use]
    pub fn lineage(&self, file: FileKey) -> Option<Lineage> {
        let inner = self.inner();
        let file = inner.files.get(&file)?;
        let (stem, continues) = (Arc::clone(&file.stem), file.continues.as_deref().copied());
        Some(Lineage { stem, goes_on: file.goes_on, continues })
    }

    /// Lines that began in `older` generations have ended in the stretch `seq` of `file`.
    pub fn release(&self, older: Vec<Older>, file: FileKey, seq: u64, now: Now) {
        let mut inner = self.inner();
        inner.set_dirty();
        inner.releases.push((older, file, seq));
        inner.let_go(now.wall, &self.names());
    }

    /// Whether `file` is closed, and no file is open that may go on where it ended.
    #[must_use]
    pub fn is_over(&self, file: FileKey) -> bool {
        let inner = self.inner();
        let Some(file) = inner.files.get(&file) else { return true };
        let is_heir = |other: &Tracked| !other.closed && other.stem == file.stem;
        file.closed && !inner.files.values().any(|other| is_heir(other))
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
        inner.set_dirty();
        for ticket in tickets {
            let Some(file) = inner.file_mut(ticket.file) else { continue };
            file.ledger.settle(ticket.seq);
            inner.retire_if_done(ticket.file, now.wall, &self.names());
        }
        inner.let_go(now.wall, &self.names());
    }

    /// What the checkpoint has to say of files, if it changed since the last call: all of them as
    /// they are now, whatever changes until it is written.
    #[must_use]
    pub fn snapshot(
        &self,
        now: UnixNanos,
    ) -> Option<impl ExactSizeIterator<Item = SavedFile> + use<>> {
        let mut inner = self.inner();
        if !std::mem::take(&mut inner.dirty) {
            return None;
        }
        let is_young = |file: &SavedFile| now.since(file.seen) < FORGET_AFTER;
        inner.saved.retain(|_, file| is_young(file));
        inner.former.retain(|_, files| {
            files.retain(is_young);
            !files.is_empty()
        });
        let take = |file| Taken::Tracked(Arc::clone(file), inner.original(file).cloned());
        let mut files: Vec<Taken> = inner.files.values().map(take).collect();
        let keep = |file: &SavedFile| Taken::Saved(Box::new(file.clone()));
        if !inner.saved.is_empty() {
            let current = inner.files.values().filter(|file| !file.replaced);
            let open: HashSet<(u64, u64)> = current.map(|file| file.identity.inode()).collect();
            let others = inner.saved.iter().filter(|(inode, _)| !open.contains(*inode));
            files.extend(others.map(|(_, file)| keep(file)));
        }
        files.extend(inner.former.values().flatten().map(keep));
        let sources = self.names();
        Some(files.into_iter().map(move |file| file.into_saved(now, &sources)))
    }

    /// The next snapshot is wanted, whatever happened to the last one.
    pub fn set_dirty(&self) {
        self.inner().set_dirty();
    }

    /// How far behind the agent is.
    #[must_use]
    pub fn lag(&self, now: Now) -> Lag {
        let mut inner = self.inner();
        let totals = inner.totals();
        let oldest_unsettled = totals.oldest.map(|since| now.mono.saturating_sub(since));
        Lag { oldest_unsettled, ..totals.lag }
    }

    /// Shows each file that has unread bytes.
    pub fn each_unread(&self, now: Now, mut show: impl FnMut(Unread)) {
        let mut inner = self.inner();
        inner.totals();
        let Inner { files, totals, .. } = &*inner;
        let unread = totals.iter().flat_map(|totals| &totals.unread);
        unread.filter_map(|key| files.get(key)).for_each(|file| show(file.to_unread(now)));
    }

    /// Every file as JSON, for `/files`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let inner = self.inner();
        let (mut files, sources): (Vec<_>, _) = (inner.files.iter().collect(), self.names());
        files.sort_by(|a, b| (&a.1.path, a.0).cmp(&(&b.1.path, b.0)));
        files.into_iter().map(|(_, file)| file.to_json(&sources)).collect()
    }

    fn names(&self) -> Arc<[Arc<str>]> {
        Arc::clone(&self.sources.lock().expect(POISONED))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect(POISONED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileOffset, Identity, MaybeNanos, SourceId};

    #[test]
    fn a_snapshot_is_of_one_moment() {
        let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: UnixNanos(0) };
        let mark = |offset| Mark { offset: FileOffset(offset), ..Mark::default() };
        let registry = Registry::new(vec!["t".into()], Vec::new());
        let (file, path): (_, Arc<Path>) = (FileKey(1), Path::new("log").into());
        let opened = News::Opened {
            file,
            source: SourceId(0),
            stem: Arc::clone(&path),
            path,
            identity: Identity { device: 1, inode: 1, birth: MaybeNanos::NONE },
            start: mark(0),
            size: 100,
            kin: None,
            waits: false,
        };
        registry.note(&[opened], at(0));
        registry.issue(file, mark(10), 1, at(0));
        let before = registry.snapshot(UnixNanos(0)).expect("a file was opened");
        registry.settle(&[Ticket { file, seq: 0 }], at(1));
        let after = registry.snapshot(UnixNanos(0)).expect("a stretch was settled");
        registry.note(&[News::Closed { file }], at(1));
        let marks = |files: Vec<SavedFile>| files.iter().map(|file| file.mark).collect::<Vec<_>>();
        assert_eq!(marks(before.collect()), [mark(0)], "settled after it was taken");
        assert_eq!(marks(after.collect()), [mark(10)]);
        assert!(registry.snapshot(UnixNanos(0)).is_some_and(|files| files.len() == 1));
    }
}

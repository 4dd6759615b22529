//! How far behind each source is, and how long what it has not read stays on disk.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::common::Common;
use crate::discover::{Changes, Found, Node, Renamed};
use crate::model::{Now, SourceId, is_compressed};
use crate::telemetry::Throttle;

/// How often a source's danger is spoken of.
const WARN_EVERY: Duration = Duration::from_secs(600);

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

/// What is unread of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// Its source.
    pub source: SourceId,
    /// Its device and inode.
    pub inode: (u64, u64),
    /// The name that its generations share.
    pub stem: Arc<Path>,
    /// How much, a line without its end included.
    pub bytes: u64,
    /// The age of the last line that was read, or the time since it was found; `None` when there
    /// is no whole line to read.
    pub age: Option<Duration>,
    /// Only our descriptor keeps it on disk.
    pub is_deleted: bool,
}

/// What one source has not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Behind {
    bytes: u64,
    /// Of the file that is furthest behind.
    age: Duration,
    /// Of the file that goes first; `None` when nobody knows.
    kept: Option<Kept>,
}

impl Behind {
    fn add(&mut self, file: &Unread, kept: Option<Kept>) {
        self.bytes += file.bytes;
        let Some(age) = file.age else { return };
        self.age = self.age.max(age);
        let kept = kept.or_else(|| file.is_deleted.then(Kept::default));
        self.kept = self.kept.into_iter().chain(kept).min();
    }
}

/// How long a file is kept by rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Kept {
    /// From now until it is deleted; 0 when it is deleted already and only held open.
    left: Duration,
    /// From its rotation until it is deleted.
    in_all: Duration,
}

impl Kept {
    /// Whether most of the time has gone by.
    fn is_urgent(self) -> bool {
        self.left <= self.in_all / 4
    }
}

/// Learns how long rotation keeps files: from one that it has seen rotated and deleted, else from
/// the time between two rotations and how many files are kept.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// By the name that generations share. Each has a rotated file.
    stems: HashMap<Arc<Path>, Stem>,
    /// The stems of rotated files.
    by_node: HashMap<Node, Arc<Path>>,
    /// Files that were rotated before the first look have an unknown age.
    has_looked: bool,
}

#[derive(Debug, Default)]
struct Stem {
    files: Vec<Rotated>,
    rotated_at: Option<Duration>,
    /// Between the last two rotations.
    interval: Option<Duration>,
    /// From rotation to deletion.
    kept: Option<Duration>,
}

#[derive(Debug)]
struct Rotated {
    node: Node,
    path: Arc<Path>,
    /// When, if that was seen.
    at: Option<Duration>,
}

impl Retention {
    /// Takes in what a look at the folders has found.
    pub(super) fn learn(&mut self, changes: &Changes, now: Now) {
        for Found { node, path, stem, .. } in &changes.appeared {
            if path != stem {
                self.rotated(*node, path, stem, now);
            }
        }
        for Renamed { node, path, stem } in &changes.renamed {
            let known = self.by_node.get(node).and_then(|stem| self.stems.get_mut(stem));
            match known.and_then(|stem| stem.files.iter_mut().find(|file| file.node == *node)) {
                Some(file) if path != stem => file.path = Arc::clone(path),
                // Under its old name again.
                Some(_) => drop(self.take(*node)),
                None if path != stem => self.rotated(*node, path, stem, now),
                None => {}
            }
        }
        for node in &changes.gone {
            self.gone(*node, now);
        }
        // They say nothing of how long files are kept.
        for node in &changes.left {
            drop(self.take(*node));
        }
        self.has_looked = true;
    }

    fn rotated(&mut self, node: Node, path: &Arc<Path>, name: &Arc<Path>, now: Now) {
        let stem = self.stems.entry(Arc::clone(name)).or_default();
        let unpacked = unpacked(path);
        let original = stem.files.iter().find(|file| Some(&*file.path) == unpacked.as_deref());
        let at = match original {
            Some(original) => original.at,
            None if !self.has_looked => None,
            None => {
                let before = stem.rotated_at.replace(now.mono);
                stem.interval = before.map(|at| now.mono.saturating_sub(at)).or(stem.interval);
                Some(now.mono)
            }
        };
        stem.files.push(Rotated { node, path: Arc::clone(path), at });
        self.by_node.insert(node, Arc::clone(name));
    }

    fn gone(&mut self, node: Node, now: Now) {
        let Some((name, file)) = self.take(node) else { return };
        let Some(stem) = self.stems.get_mut(&name) else { return };
        if stem.files.iter().any(|other| unpacked(&other.path).as_deref() == Some(&*file.path)) {
            return;
        }
        let seen = file.at.map(|at| now.mono.saturating_sub(at));
        let generations = u32::try_from(stem.files.len()).unwrap_or(u32::MAX);
        let told = stem.interval.map(|interval| interval.saturating_mul(generations));
        stem.kept = seen.or(told).or(stem.kept);
    }

    /// Forgets a rotated file, and its stem with the last one.
    fn take(&mut self, node: Node) -> Option<(Arc<Path>, Rotated)> {
        let name = self.by_node.remove(&node)?;
        let stem = self.stems.get_mut(&name)?;
        let at = stem.files.iter().position(|file| file.node == node)?;
        let file = stem.files.swap_remove(at);
        if stem.files.is_empty() {
            self.stems.remove(&name);
        }
        Some((name, file))
    }

    /// How long the file will stay that is a generation of `stem`.
    fn kept(&self, (device, inode): (u64, u64), stem: &Path, now: Now) -> Option<Kept> {
        let stem = self.stems.get(stem)?;
        let in_all = stem.kept?;
        let node = Node { device, inode };
        let age = match stem.files.iter().find(|file| file.node == node) {
            Some(file) => now.mono.saturating_sub(file.at?),
            None => Duration::ZERO,
        };
        Some(Kept { left: in_all.saturating_sub(age), in_all })
    }
}

/// What a compressed file was called before.
fn unpacked(path: &Path) -> Option<PathBuf> {
    is_compressed(path).then(|| path.with_extension(""))
}

/// Sets the figures of each source, and warns of lines that will be gone.
#[derive(Debug)]
pub(super) struct Watch(Throttle<usize>);

impl Watch {
    pub(super) fn new() -> Self {
        Self(Throttle::new(WARN_EVERY))
    }

    pub(super) fn look(&mut self, common: &Common, retention: Option<&Retention>, now: Now) {
        let all = common.current.sources();
        let mut sources = vec![Behind::default(); all.len()];
        common.registry.each_unread(now, |file| {
            let kept = retention.and_then(|known| known.kept(file.inode, &file.stem, now));
            sources[usize::from(file.source.0)].add(&file, kept);
        });
        for (idx, behind) in sources.into_iter().enumerate() {
            let source = &*all[idx].name;
            let Behind { bytes, age, kept } = behind;
            common.metrics.set_behind(source, bytes, age, kept.map(|kept| kept.left));
            let Some(kept) = kept.filter(|kept| kept.is_urgent()) else { continue };
            if self.0.pass(&idx, now).is_some() {
                warn!(
                    source,
                    unread_bytes = bytes,
                    left_seconds = kept.left.as_secs(),
                    "the oldest unread lines will soon be rotated away, or are deleted and only \
                     held open: do not stop skald before it has read them; keep more rotated \
                     files, or see what holds it up",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::Registry;
    use super::*;
    use crate::ledger::Ticket;
    use crate::model::{FileKey, FileOffset, Identity, Mark, MaybeNanos, UnixNanos};
    use crate::tail::News;

    /// A folder with one log, by what scans find in it; minutes are the time.
    #[derive(Default)]
    struct Folder(Retention);

    fn node(inode: u64) -> Node {
        Node { device: 1, inode }
    }

    fn path(name: &str) -> Arc<Path> {
        Path::new(name).into()
    }

    fn at(minute: u64) -> Now {
        Now { mono: Duration::from_secs(60 * minute), wall: UnixNanos(0) }
    }

    impl Folder {
        fn scan(&mut self, minute: u64, new: &[(u64, &str)], old: &[(u64, &str)], gone: &[u64]) {
            let found = |&(inode, name): &(u64, &str)| Found {
                path: path(name),
                source: SourceId(0),
                node: node(inode),
                stem: path("log"),
                is_outside: false,
                birth: MaybeNanos::NONE,
            };
            let renamed = |&(inode, name): &(u64, &str)| Renamed {
                node: node(inode),
                path: path(name),
                stem: path("log"),
            };
            let changes = Changes {
                appeared: new.iter().map(found).collect(),
                renamed: old.iter().map(renamed).collect(),
                gone: gone.iter().copied().map(node).collect(),
                left: vec![],
            };
            self.0.learn(&changes, at(minute));
        }

        /// Minutes that the file stays, and how long files stay.
        fn kept(&self, inode: u64, minute: u64) -> Option<(u64, u64)> {
            let kept = self.0.kept((1, inode), Path::new("log"), at(minute))?;
            Some((kept.left.as_secs() / 60, kept.in_all.as_secs() / 60))
        }
    }

    #[test]
    fn a_deleted_generation_tells_how_long_the_others_stay() {
        let mut folder = Folder::default();
        folder.scan(0, &[(1, "log")], &[], &[]);
        folder.scan(10, &[(2, "log")], &[(1, "log.1")], &[]);
        folder.scan(20, &[(3, "log")], &[(1, "log.2"), (2, "log.1")], &[]);
        assert_eq!(folder.kept(1, 20), None, "none was deleted yet");
        folder.scan(30, &[(4, "log")], &[(2, "log.2"), (3, "log.1")], &[1]);
        assert_eq!(folder.kept(2, 31), Some((9, 20)), "rotated 11 minutes ago");
        assert_eq!(folder.kept(3, 31), Some((19, 20)));
        assert_eq!(folder.kept(4, 31), Some((20, 20)), "not rotated yet");
        assert_eq!(folder.kept(2, 90), Some((0, 20)), "it should be gone");
        folder.scan(91, &[], &[], &[2, 3]);
        assert!(folder.0.stems.is_empty() && folder.0.by_node.is_empty());
    }

    #[test]
    fn files_from_before_our_time_tell_by_their_number() {
        let mut folder = Folder::default();
        folder.scan(0, &[(1, "log.2"), (2, "log.1"), (3, "log")], &[], &[]);
        folder.scan(5, &[(4, "log")], &[(2, "log.2"), (3, "log.1")], &[1]);
        assert_eq!(folder.kept(3, 5), None, "one rotation is no interval");
        folder.scan(15, &[(5, "log")], &[(3, "log.2"), (4, "log.1")], &[2]);
        assert_eq!(folder.kept(4, 15), Some((20, 20)), "two generations, ten minutes each");
        assert_eq!(folder.kept(3, 15), Some((10, 20)));
    }

    #[test]
    fn a_compressed_generation_is_not_deleted() {
        let mut folder = Folder::default();
        folder.scan(0, &[(1, "log")], &[], &[]);
        folder.scan(10, &[(2, "log")], &[(1, "log.1")], &[]);
        folder.scan(11, &[(3, "log.1.gz")], &[], &[1]);
        assert_eq!(folder.kept(2, 11), None);
        folder.scan(40, &[], &[], &[3]);
        assert_eq!(folder.kept(2, 40), None, "with the last one all is forgotten");
        folder.scan(50, &[(4, "log")], &[(2, "log.1")], &[]);
        folder.scan(51, &[(5, "log.1.gz")], &[], &[2]);
        folder.scan(60, &[(6, "log")], &[(4, "log.1")], &[]);
        folder.scan(80, &[], &[], &[5]);
        assert_eq!(folder.kept(4, 80), Some((10, 30)), "from its rotation, not its packing");
    }

    #[test]
    fn the_furthest_behind_and_the_first_to_go_count() {
        let file = |bytes, age: Option<u64>, is_deleted| Unread {
            source: SourceId(0),
            inode: (1, 1),
            stem: path("log"),
            bytes,
            age: age.map(Duration::from_secs),
            is_deleted,
        };
        let kept = |left| {
            let [left, in_all] = [left, 100].map(Duration::from_secs);
            Kept { left, in_all }
        };
        let mut behind = Behind::default();
        behind.add(&file(10, Some(3), false), None);
        assert_eq!(behind, Behind { bytes: 10, age: Duration::from_secs(3), kept: None });
        behind.add(&file(10, Some(2), false), Some(kept(26)));
        behind.add(&file(5, None, false), Some(kept(1)));
        assert_eq!((behind.bytes, behind.kept), (25, Some(kept(26))), "no line, no danger");
        assert!(!kept(26).is_urgent() && kept(25).is_urgent());
        behind.add(&file(1, Some(9), true), None);
        assert_eq!((behind.age.as_secs(), behind.kept), (9, Some(Kept::default())));
        assert!(Kept::default().is_urgent());
    }
    #[test]
    fn the_oldest_unsettled_line_ages_whatever_was_settled_before_it() {
        let (registry, file) = (Registry::new(vec!["t".into()], Vec::new()), FileKey(1));
        let opened = News::Opened {
            file,
            source: SourceId(0),
            path: path("log"),
            stem: path("log"),
            identity: Identity { device: 1, inode: 1, birth: MaybeNanos::NONE },
            start: Mark::default(),
            size: 100,
            kin: None,
            waits: false,
        };
        registry.note(&[opened], at(0));
        let mark = |offset| Mark { offset: FileOffset(offset), ..Mark::default() };
        registry.issue(file, mark(10), 1, at(0));
        registry.issue(file, mark(20), 1, at(3));
        let oldest = |minute| Some(registry.lag(at(minute)).oldest_unsettled?.as_secs() / 60);
        assert_eq!(oldest(5), Some(5));
        registry.settle(&[Ticket { file, seq: 0 }], at(5));
        assert_eq!(oldest(6), Some(3), "since it was read, not since the one before was settled");
        registry.settle(&[Ticket { file, seq: 1 }], at(7));
        assert_eq!(oldest(8), None);
    }
}

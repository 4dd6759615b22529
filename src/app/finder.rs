//! From what a scan found to what the readers are told: a step without clock, thread or disk.

mod known;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use tracing::error;

use self::known::{Files, Known};
use super::pods::Pods;
use super::registry::Registry;
use super::wake::Told;
use super::windows::Windows;
use crate::discover::{Changes, Found, Node, Pod, Renamed, age};
use crate::model::{MaybeNanos, Now, SourceId};
use crate::tail::{Begin, NewFile};

/// The distance between the ranks of two generations: others may be found between them.
const RANK_STEP: i64 = 1 << 32;

/// A file of a pod of which nothing is known yet.
#[derive(Debug)]
struct Unknown {
    source: SourceId,
    uid: String,
    needs_node: bool,
    until: Duration,
}

/// What files of each source wait for.
type Waits = [Option<(Duration, bool)>];

/// Whether the pod of this log asks for not being read, by a source that asks the API.
fn is_excluded(pods: &Pods, waits: &Waits, source: SourceId, path: &Path) -> bool {
    let asks = waits.get(usize::from(source.0)).is_some_and(Option::is_some);
    asks && Pod::of(path).is_some_and(|pod| pods.asks(pod.uid).exclude)
}

/// Knows which files are there.
#[derive(Debug)]
pub struct Finder {
    registry: Arc<Registry>,
    windows: Arc<Windows>,
    /// Sources whose files, as found by the first scan, are read from their end.
    from_end: Vec<bool>,
    files: Files,
    /// Files whose path is not the stem.
    by_path: HashMap<Arc<Path>, SourceId>,
    /// The highest rank of any file so far.
    last_rank: i64,
    /// Part of what was known is lost: any file may have been followed, up to an unknown place.
    /// From its end there may be a gap, from its beginning there are only repeats.
    has_forgotten: bool,
    is_first: bool,
    /// Sources that were not looked for before, by number.
    fresh: Vec<bool>,
    /// The sources are other ones than at the start.
    has_adopted: bool,
    /// Files that are no more of the source that they were of, until their reader has closed them.
    leaving: HashMap<Node, Arc<()>>,
    /// What the API of Kubernetes says, and what files of each source wait for.
    pods: Arc<Pods>,
    waits: Vec<Option<(Duration, bool)>>,
    /// Files that are not read before more is known of them, or this time: their pods.
    unknown: HashMap<Node, Unknown>,
    /// Files whose pods ask for not being read.
    excluded: HashMap<Node, Found>,
    /// [`Pods::changes`] when that was last looked at.
    changes: u64,
    /// Those that are of another source now: it goes on when what was read before is settled.
    waiting: Vec<Found>,
}

impl Finder {
    /// A finder that has seen nothing yet. `has_forgotten` says that the checkpoint was damaged.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        windows: Arc<Windows>,
        from_end: Vec<bool>,
        has_forgotten: bool,
    ) -> Self {
        let files = Files::new(registry.stems());
        Self {
            registry,
            windows,
            fresh: vec![true; from_end.len()],
            from_end,
            files,
            by_path: HashMap::new(),
            last_rank: 0,
            has_forgotten,
            is_first: true,
            has_adopted: false,
            pods: Arc::default(),
            waits: Vec::new(),
            unknown: HashMap::new(),
            excluded: HashMap::new(),
            changes: 0,
            leaving: HashMap::new(),
            waiting: Vec::new(),
        }
    }

    /// Goes on with other sources: what the next scan finds of those that are `fresh` was there
    /// before.
    pub(super) fn adopt(&mut self, from_end: Vec<bool>, fresh: Vec<bool>) {
        (self.from_end, self.fresh, self.has_adopted) = (from_end, fresh, true);
    }

    /// What files of each source wait for.
    pub(super) fn set_pods(&mut self, pods: Arc<Pods>, waits: Vec<Option<(Duration, bool)>>) {
        (self.pods, self.waits) = (pods, waits);
    }

    /// Tells the readers of files of which enough is known now, and of those whose pods ask for being
    /// read or not.
    pub(super) fn pods_changed(&mut self, now: Now, mut tell: impl FnMut(SourceId, Told)) {
        let changes = self.pods.changes();
        if std::mem::replace(&mut self.changes, changes) != changes {
            self.look_for_excluded(now, &mut tell);
        }
        let pods = &self.pods;
        self.unknown.retain(|node, of| {
            let is_known = pods.has(&of.uid, of.needs_node);
            if is_known {
                tell(of.source, Told::Known(inode(*node)));
            }
            !is_known && now.mono < of.until
        });
    }

    fn look_for_excluded(&mut self, now: Now, tell: &mut impl FnMut(SourceId, Told)) {
        let (pods, waits) = (&self.pods, &self.waits);
        let of = self.files.iter();
        let is_out = |known: &&Known| is_excluded(pods, waits, known.source, &known.path);
        let out: Vec<Found> = of.filter(is_out).map(Known::found).collect();
        for found in out {
            self.forget(found.node, now);
            self.leave(found.node, found.source, tell);
            self.excluded.insert(found.node, found);
        }
        let (pods, waits) = (&self.pods, &self.waits);
        let is_back =
            |_: &Node, found: &mut Found| !is_excluded(pods, waits, found.source, &found.path);
        let back = self.excluded.extract_if(is_back);
        let appeared: Vec<Found> = back.map(|(_, found)| found).collect();
        if !appeared.is_empty() {
            self.pass_on(Changes { appeared, ..Changes::default() }, now, tell);
        }
    }

    /// From when on a file is read.
    fn not_before(&mut self, found: &Found, now: Now) -> Duration {
        let wait = self.waits.get(usize::from(found.source.0)).copied().flatten();
        let Some((wait, needs_node)) = wait else { return Duration::ZERO };
        let Some(pod) = Pod::of(&found.path) else { return Duration::ZERO };
        if wait == Duration::ZERO || self.pods.has(pod.uid, needs_node) {
            return Duration::ZERO;
        }
        let (until, uid) = (now.mono + wait, pod.uid.to_owned());
        self.unknown.insert(found.node, Unknown { source: found.source, uid, needs_node, until });
        until
    }

    /// Whether files wait for others to let go of them.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Files that have to wait, until they need not.
    fn sort_out(&mut self, changes: &mut Changes, tell: &mut impl FnMut(SourceId, Told)) {
        changes.appeared.append(&mut self.waiting);
        let (pods, waits) = (&self.pods, &self.waits);
        let is_out = |found: &mut Found| is_excluded(pods, waits, found.source, &found.path);
        let out = changes.appeared.extract_if(.., is_out);
        self.excluded.extend(out.map(|found| (found.node, found)));
        if !(self.has_adopted || self.changes != 0) || changes.appeared.is_empty() {
            return;
        }
        let tracked = self.registry.tracked();
        self.leaving.retain(|node, closed| {
            1 < Arc::strong_count(closed) || tracked.contains_key(&inode(*node))
        });
        for Found { node, source, .. } in &changes.appeared {
            // Its reader was told that it is gone, and it is another one's now.
            match tracked.get(&inode(*node)) {
                Some(old) if old != source && !self.leaving.contains_key(node) => {
                    self.leave(*node, *old, tell);
                }
                Some(_) | None => {}
            }
        }
        let leaving = &self.leaving;
        if leaving.is_empty() {
            return;
        }
        // And so has each that was written behind one of them.
        let held = changes.appeared.iter().filter(|found| leaving.contains_key(&found.node));
        let stems: HashSet<Arc<Path>> = held.map(|found| Arc::clone(&found.stem)).collect();
        let must_wait = |found: &mut Found| stems.contains(&found.stem);
        self.waiting = changes.appeared.extract_if(.., must_wait).collect();
    }

    /// The reader of `source` has to let go of a file.
    fn leave(&mut self, node: Node, source: SourceId, tell: &mut impl FnMut(SourceId, Told)) {
        let closed = Arc::new(());
        tell(source, Told::Left(inode(node), Arc::clone(&closed)));
        self.leaving.insert(node, closed);
    }

    /// Takes a file out of all that is known.
    fn forget(&mut self, node: Node, now: Now) -> Option<Known> {
        self.waiting.retain(|found| found.node != node);
        self.excluded.remove(&node);
        self.files.remove(node, now.mono)
    }

    /// Whether nothing was passed on yet.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// The source of the file that has this path.
    #[must_use]
    pub fn source_of(&self, path: &Path) -> Option<SourceId> {
        let mut known = self.files.generations(path);
        let current = known.find(|known| *known.path == *path).map(|known| known.source);
        current.or_else(|| self.by_path.get(path).copied())
    }

    /// Tells the readers of the sources what changed.
    pub fn pass_on(
        &mut self,
        mut changes: Changes,
        now: Now,
        mut tell: impl FnMut(SourceId, Told),
    ) {
        // Names that are not taken again at once need not be remembered.
        let mut left = Vec::new();
        for node in std::mem::take(&mut changes.gone) {
            self.say_if_unread(node);
            if let Some(known) = self.forget(node, now) {
                tell(known.source, Told::Gone(inode(node)));
                self.registry.unnamed(inode(node));
                left.push(known.path);
            }
        }
        for node in std::mem::take(&mut changes.left) {
            if let Some(known) = self.forget(node, now) {
                self.leave(node, known.source, &mut tell);
                left.push(known.path);
            }
        }
        self.sort_out(&mut changes, &mut tell);
        for renamed in changes.renamed {
            if let Some((source, new)) = self.renamed(&renamed, &mut left, now) {
                tell(source, Told::Renamed(inode(renamed.node), Box::new(new)));
            }
        }
        // Before the first of them is read: any may be the slowest.
        changes.appeared.iter().for_each(|found| self.windows.expect(found.source));
        let begins: Vec<Begin> = changes.appeared.iter().map(|found| self.begin(found)).collect();
        // A name that looks rotated is one if the file that it was rotated from is known.
        for is_rotated in [false, true] {
            for found in changes.appeared.iter().filter(|found| found.is_rotated() == is_rotated) {
                self.take(found);
                left.retain(|path| *path != found.path);
            }
        }
        self.fresh.fill(false);
        if std::mem::take(&mut self.is_first) {
            let is_there = |(device, inode)| self.files.get(Node { device, inode }).is_some();
            self.registry.look_for(is_there, now);
        }
        for (found, begin) in changes.appeared.iter().zip(begins) {
            let rank = self.rank(found.node);
            let not_before = self.not_before(found, now);
            if let Some(known) = self.files.get(found.node) {
                let new = self.new_file(known, begin, rank);
                tell(
                    found.source,
                    Told::Found(Box::new(NewFile { birth: found.birth, not_before, ..new })),
                );
            }
        }
        if !left.is_empty() {
            self.files.forget_former(now.mono);
        }
        for path in left {
            self.by_path.remove(&path);
        }
    }

    /// A file that went while it waited.
    fn say_if_unread(&self, node: Node) {
        let is_waiting = self.waiting.iter().any(|found| found.node == node);
        let bytes = if is_waiting { self.registry.unread_of(inode(node)) } else { 0 };
        if bytes != 0 {
            error!(
                bytes,
                "a file is gone that was on its way to another source: so many bytes are lost; \
                 it waited for loki to take what was read of it before",
            );
        }
    }

    fn take(&mut self, found: &Found) {
        let (path, source) = (Arc::clone(&found.path), found.source);
        let stem = self.stem(&path, &found.stem);
        if path != stem {
            self.by_path.insert(Arc::clone(&path), source);
        }
        self.files.insert(Known { node: found.node, source, path, stem, rank: None });
    }

    /// The rank of a file. Those of its generations that have none yet get theirs: by their names,
    /// which change, each is put between those that it is between now.
    fn rank(&mut self, node: Node) -> i64 {
        let Some(known) = self.files.get(node) else { return 0 };
        if let Some(rank) = known.rank {
            return rank;
        }
        let mut all: Vec<&Known> = self.files.generations(&known.stem).collect();
        all.sort_by_cached_key(|known| (age(&known.path, &known.stem), known.node));
        let all: Vec<(Node, Option<i64>)> = all.iter().map(|it| (it.node, it.rank)).collect();
        let mut before = None;
        let mut own = 0;
        for (idx, (other, rank)) in all.iter().enumerate() {
            let behind = || all[idx + 1..].iter().find_map(|(_, rank)| *rank);
            let rank = rank.unwrap_or_else(|| match (before, behind()) {
                // Others may be gone that are still read: it is behind all of them.
                (None, None) => self.last_rank + RANK_STEP,
                (Some(before), None) => before + RANK_STEP,
                (None, Some(behind)) => behind - RANK_STEP,
                (Some(before), Some(behind)) => i64::midpoint(before, behind),
            });
            before = Some(rank);
            self.last_rank = self.last_rank.max(rank);
            self.files.set_rank(*other, rank);
            own = if *other == node { rank } else { own };
        }
        own
    }

    /// Where a file begins that turns out not to be known.
    fn begin(&self, found: &Found) -> Begin {
        let is_followed = self.has_forgotten || self.files.has_stem(&found.stem);
        // What comes later than the first look is new, whoever has followed it.
        let is_fresh = self.fresh[usize::from(found.source.0)];
        if found.is_outside && is_fresh && !is_followed {
            return Begin::Never;
        }
        let from_end = is_fresh && self.from_end[usize::from(found.source.0)];
        if from_end && !is_followed { Begin::End } else { Begin::Start }
    }

    fn new_file(&self, known: &Known, begin: Begin, rank: i64) -> NewFile {
        let Known { node, source, path, stem, .. } = known;
        let (path, stem, source) = (Arc::clone(path), Arc::clone(stem), *source);
        let inode = inode(*node);
        let known = self.registry.resume(inode, &path, &stem);
        let (inode, birth, not_before) = (Some(inode), MaybeNanos::NONE, Duration::ZERO);
        NewFile { path, stem, inode, birth, source, known, begin, rank, not_before }
    }

    fn renamed(
        &mut self,
        renamed: &Renamed,
        left: &mut Vec<Arc<Path>>,
        now: Now,
    ) -> Option<(SourceId, NewFile)> {
        let Renamed { node, path, stem } = renamed;
        let stem = self.stem(path, stem);
        let excluded = self.excluded.get_mut(node).into_iter();
        if let Some(waiting) =
            self.waiting.iter_mut().chain(excluded).find(|found| found.node == *node)
        {
            (waiting.path, waiting.stem) = (Arc::clone(path), stem);
            return None;
        }
        let known = self.files.remove(*node, now.mono)?;
        left.push(known.path);
        let (source, path) = (known.source, Arc::clone(path));
        if path != stem {
            self.by_path.insert(Arc::clone(&path), source);
        }
        let rank = known.rank.filter(|_| known.stem == stem);
        self.files.insert(Known { node: *node, source, path, stem, rank });
        let rank = self.rank(*node);
        Some((source, self.new_file(self.files.get(*node)?, Begin::Start, rank)))
    }

    /// A name that looks rotated is one only if there is or was a file that it was rotated from.
    fn stem(&self, path: &Arc<Path>, stem: &Arc<Path>) -> Arc<Path> {
        Arc::clone(if self.files.has_stem(stem) { stem } else { path })
    }
}

fn inode(node: Node) -> (u64, u64) {
    (node.device, node.inode)
}

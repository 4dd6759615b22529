//! From what a scan found to what the readers are told: a step without clock, thread or disk.

use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;

use super::registry::Registry;
use super::wake::Told;
use super::windows::Windows;
use crate::discover::{Changes, Found, Node, Renamed, age};
use crate::model::{Few, Now, SourceId};
use crate::tail::{Begin, NewFile};

/// The distance between the ranks of two generations: others may be found between them.
const RANK_STEP: i64 = 1 << 40;

#[derive(Debug)]
struct Known {
    source: SourceId,
    path: Arc<Path>,
    stem: Arc<Path>,
    /// Its place among the generations of its stem, which never changes.
    rank: Option<i64>,
}

/// Knows which files are there.
#[derive(Debug)]
pub struct Finder {
    registry: Arc<Registry>,
    windows: Arc<Windows>,
    /// Sources whose files, as found by the first scan, are read from their end.
    from_end: Vec<bool>,
    by_node: HashMap<Node, Known>,
    /// Files whose path is not the stem.
    by_path: HashMap<Arc<Path>, SourceId>,
    /// Names under which files are or were followed, and the generations of each that are there. A
    /// file that rotation has named after one of them, and that nobody knows, was there between two
    /// looks.
    stems: HashMap<Arc<Path>, Few<Node>>,
    /// Part of what was known is lost: any file may have been followed, up to an unknown place.
    /// From its end there may be a gap, from its beginning there are only repeats.
    has_forgotten: bool,
    is_first: bool,
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
        let stems = registry.stems().into_iter().map(|stem| (stem, Few::default())).collect();
        let (by_node, by_path) = (HashMap::new(), HashMap::new());
        Self { registry, windows, from_end, by_node, by_path, stems, has_forgotten, is_first: true }
    }

    /// Whether nothing was passed on yet.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// The source of the file that has this path.
    #[must_use]
    pub fn source_of(&self, path: &Path) -> Option<SourceId> {
        let nodes = self.stems.get(path).map_or(&[][..], Few::as_slice).iter();
        let mut known = nodes.filter_map(|node| self.by_node.get(node));
        let current = known.find(|known| *known.path == *path).map(|known| known.source);
        current.or_else(|| self.by_path.get(path).copied())
    }

    /// Tells the readers of the sources what changed.
    pub fn pass_on(&mut self, changes: Changes, now: Now, mut tell: impl FnMut(SourceId, Told)) {
        // Names that are not taken again at once need not be remembered.
        let mut left = Vec::new();
        for node in changes.gone {
            if let Some(known) = self.by_node.remove(&node) {
                tell(known.source, Told::Gone(inode(node)));
                self.registry.unnamed(inode(node));
                if let Some(nodes) = self.stems.get_mut(&known.stem) {
                    nodes.retain(|other| *other != node);
                }
                left.push(known.path);
            }
        }
        for renamed in changes.renamed {
            if let Some((source, new)) = self.renamed(&renamed, &mut left) {
                tell(source, Told::Renamed(inode(renamed.node), new));
            }
        }
        self.by_node.reserve(changes.appeared.len());
        self.stems.reserve(changes.appeared.len());
        // Before the first of them is read: any may be the slowest.
        changes.appeared.iter().for_each(|found| self.windows.expect(found.source));
        let begins: Vec<Begin> = changes.appeared.iter().map(|found| self.begin(found)).collect();
        for found in changes.appeared.iter().filter(|found| !found.is_rotated()) {
            self.stems.entry(Arc::clone(&found.path)).or_default();
        }
        for found in &changes.appeared {
            self.take(found);
            left.retain(|path| *path != found.path);
        }
        if std::mem::take(&mut self.is_first) {
            let is_there = |(device, inode)| self.by_node.contains_key(&Node { device, inode });
            self.registry.look_for(is_there, now);
        }
        for (found, begin) in changes.appeared.iter().zip(begins) {
            let rank = self.rank(found.node);
            if let Some(known) = self.by_node.get(&found.node) {
                let new = self.new_file(found.node, known, begin, rank);
                tell(found.source, Told::Found(NewFile { birth: found.birth, ..new }));
            }
        }
        for path in left {
            self.by_path.remove(&path);
        }
    }

    fn take(&mut self, found: &Found) {
        let (path, source) = (Arc::clone(&found.path), found.source);
        let stem = self.stem(&path, &found.stem);
        self.stems.entry(Arc::clone(&stem)).or_default().push(found.node);
        if path != stem {
            self.by_path.insert(Arc::clone(&path), source);
        }
        self.by_node.insert(found.node, Known { source, path, stem, rank: None });
    }

    /// The rank of a file. Those of its generations that have none yet get theirs: by their names,
    /// which change, each is put between those that it is between now.
    fn rank(&mut self, node: Node) -> i64 {
        let Some(known) = self.by_node.get(&node) else { return 0 };
        if let Some(rank) = known.rank {
            return rank;
        }
        let mut nodes = self.stems.get(&known.stem).map_or(&[][..], Few::as_slice).to_vec();
        nodes.sort_by_cached_key(|node| {
            self.by_node.get(node).map(|known| age(&known.path, &known.stem))
        });
        let mut before = None;
        for (idx, node) in nodes.iter().enumerate() {
            let rank_of = |node: &Node| self.by_node.get(node).and_then(|known| known.rank);
            let rank = rank_of(node).unwrap_or_else(|| {
                match (before, nodes[idx + 1..].iter().find_map(rank_of)) {
                    (None, None) => 0,
                    (Some(before), None) => before + RANK_STEP,
                    (None, Some(behind)) => behind - RANK_STEP,
                    (Some(before), Some(behind)) => i64::midpoint(before, behind),
                }
            });
            before = Some(rank);
            if let Some(known) = self.by_node.get_mut(node) {
                known.rank = Some(rank);
            }
        }
        self.by_node.get(&node).and_then(|known| known.rank).unwrap_or_default()
    }

    /// Where a file begins that turns out not to be known.
    fn begin(&self, found: &Found) -> Begin {
        let is_followed = self.has_forgotten || self.stems.contains_key(&found.stem);
        // What comes later than the first look is new, whoever has followed it.
        if found.is_outside && self.is_first && !is_followed {
            return Begin::Never;
        }
        let from_end = self.is_first && self.from_end[usize::from(found.source.0)];
        if from_end && !is_followed { Begin::End } else { Begin::Start }
    }

    fn new_file(&self, node: Node, known: &Known, begin: Begin, rank: i64) -> NewFile {
        let Known { source, path, stem, .. } = known;
        let (path, stem, source) = (Arc::clone(path), Arc::clone(stem), *source);
        let inode = inode(node);
        let known = self.registry.resume(inode, &path, &stem);
        NewFile { path, stem, inode: Some(inode), birth: None, source, known, begin, rank }
    }

    fn renamed(
        &mut self,
        renamed: &Renamed,
        left: &mut Vec<Arc<Path>>,
    ) -> Option<(SourceId, NewFile)> {
        let Renamed { node, path, stem } = renamed;
        let stem = self.stem(path, stem);
        let known = self.by_node.get_mut(node)?;
        left.push(std::mem::replace(&mut known.path, Arc::clone(path)));
        let (source, old) = (known.source, std::mem::replace(&mut known.stem, Arc::clone(&stem)));
        if old != stem {
            known.rank = None;
            self.stems.entry(old).or_default().retain(|other| other != node);
            self.stems.entry(stem).or_default().push(*node);
        }
        if *path != known.stem {
            self.by_path.insert(Arc::clone(path), source);
        }
        let rank = self.rank(*node);
        let known = self.by_node.get(node)?;
        Some((source, self.new_file(*node, known, Begin::Start, rank)))
    }

    /// A name that looks rotated is one only if there is or was a file that it was rotated from.
    fn stem(&self, path: &Arc<Path>, stem: &Arc<Path>) -> Arc<Path> {
        Arc::clone(if self.stems.contains_key(stem) { stem } else { path })
    }
}

fn inode(node: Node) -> (u64, u64) {
    (node.device, node.inode)
}

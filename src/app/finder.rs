//! From what a scan found to what the readers are told: a step without clock, thread or disk.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::registry::Registry;
use super::wake::Told;
use super::windows::Windows;
use crate::discover::{Changes, Found, Node, Renamed};
use crate::model::{Now, SourceId};
use crate::tail::{Begin, NewFile};

/// Knows which files are there.
#[derive(Debug)]
pub struct Finder {
    registry: Arc<Registry>,
    windows: Arc<Windows>,
    /// Sources whose files, as found by the first scan, are read from their end.
    from_end: Vec<bool>,
    by_node: HashMap<Node, (SourceId, Arc<Path>)>,
    by_path: HashMap<Arc<Path>, SourceId>,
    /// Names under which files are or were followed. A file that rotation has named after one of
    /// them, and that nobody knows, was there between two looks.
    stems: HashSet<Arc<Path>>,
    /// Part of what was known is lost: any rotated file may have been followed.
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
        let stems = registry.stems().into_iter().collect();
        let (by_node, by_path) = (HashMap::new(), HashMap::new());
        Self { registry, windows, from_end, by_node, by_path, stems, has_forgotten, is_first: true }
    }

    /// The source of the file that has this path.
    #[must_use]
    pub fn source_of(&self, path: &Path) -> Option<SourceId> {
        self.by_path.get(path).copied()
    }

    /// Tells the readers of the sources what changed.
    pub fn pass_on(&mut self, changes: Changes, now: Now, mut tell: impl FnMut(SourceId, Told)) {
        // Names that are not taken again at once need not be remembered.
        let mut left = Vec::new();
        for node in changes.gone {
            if let Some((source, path)) = self.by_node.remove(&node) {
                tell(source, Told::Gone(inode(node)));
                self.registry.unnamed(inode(node));
                left.push(path);
            }
        }
        for renamed in changes.renamed {
            if let Some((source, new)) = self.renamed(&renamed, &mut left) {
                tell(source, Told::Renamed(inode(renamed.node), new));
            }
        }
        // Before the first of them is read: any may be the slowest.
        changes.appeared.iter().for_each(|found| self.windows.expect(found.source));
        let mut begins = Vec::with_capacity(changes.appeared.len());
        for found in &changes.appeared {
            self.by_node.insert(found.node, (found.source, Arc::clone(&found.path)));
            self.by_path.insert(Arc::clone(&found.path), found.source);
            left.retain(|path| *path != found.path);
            begins.push(self.begin(found));
        }
        if std::mem::take(&mut self.is_first) {
            let is_there = |(device, inode)| self.by_node.contains_key(&Node { device, inode });
            self.registry.look_for(is_there, now);
        }
        let live = changes.appeared.iter().filter(|found| !found.is_rotated());
        self.stems.extend(live.map(|found| Arc::clone(&found.path)));
        for (found, begin) in changes.appeared.iter().zip(begins) {
            tell(found.source, Told::Found(self.new_file(found, begin)));
        }
        for path in left {
            self.by_path.remove(&path);
        }
    }

    /// Where a file begins that turns out not to be known.
    fn begin(&self, found: &Found) -> Begin {
        let is_followed = self.has_forgotten || self.stems.contains(&found.stem);
        if found.is_outside && !is_followed {
            return Begin::Never;
        }
        let from_end = self.is_first && self.from_end[usize::from(found.source.0)];
        if from_end && !is_followed { Begin::End } else { Begin::Start }
    }

    fn new_file(&self, found: &Found, begin: Begin) -> NewFile {
        let (path, source) = (Arc::clone(&found.path), found.source);
        let stem = self.stem(&found.path, &found.stem);
        let known = self.registry.resume(inode(found.node), &path, &stem);
        NewFile { path, stem, source, known, begin }
    }

    fn renamed(
        &mut self,
        renamed: &Renamed,
        left: &mut Vec<Arc<Path>>,
    ) -> Option<(SourceId, NewFile)> {
        let (source, known) = self.by_node.get_mut(&renamed.node)?;
        let path = Arc::clone(&renamed.path);
        left.push(std::mem::replace(known, Arc::clone(&path)));
        let source = *source;
        self.by_path.insert(Arc::clone(&path), source);
        let stem = self.stem(&path, &renamed.stem);
        let known = self.registry.resume(inode(renamed.node), &path, &stem);
        Some((source, NewFile { path, stem, source, known, begin: Begin::Start }))
    }

    /// A name that looks rotated is one only if there is or was a file that it was rotated from.
    fn stem(&self, path: &Arc<Path>, stem: &Arc<Path>) -> Arc<Path> {
        Arc::clone(if self.stems.contains(stem) { stem } else { path })
    }
}

fn inode(node: Node) -> (u64, u64) {
    (node.device, node.inode)
}

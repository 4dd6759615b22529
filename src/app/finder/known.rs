//! The files that are there, by what they are and by what they are called.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

use super::super::registry::FORGET_AFTER;
use crate::discover::{Found, Node};
use crate::model::{HasKey, Index, Keyed, MaybeNanos, SourceId};

/// A file that is there.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) node: Node,
    pub(super) source: SourceId,
    pub(super) path: Arc<Path>,
    pub(super) stem: Arc<Path>,
    /// Its place among the generations of its stem, which never changes.
    pub(super) rank: Option<i64>,
}

impl HasKey for Known {
    type Key = Node;

    fn key(&self) -> Node {
        self.node
    }
}

impl Known {
    pub(super) fn found(&self) -> Found {
        let Self { node, source, path, stem, .. } = self;
        let (path, stem) = (Arc::clone(path), Arc::clone(stem));
        Found {
            path,
            source: *source,
            node: *node,
            stem,
            is_outside: false,
            birth: MaybeNanos::NONE,
        }
    }
}

/// All that are there.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: Keyed<Known>,
    by_stem: Index,
    /// Names under which files were followed of which none is there, and since when. A file that
    /// rotation has named after one of them, and that nobody knows, was there between two looks.
    former: HashMap<Arc<Path>, Duration>,
}

impl Files {
    /// None are there, and these were.
    pub(super) fn new(former: impl IntoIterator<Item = Arc<Path>>) -> Self {
        let former = former.into_iter().map(|stem| (stem, Duration::ZERO)).collect();
        Self { former, ..Self::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.files.iter()
    }

    pub(super) fn get(&self, node: Node) -> Option<&Known> {
        self.files.get(node)
    }

    /// The generations of a name that are there, in no order.
    pub(super) fn generations<'a>(&'a self, stem: &'a Path) -> impl Iterator<Item = &'a Known> {
        let stem_of = |at: usize| self.files.at(at).map(|known| &*known.stem);
        self.by_stem.all(Some(stem), stem_of).filter_map(|at| self.files.at(at))
    }

    /// Whether files are or were followed under this name.
    pub(super) fn has_stem(&self, stem: &Path) -> bool {
        self.former.contains_key(stem) || self.generations(stem).next().is_some()
    }

    /// A file is followed under this name.
    fn add_stem(&mut self, stem: &Arc<Path>, now: Duration) {
        if !self.has_stem(stem) {
            self.former.insert(Arc::clone(stem), now);
        }
    }

    pub(super) fn insert(&mut self, known: Known) {
        drop(self.take(known.node));
        self.former.remove(&known.stem);
        let at = self.files.insert(known);
        let files = &self.files;
        self.by_stem.insert(at, |at| files.at(at).map(|known| &*known.stem));
    }

    pub(super) fn remove(&mut self, node: Node, now: Duration) -> Option<Known> {
        let known = self.take(node)?;
        self.add_stem(&known.stem, now);
        Some(known)
    }

    fn take(&mut self, node: Node) -> Option<Known> {
        let at = self.files.place_of(node)?;
        let known = self.files.remove(node)?;
        self.by_stem.remove(at, Some(&*known.stem));
        Some(known)
    }

    /// Forgets names of which long no file was there.
    pub(super) fn forget_former(&mut self, now: Duration) {
        self.former.retain(|_, since| now < *since + FORGET_AFTER);
    }

    pub(super) fn set_rank(&mut self, node: Node, rank: i64) {
        if let Some(known) = self.files.get_mut(node) {
            known.rank = Some(rank);
        }
    }
}

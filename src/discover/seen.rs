//! What the scans have seen so far, and how one differs from the next.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hashbrown::HashMap;

use super::trouble::{Troubles, What};
use crate::model::{HasKey, Keyed, MaybeNanos, SourceId, UnixNanos};

/// Which file it is, for as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl Node {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// A regular file that a glob matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The name it is read by. Of several names, the one it was found by first stays as long as
    /// it is there; found together, names without links come first, then the alphabet.
    pub path: Arc<Path>,
    /// The first source that matches it.
    pub source: SourceId,
    /// Which file it was when it was found; what is opened later may be another.
    pub node: Node,
    /// The name that its generations share: what its path was before it was rotated, or the path.
    pub stem: Arc<Path>,
    /// No glob matches it: it is here because one matches its stem.
    pub is_outside: bool,
    /// When it was made, if the file system says so: its number may be another file's by the time
    /// it is opened.
    pub birth: MaybeNanos,
}

impl Found {
    /// Whether it has a name that rotation gives.
    #[must_use]
    pub fn is_rotated(&self) -> bool {
        self.path != self.stem
    }
}

/// A known file under a new name. It stays with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// Which file.
    pub node: Node,
    /// Its new name.
    pub path: Arc<Path>,
    /// As [`Found::stem`].
    pub stem: Arc<Path>,
}

/// How a scan differs from the one before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// New files, sorted by source and path.
    pub appeared: Vec<Found>,
    /// Known files under a new path, sorted by it.
    pub renamed: Vec<Renamed>,
    /// Files that are found no more: removed, renamed away, or replaced.
    pub gone: Vec<Node>,
    /// Files that are there and that no glob matches any more, or that are another source's and so
    /// have appeared as well: the globs have changed.
    pub left: Vec<Node>,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty()
            && self.renamed.is_empty()
            && self.gone.is_empty()
            && self.left.is_empty()
    }
}

impl Changes {
    fn sort(&mut self) {
        self.appeared.sort_unstable_by(|a, b| (a.source, &a.path).cmp(&(b.source, &b.path)));
        self.renamed.sort_by(|a, b| a.path.cmp(&b.path));
        self.gone.sort();
        self.left.sort();
    }
}

/// A folder as it was when its names were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) node: Node,
    /// Change time: moves when a name comes or goes and when the rights change.
    pub(super) changed: UnixNanos,
}

impl Stamp {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        let seconds = metadata.ctime().saturating_mul(1_000_000_000);
        let changed = UnixNanos(seconds.saturating_add(metadata.ctime_nsec()));
        Self { node: Node::of(metadata), changed }
    }
}

/// What a path led to whose inode number in the folder's listing is not that of the file: of a
/// link, on overlays, under mounts.
#[derive(Debug)]
struct Known {
    listed: u64,
    file: At,
    turn: u32,
}

/// A file as it was when it was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    pub(super) node: Node,
    pub(super) birth: MaybeNanos,
}

impl At {
    pub(super) fn of(metadata: &std::fs::Metadata) -> Self {
        let since_epoch = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).ok();
        let birth = metadata.created().ok().and_then(since_epoch);
        let nanos = birth.and_then(|birth| i64::try_from(birth.as_nanos()).ok());
        Self { node: Node::of(metadata), birth: nanos.map(UnixNanos).into() }
    }
}

/// A file under a name, and the walk that has met it last.
#[derive(Debug)]
struct Place {
    node: Node,
    name: Name,
    turn: u32,
}

impl HasKey for Place {
    type Key = Node;

    fn key(&self) -> Node {
        self.node
    }
}

/// A name for a file, best first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    /// No glob matches it, but one matches the stem.
    pub(super) is_outside: bool,
    /// The place of the source among all.
    pub(super) order: u16,
    pub(super) source: SourceId,
    /// Whether it is a link, or in a folder behind one.
    pub(super) is_link: bool,
    pub(super) path: Arc<Path>,
    pub(super) stem: Arc<Path>,
    pub(super) birth: MaybeNanos,
}

#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Counts walks, so that what the current one did not meet can be told.
    pub(super) turn: u32,
    known: HashMap<Arc<Path>, Known>,
    /// Devices that files are on.
    devices: Vec<u64>,
    files: Keyed<Place>,
    /// Of the current walk: files not in `files`, and other names of those that are.
    new_files: Keyed<Place>,
    new_names: Keyed<Place>,
    /// Of the current walk: paths that could not be looked at. What was below them stays.
    blind: Vec<PathBuf>,
    pub(super) folders: HashMap<PathBuf, Option<Stamp>>,
    pub(super) links: HashMap<PathBuf, Option<Node>>,
    pub(super) troubles: Troubles,
}

impl Seen {
    pub(super) fn begin(&mut self) {
        self.turn += 1;
        (self.new_files, self.new_names) = Default::default();
        self.blind.clear();
        self.folders.clear();
        self.links.clear();
        self.troubles.begin();
    }

    /// Notes a folder before its names are read.
    pub(super) fn folder(&mut self, path: &Path) -> Option<Node> {
        let stamp = match fs_err::metadata(path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(err) => {
                self.failed(path, &err);
                None
            }
        };
        self.folders.insert(path.to_owned(), stamp);
        stamp.map(|stamp| stamp.node)
    }

    /// Notes that `path` could not be looked at. That it vanished is not worth a word.
    pub(super) fn failed(&mut self, path: &Path, err: &io::Error) {
        if err.kind() != io::ErrorKind::NotFound {
            self.troubles.note(What::Unreadable, path, err);
            self.blind.push(path.to_owned());
        }
    }

    /// The path and file behind a listed name, if it is as it was. Spares a stat, because the
    /// folder's listing has the inode number.
    pub(super) fn known(&mut self, path: &Path, listed: u64) -> Option<(Arc<Path>, At)> {
        for &device in &self.devices {
            let node = Node { device, inode: listed };
            let place = self.files.get(node).or_else(|| self.new_files.get(node));
            if let Some(Place { name, .. }) = place.filter(|place| *place.name.path == *path) {
                return Some((Arc::clone(&name.path), At { node, birth: name.birth }));
            }
        }
        let (path, known) = self.known.get_key_value_mut(path)?;
        if known.listed != listed {
            return None;
        }
        known.turn = self.turn;
        Some((Arc::clone(path), known.file))
    }

    /// Remembers what a listed name led to.
    pub(super) fn learn(&mut self, path: &Path, listed: u64, file: At) -> Arc<Path> {
        let path: Arc<Path> = path.into();
        if !self.devices.contains(&file.node.device) {
            self.devices.push(file.node.device);
        }
        if file.node.inode != listed {
            let known = Known { listed, file, turn: self.turn };
            self.known.insert(Arc::clone(&path), known);
        }
        path
    }

    /// Notes that `node` has this name. Returns the file's source if that is another one.
    pub(super) fn admit(&mut self, node: Node, name: Name) -> Option<SourceId> {
        let (source, is_outside) = (name.source, name.is_outside);
        let owner = if let Some(place) = self.files.get_mut(node) {
            let owner = place.name.source;
            if place.name.path == name.path {
                place.turn = self.turn;
            } else {
                keep_best(&mut self.new_names, Place { node, name, turn: self.turn });
            }
            owner
        } else {
            keep_best(&mut self.new_files, Place { node, name, turn: self.turn })
        };
        (owner != source && !is_outside).then_some(owner)
    }

    /// Ends a walk.
    pub(super) fn finish(&mut self) -> Changes {
        let mut changes = Changes::default();
        let turn = self.turn;
        for Place { node, name, .. } in std::mem::take(&mut self.new_names) {
            let place = self.files.get_mut(node).expect("BUG: a second name without a first");
            if place.turn < turn && is_another(&place.name, &name) {
                changes.gone.push(node);
                changes.appeared.push(found(node, &name));
                *place = Place { node, name, turn };
            } else if place.turn < turn {
                let (path, stem) = (Arc::clone(&name.path), Arc::clone(&name.stem));
                changes.renamed.push(Renamed { node, path, stem });
                let source = place.name.source;
                *place = Place { node, name: Name { source, ..name }, turn };
            }
        }
        let is_hidden = |path: &Path| self.blind.iter().any(|blind| path.starts_with(blind));
        self.files.retain(|place| {
            let stays = place.turn == turn || is_hidden(&place.name.path);
            if !stays {
                changes.gone.push(place.node);
            }
            stays
        });
        self.known.retain(|path, known| known.turn == turn || is_hidden(path));
        let new_files = std::mem::take(&mut self.new_files);
        changes.appeared.extend(new_files.iter().map(|place| found(place.node, &place.name)));
        if self.files.is_empty() {
            // Thousands, at the first look: the table itself, not a copy.
            self.files = new_files;
        } else {
            self.files.extend(new_files);
        }
        changes.sort();
        self.troubles.log_new();
        changes
    }

    /// How this first walk differs from what was seen with other globs. A file that was found under
    /// another name then, and is there under both, keeps that name until the next walk.
    pub(super) fn since(&self, before: Self) -> Changes {
        let mut changes = Changes::default();
        for Place { node, name, .. } in self.files.iter() {
            let found = found(*node, name);
            match before.files.get(*node).map(|old| &old.name) {
                Some(old) if is_another(old, name) => {
                    changes.gone.push(*node);
                    changes.appeared.push(found);
                }
                Some(old) if old.source != name.source => {
                    changes.left.push(*node);
                    changes.appeared.push(found);
                }
                Some(old) if (&old.path, &old.stem) == (&name.path, &name.stem) => {}
                Some(_) => {
                    let Found { node, path, stem, .. } = found;
                    changes.renamed.push(Renamed { node, path, stem });
                }
                None => changes.appeared.push(found),
            }
        }
        for Place { node, name, .. } in before.files {
            if self.files.get(node).is_some() {
                continue;
            }
            let is_there = fs_err::metadata(&name.path).is_ok_and(|it| Node::of(&it) == node);
            if is_there { changes.left.push(node) } else { changes.gone.push(node) }
        }
        changes.sort();
        changes
    }

    pub(super) fn files(&self) -> impl Iterator<Item = Found> {
        self.files.iter().map(|place| found(place.node, &place.name))
    }
}

/// Whether the number of a file has become that of a new one.
fn is_another(old: &Name, new: &Name) -> bool {
    old.birth.differs_from(new.birth)
}

fn found(node: Node, name: &Name) -> Found {
    Found {
        path: Arc::clone(&name.path),
        source: name.source,
        node,
        stem: Arc::clone(&name.stem),
        is_outside: name.is_outside,
        birth: name.birth,
    }
}

/// Keeps the better of two names and returns the source it is from.
fn keep_best(names: &mut Keyed<Place>, place: Place) -> SourceId {
    let best = names.get(place.node).filter(|best| best.name <= place.name);
    if let Some(best) = best {
        return best.name.source;
    }
    let source = place.name.source;
    names.insert(place);
    source
}

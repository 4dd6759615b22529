//! notify, as a hint: it may be late, silent or wrong, and nothing but speed is lost.
//!
//! notify 8.2 asks inotify for creation, removal, renames, data and rights, and also for open and
//! close-after-write, but not for reads: reading a watched file or folder wakes us only once, at
//! its opening, and that is dropped here. (notify 9, still a release candidate, can leave those
//! out in the kernel: `Config::with_event_kinds`.) A write is one hint each, so a folder that
//! floods is not watched for a while: dropping its hints here would still cost a wake each.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hashbrown::{HashMap, HashSet};
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{debug, warn};

use super::flood::Flood;
use super::seen::Node;
use crate::model::Now;

/// Most paths that are kept between two drains. Polling finds what is beyond.
const PATHS_MAX: usize = 16 * 1024;

/// What may have happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hint {
    /// A name came or went: `Scanner::changes` is worth a call.
    Look,
    /// The content of this path changed.
    Data(PathBuf),
    /// The same, and no more will be told of it for a while: its folder floods.
    Last(PathBuf),
}

/// Watches folders.
pub struct Hints {
    /// `None` where notify does not work at all.
    watcher: Option<RecommendedWatcher>,
    pending: Arc<Mutex<Pending>>,
    watched: HashMap<PathBuf, Node>,
    flood: Flood,
    /// Whether every folder of the last [`Hints::watch`] is watched.
    is_complete: bool,
    has_warned: bool,
}

impl Hints {
    /// Starts without folders. `told` is called on a thread of notify's for each thing that it
    /// tells, with whether that is the first one to drain. It may rest for some milliseconds: what
    /// comes meanwhile waits in the kernel, which merges hints that are equal.
    pub fn start(mut told: impl FnMut(bool) + Send + 'static) -> Self {
        let pending = Arc::new(Mutex::new(Pending::default()));
        let noted = Arc::clone(&pending);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_first = locked(&noted).note(event);
            told(is_first);
        });
        let mut hints = Self {
            watcher: None,
            pending,
            watched: HashMap::new(),
            flood: Flood::default(),
            is_complete: true,
            has_warned: false,
        };
        match watcher {
            Ok(watcher) => hints.watcher = Some(watcher),
            Err(err) => hints.warn(&err),
        }
        hints
    }

    /// Whether every folder is watched. If not, look more often.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.watcher.is_some() && self.is_complete
    }

    /// Watches exactly these folders, but for those that flood. Call it after each look: folders
    /// come, go and are replaced. Returns whether one was not watched before: what has happened
    /// there since the look is not told, so look again.
    pub fn watch<'a>(&mut self, folders: impl Iterator<Item = (&'a Path, Node)>, now: Now) -> bool {
        let folders: HashMap<&Path, Node> = folders.collect();
        let is_stale = |path: &Path, node: &Node| folders.get(path) != Some(node);
        let stale: Vec<PathBuf> = self
            .watched
            .extract_if(|path, node| is_stale(path, node))
            .map(|(path, _)| path)
            .collect();
        for path in stale {
            self.unwatch(&path);
        }
        self.flood.forget(now.mono);
        self.is_complete = true;
        let before = self.watched.len();
        for (path, node) in folders {
            if self.flood.is_flooded(path, now.mono) {
                self.is_complete = false;
            } else if !self.watched.contains_key(path)
                && let Err(err) = self.add(path, node)
            {
                self.is_complete = false;
                self.warn(&err);
                if matches!(err.kind, ErrorKind::MaxFilesWatch) {
                    break;
                }
            }
        }
        before < self.watched.len()
    }

    /// What may have happened since the last call: at most one [`Hint::Look`], and it comes first.
    pub fn drain(&mut self, now: Now) -> Vec<Hint> {
        let pending = std::mem::take(&mut *locked(&self.pending));
        for path in pending.lost {
            if self.watched.remove(&path).is_some() {
                self.unwatch(&path);
            }
        }
        let mut hints = Vec::new();
        if pending.look {
            hints.push(Hint::Look);
        }
        for (path, count) in pending.data {
            let folder = path.parent().unwrap_or(&path);
            if self.flood.note(folder, count, now.mono) {
                hints.push(Hint::Data(path));
                continue;
            }
            if self.watched.remove(folder).is_some() {
                debug!(folder = %folder.display(), "a folder changes so often that it is polled");
                self.unwatch(folder);
                self.is_complete = false;
            }
            hints.push(Hint::Last(path));
        }
        hints
    }

    fn add(&mut self, path: &Path, node: Node) -> notify::Result<()> {
        let Some(watcher) = &mut self.watcher else {
            self.is_complete = false;
            return Ok(());
        };
        match watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(path.to_owned(), node);
                Ok(())
            }
            // Gone since the look, or closed to us: then it was not read, either.
            Err(err) if is_out_of_reach(&err.kind) => Ok(()),
            Err(err) => Err(err),
        }
    }

    fn unwatch(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            // The kernel drops the watch of a folder that is removed: then there is none.
            drop(watcher.unwatch(path));
        }
    }

    fn warn(&mut self, err: &notify::Error) {
        if !std::mem::replace(&mut self.has_warned, true) {
            warn!(
                error = %err,
                "folders cannot be watched for changes and are polled, so new files are found \
                 later; raise `fs.inotify.max_user_watches` and `fs.inotify.max_user_instances`"
            );
        }
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}

fn is_out_of_reach(kind: &ErrorKind) -> bool {
    match kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(err) => err.kind() == io::ErrorKind::PermissionDenied,
        ErrorKind::Generic(_)
        | ErrorKind::WatchNotFound
        | ErrorKind::InvalidConfig(_)
        | ErrorKind::MaxFilesWatch => false,
    }
}

fn locked(pending: &Mutex<Pending>) -> MutexGuard<'_, Pending> {
    pending.lock().expect("BUG: a thread panicked while it held the hints")
}

/// What notify said since the last drain.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) look: bool,
    /// Paths and how often they changed.
    pub(super) data: HashMap<PathBuf, u64>,
    /// Names that went. A watched folder among them has lost its watch.
    pub(super) lost: HashSet<PathBuf>,
}

impl Pending {
    /// Returns whether this is the first thing since the last drain.
    pub(super) fn note(&mut self, told: notify::Result<notify::Event>) -> bool {
        let was_empty = !self.look && self.data.is_empty();
        match told {
            Ok(told) if told.need_rescan() => self.look = true,
            Ok(told) => match told.kind {
                EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => {}
                EventKind::Modify(ModifyKind::Data(_)) => self.note_data(told.paths),
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    self.look = true;
                    if self.lost.len() < PATHS_MAX {
                        self.lost.extend(told.paths);
                    }
                }
                EventKind::Create(_)
                | EventKind::Modify(ModifyKind::Name(_) | ModifyKind::Any | ModifyKind::Other)
                | EventKind::Any
                | EventKind::Other => self.look = true,
            },
            Err(_) => self.look = true,
        }
        was_empty && (self.look || !self.data.is_empty())
    }

    fn note_data(&mut self, paths: Vec<PathBuf>) {
        for path in paths {
            if let Some(count) = self.data.get_mut(&path) {
                *count += 1;
            } else if self.data.len() < PATHS_MAX {
                self.data.insert(path, 1);
            }
        }
    }
}

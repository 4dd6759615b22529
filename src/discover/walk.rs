//! One walk: the folders in which one glob can match.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use walkdir::{DirEntry, DirEntryExt, WalkDir};

use super::glob::{Excludes, Pattern};
use super::rotated;
use super::seen::{At, Name, Node, Seen};
use super::trouble::What;
use crate::model::SourceId;

/// What the globs of one source share.
#[derive(Debug)]
pub(super) struct Rules {
    /// Its place among the sources.
    pub(super) order: u16,
    pub(super) source: SourceId,
    pub(super) exclude: Excludes,
    /// Where links may lead: the roots of the source's globs and its `symlink_roots`.
    pub(super) link_roots: Vec<PathBuf>,
}

/// Looks for the matches of `pattern`.
pub(super) fn walk(pattern: &Pattern, rules: &Rules, seen: &mut Seen) {
    let start = (pattern.root.clone(), 0);
    let mut walk = Walk {
        pattern,
        rules,
        seen,
        link_roots: None,
        walked: HashSet::new(),
        todo: vec![start],
        depth: 0,
        targets: HashMap::new(),
    };
    while let Some((folder, depth)) = walk.todo.pop() {
        walk.depth = depth;
        walk.tree(&folder);
    }
    walk.behind_links();
}

struct Walk<'a> {
    pattern: &'a Pattern,
    rules: &'a Rules,
    seen: &'a mut Seen,
    /// The link roots without links in them, once a link was met.
    link_roots: Option<Vec<PathBuf>>,
    /// Starts of trees. A link into one of them again would be a loop.
    walked: HashSet<Node>,
    /// Trees to walk and their depths: the root, then the folders behind links.
    todo: Vec<(PathBuf, usize)>,
    /// Of the tree that is being walked. Only the root has 0: all others are behind a link.
    depth: usize,
    /// The files that links lead to, by folder and name, with the link: the older generations of
    /// a file are beside it, not beside the link.
    targets: HashMap<PathBuf, HashMap<OsString, Arc<Path>>>,
}

impl Walk<'_> {
    fn tree(&mut self, start: &Path) {
        let Some(node) = self.seen.folder(start) else { return };
        self.walked.insert(node);
        let depth_max = self.pattern.depth_max() - self.depth;
        let mut entries = WalkDir::new(start).min_depth(1).max_depth(depth_max).into_iter();
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {
                    if !self.enter(entry.path(), self.depth + entry.depth()) {
                        entries.skip_current_dir();
                    }
                }
                Ok(entry) => self.leaf(&entry, self.depth + entry.depth()),
                Err(err) => {
                    let path = err.path().unwrap_or(start).to_owned();
                    self.seen.failed(&path, &err.into());
                }
            }
        }
    }

    fn enter(&mut self, path: &Path, depth: usize) -> bool {
        let enters = self.may_enter(path, depth);
        if enters {
            self.seen.folder(path);
        } else if self.is_wanted(path) {
            self.seen.troubles.note(What::NotAFile, path, "a folder");
        }
        enters
    }

    fn leaf(&mut self, entry: &DirEntry, depth: usize) {
        let kind = entry.file_type();
        let path = entry.path();
        if kind.is_symlink() {
            self.link(path, entry.ino(), depth);
        } else if self.is_wanted(path) {
            if kind.is_file() {
                self.file(path, entry.ino(), self.stem_of(path, false), false);
            } else {
                self.seen.troubles.note(What::NotAFile, path, "a FIFO, socket or device");
            }
        } else if kind.is_file()
            && let Some(stem) = self.stem_of(path, true)
        {
            self.file(path, entry.ino(), Some(stem), true);
        }
    }

    /// Notes a file; `stem` is what it was rotated from, if its name says so.
    fn file(&mut self, path: &Path, listed: u64, stem: Option<Arc<Path>>, is_outside: bool) {
        let (path, At { node, birth }) = match self.seen.known(path, listed) {
            Some(known) => known,
            None => match fs_err::symlink_metadata(path) {
                Ok(metadata) if metadata.is_file() => {
                    let file = At::of(&metadata);
                    (self.seen.learn(path, listed, file), file)
                }
                // Replaced since the folder was read: the next scan meets it.
                Ok(_) => return,
                Err(err) => return self.seen.failed(path, &err),
            },
        };
        let stem = stem.unwrap_or_else(|| Arc::clone(&path));
        let &Rules { order, source, .. } = self.rules;
        let is_link = self.depth > 0;
        self.admit(node, Name { is_outside, order, source, is_link, path, stem, birth });
    }

    /// The path that the glob matches and that was rotated to `path`, if the name says so.
    fn stem_of(&self, path: &Path, inside: bool) -> Option<Arc<Path>> {
        let name = path.file_name()?;
        let mut stems = rotated::stems(name, inside).map(|stem| path.with_file_name(stem));
        let stem = stems.find(|stem| self.is_wanted(stem))?;
        let plain = path.with_file_name(rotated::uncompressed(name));
        (!self.rules.exclude.has_file(&plain)).then(|| stem.into())
    }

    /// Older generations of the files that links lead to.
    fn behind_links(&mut self) {
        for (folder, targets) in std::mem::take(&mut self.targets) {
            if self.seen.folder(&folder).is_none() {
                continue;
            }
            // What cannot be listed was noted with the folder.
            for entry in WalkDir::new(&folder).min_depth(1).max_depth(1).into_iter().flatten() {
                if !entry.file_type().is_file() {
                    continue;
                }
                let mut stems = rotated::stems(entry.file_name(), true);
                if let Some(link) = stems.find_map(|stem| targets.get(&stem).cloned()) {
                    self.file(entry.path(), entry.ino(), Some(link), true);
                }
            }
        }
    }

    fn link(&mut self, path: &Path, listed: u64, depth: usize) {
        let may_enter = self.may_enter(path, depth);
        let is_wanted = self.is_wanted(path);
        if !may_enter && !is_wanted {
            return;
        }
        let metadata = match fs_err::metadata(path) {
            Ok(metadata) => metadata,
            Err(err) => {
                // A dangling link is waited for.
                self.seen.links.insert(path.to_owned(), None);
                return self.seen.failed(path, &err);
            }
        };
        let file = At::of(&metadata);
        let node = file.node;
        self.seen.links.insert(path.to_owned(), Some(node));
        if metadata.is_dir() && may_enter {
            if !self.walked.contains(&node) && self.may_follow(path) {
                self.walked.insert(node);
                self.todo.push((path.to_owned(), depth));
            }
        } else if metadata.is_file() && is_wanted {
            self.linked_file(path, listed, file);
        } else if is_wanted {
            self.seen.troubles.note(What::NotAFile, path, "a link to something else");
        }
    }

    fn linked_file(&mut self, path: &Path, listed: u64, file: At) {
        let At { node, birth } = file;
        let path = match self.seen.known(path, listed) {
            Some((path, known)) if known.node == node => path,
            Some(_) | None if self.may_follow(path) => self.seen.learn(path, listed, file),
            Some(_) | None => return,
        };
        if let Ok(target) = fs_err::canonicalize(&path)
            && let (Some(folder), Some(name)) = (target.parent(), target.file_name())
        {
            let targets = self.targets.entry(folder.to_owned()).or_default();
            targets.insert(name.to_owned(), Arc::clone(&path));
        }
        let stem = self.stem_of(&path, false).unwrap_or_else(|| Arc::clone(&path));
        let &Rules { order, source, .. } = self.rules;
        let (is_outside, is_link) = (false, true);
        self.admit(node, Name { is_outside, order, source, is_link, path, stem, birth });
    }

    fn admit(&mut self, node: Node, name: Name) {
        let path = name.path.clone();
        if self.seen.admit(node, name).is_some() {
            let example = format!("such as {}", path.display());
            self.seen.troubles.note(What::Shared, Path::new(&self.pattern.text), example);
        }
    }

    fn may_enter(&self, path: &Path, depth: usize) -> bool {
        self.pattern.may_hold(path, depth) && !self.rules.exclude.has_folder(path)
    }

    fn is_wanted(&self, path: &Path) -> bool {
        self.pattern.is_match(path) && !self.rules.exclude.has_file(path)
    }

    /// Whether the target of a link is inside one of the folders that the operator named.
    fn may_follow(&mut self, path: &Path) -> bool {
        let target = match fs_err::canonicalize(path) {
            Ok(target) => target,
            Err(err) => {
                self.seen.failed(path, &err);
                return false;
            }
        };
        let roots = self.link_roots.get_or_insert_with(|| {
            let real = |root: &PathBuf| fs_err::canonicalize(root).ok();
            self.rules.link_roots.iter().filter_map(real).collect()
        });
        let is_inside = roots.iter().any(|root| target.starts_with(root));
        if !is_inside {
            self.seen.troubles.note(What::Outside, path, format!("to {}", target.display()));
        }
        is_inside
    }
}

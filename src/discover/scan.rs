//! The scanner: what is there, and what changed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;

use super::exact::is_exact;
use super::glob::{DiscoverError, Excludes, Pattern};
use super::seen::{Changes, Found, Node, Seen, Stamp};
use super::walk::{Rules, walk};
use crate::model::{Now, SourceId, UnixNanos};

/// All folders are read again after this time, even if none looks changed: some network file
/// systems keep no exact change times.
pub const WALK_AGE_MAX: Duration = Duration::from_secs(60);

/// The same where each folder is on a file system that does: for what nobody has thought of.
pub(super) const EXACT_AGE_MAX: Duration = Duration::from_secs(600);

/// A folder that changed less than this before it was read may have changed after it, too, with
/// the same time: the coarsest file systems count in steps of two seconds.
const CHANGE_TIME_STEP: Duration = Duration::from_secs(3);

/// A walk in which a folder changed is made again, so often at most: it may have met a file under
/// both names that a rotation gave it, or under none.
const WALKS_MAX: usize = 3;

/// The same where files are few, which costs little, in files met: a name that is met late is
/// read behind those that it was written before.
const MET_MAX: usize = 1000;

/// What to look for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Of two sources that match a file, the one that comes first has it.
    pub sources: Vec<SourceGlobs>,
}

/// The globs of one source.
#[derive(Debug, Clone)]
pub struct SourceGlobs {
    /// Which source.
    pub source: SourceId,
    /// Absolute globs; see [`super::check_glob`].
    pub globs: Vec<String>,
    /// Globs of files to leave out, beside [`super::DEFAULT_EXCLUDE`]: without a `/` they are
    /// about the name, with one about the whole path.
    pub exclude: Vec<String>,
    /// Folders, beside those of the globs, that links may lead into.
    pub symlink_roots: Vec<PathBuf>,
}

/// Finds files, and what changed since it last looked.
#[derive(Debug)]
pub struct Scanner {
    sources: Vec<(Rules, Vec<Pattern>)>,
    pub(super) seen: Seen,
    /// What was seen with the globs of before.
    before: Option<Seen>,
    walked: Option<Now>,
    /// Each folder of the last walk keeps exact change times.
    is_exact: bool,
    /// The last look was no walk.
    is_calm: bool,
}

impl Scanner {
    /// A scanner that has seen nothing yet.
    ///
    /// # Errors
    /// A glob cannot be used.
    pub fn new(options: &Options) -> Result<Self, DiscoverError> {
        let sources = (0..).zip(&options.sources).map(|(order, globs)| {
            let patterns: Vec<Pattern> =
                globs.globs.iter().map(|glob| Pattern::new(glob)).collect::<Result<_, _>>()?;
            let roots = patterns.iter().map(|pattern| pattern.root.clone());
            let link_roots = roots.chain(globs.symlink_roots.iter().cloned()).collect();
            let exclude = Excludes::new(&globs.exclude)?;
            Ok((Rules { order, source: globs.source, exclude, link_roots }, patterns))
        });
        Ok(Self {
            sources: sources.collect::<Result<_, _>>()?,
            seen: Seen::default(),
            before: None,
            walked: None,
            is_exact: false,
            is_calm: false,
        })
    }

    /// Goes on with the globs of `new`, which has not looked yet.
    pub fn adopt(&mut self, new: Self) {
        let old = std::mem::replace(self, new);
        self.before = old.before.or(Some(old.seen));
    }

    /// Looks, and says what changed since the last call. When no folder changed that costs one
    /// stat for each folder and each matching link, however many files are in them.
    pub fn changes(&mut self, now: Now) -> Changes {
        self.is_calm = self.is_unchanged(now);
        if self.is_calm {
            return Changes::default();
        }
        self.walked = Some(now);
        for walks in 1.. {
            self.seen.begin();
            for (rules, patterns) in &self.sources {
                for pattern in patterns {
                    walk(pattern, rules, &mut self.seen);
                }
            }
            let met = || walks * self.seen.files().count().max(MET_MAX / 20);
            let is_quiet = self.seen.folders.iter().all(is_as_it_was);
            if is_quiet || (WALKS_MAX <= walks && MET_MAX <= met()) {
                break;
            }
        }
        self.is_exact = self.has_exact_folders();
        let changes = self.seen.finish();
        match self.before.take() {
            Some(before) => self.seen.since(before),
            None => changes,
        }
    }

    /// Whether the last look found nothing changed, and notify tells of each change: then it is
    /// enough to look when it does. It tells nothing of a folder that is not there yet, or of what
    /// a link leads to.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        let has_links = !self.seen.links.is_empty();
        self.is_calm
            && self.is_exact
            && !has_links
            && self.seen.folders.values().all(Option::is_some)
    }

    /// How many folders a look asks for.
    #[must_use]
    pub fn folder_count(&self) -> usize {
        self.seen.folders.len()
    }

    fn has_exact_folders(&self) -> bool {
        let mut devices = HashMap::new();
        self.folders()
            .all(|(path, node)| *devices.entry(node.device).or_insert_with(|| is_exact(path)))
    }

    /// Every file of the last look, in no order.
    pub fn files(&self) -> impl Iterator<Item = Found> {
        self.seen.files()
    }

    /// The folders in which matches can be, for [`super::Hints::watch`].
    pub fn folders(&self) -> impl Iterator<Item = (&Path, Node)> {
        let folders = self.seen.folders.iter();
        folders.filter_map(|(path, stamp)| Some((path.as_path(), stamp.as_ref()?.node)))
    }

    /// What the last look met and could not use, as sentences. They are logged, too, once each.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.seen.troubles.texts()
    }

    fn is_unchanged(&self, now: Now) -> bool {
        let Some(walked) = self.walked else { return false };
        let is_folder_unchanged = |folder: (&PathBuf, &Option<Stamp>)| {
            folder.1.is_none_or(|stamp| is_settled(stamp, walked.wall)) && is_as_it_was(folder)
        };
        let age_max = if self.is_exact { EXACT_AGE_MAX } else { WALK_AGE_MAX };
        now.mono.saturating_sub(walked.mono) < age_max
            && self.seen.folders.iter().all(is_folder_unchanged)
            && self.seen.links.iter().all(|(path, before)| stamp(path).map(|at| at.node) == *before)
    }
}

fn is_as_it_was((path, before): (&PathBuf, &Option<Stamp>)) -> bool {
    stamp(path) == *before
}

fn stamp(path: &Path) -> Option<Stamp> {
    fs_err::metadata(path).ok().as_ref().map(Stamp::of)
}

fn is_settled(stamp: Stamp, walked: UnixNanos) -> bool {
    stamp.changed.plus(CHANGE_TIME_STEP) < walked
}

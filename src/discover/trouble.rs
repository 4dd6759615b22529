//! What a scan met and could not use: said once, kept for as long as it lasts.

use std::path::{Path, PathBuf};

use hashbrown::{HashMap, HashSet};
use tracing::warn;

/// New troubles of one scan that are logged one by one; the rest is only counted.
const LOGGED_MAX: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum What {
    Unreadable,
    NotAFile,
    Outside,
    Shared,
}

impl What {
    fn text(self) -> &'static str {
        match self {
            Self::Unreadable => "cannot be looked at; its files wait until it can",
            Self::NotAFile => "matches a glob, but is not a regular file; it is skipped",
            Self::Outside => {
                "is a link that leads out of the globs' folders; it is not followed unless \
                 `symlink_roots` has the folder of its target"
            }
            Self::Shared => {
                "matches files that another source has; each file is read once, by the first"
            }
        }
    }
}

/// The troubles of the last scan and of the one that is under way.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    last: HashSet<(What, PathBuf)>,
    current: HashMap<(What, PathBuf), String>,
}

impl Troubles {
    pub(super) fn note(&mut self, what: What, path: &Path, detail: impl ToString) {
        self.current.entry((what, path.to_owned())).or_insert_with(|| detail.to_string());
    }

    pub(super) fn begin(&mut self) {
        self.last = self.current.drain().map(|(key, _)| key).collect();
    }

    /// Logs what the last scan did not have.
    pub(super) fn log_new(&self) {
        let is_new = |key: &&(What, PathBuf)| !self.last.contains(*key);
        let mut new: Vec<_> = self.current.keys().filter(is_new).collect();
        new.sort();
        for key in new.iter().take(LOGGED_MAX) {
            let (what, path) = key;
            warn!(path = %path.display(), detail = self.current[*key], "{}", what.text());
        }
        if new.len() > LOGGED_MAX {
            warn!(paths = new.len() - LOGGED_MAX, "more paths cannot be used for such reasons");
        }
    }

    /// Each as a sentence, in order.
    pub(super) fn texts(&self) -> Vec<String> {
        let mut all: Vec<_> = self.current.iter().collect();
        all.sort();
        let text = |((what, path), detail): (&(What, PathBuf), &String)| {
            format!("{} {} ({detail})", path.display(), what.text())
        };
        all.into_iter().map(text).collect()
    }
}

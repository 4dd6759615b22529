//! Globs, taken apart so that a walk goes only where a match can be.
//!
//! The syntax is globset's: `?`, `*`, `[ab]`, `{a,b}`, and `**` as a whole component. No wildcard
//! but `**` matches a `/`; all match a leading dot.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// Names that are never read, whatever the glob: compressed content is not lines, and the others
/// are about to be renamed or removed.
pub const DEFAULT_EXCLUDE: [&str; 7] =
    ["*.gz", "*.bz2", "*.xz", "*.zst", "*.zip", "*.tmp", "*.swp"];

/// A glob that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// Globset does not understand it.
    #[error("glob `{glob}` is not valid: {}", source.kind())]
    Syntax {
        /// The glob.
        glob: String,
        /// Why.
        source: globset::Error,
    },
    /// It does not start with `/`.
    #[error("glob `{glob}` is not an absolute path")]
    Relative {
        /// The glob.
        glob: String,
    },
    /// It names the root folder.
    #[error("glob `{glob}` names no file")]
    NoName {
        /// The glob.
        glob: String,
    },
    /// All that it can match is in [`DEFAULT_EXCLUDE`].
    #[error("glob `{glob}` matches only compressed or temporary files, which are never read")]
    NeverRead {
        /// The glob.
        glob: String,
    },
}

/// Says what is wrong with a glob under `files`.
///
/// # Errors
/// It could not be given to `Scanner::new`.
pub fn check_glob(glob: &str) -> Result<(), DiscoverError> {
    Pattern::new(glob).map(drop)
}

/// Says what is wrong with a glob under `exclude`.
///
/// # Errors
/// It could not be given to `Scanner::new`.
pub fn check_exclude(glob: &str) -> Result<(), DiscoverError> {
    compile(glob).map(drop)
}

/// One glob of one source.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As it was given, without empty components.
    pub(super) text: String,
    /// The longest folder before the first wildcard.
    pub(super) root: PathBuf,
    matcher: GlobMatcher,
    /// What a folder one, two, … levels below `root` must match for a match to be in it.
    steps: Vec<GlobMatcher>,
    /// Whether matches can be anywhere below the last of `steps`.
    deep: bool,
}

impl Pattern {
    pub(super) fn new(glob: &str) -> Result<Self, DiscoverError> {
        if !glob.starts_with('/') {
            return Err(DiscoverError::Relative { glob: glob.to_owned() });
        }
        let names: Vec<&str> =
            glob.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let Some(last) = names.last() else {
            return Err(DiscoverError::NoName { glob: glob.to_owned() });
        };
        if Excludes::new(&[])?.names.is_match(last) {
            return Err(DiscoverError::NeverRead { glob: glob.to_owned() });
        }
        let matcher = compile(&prefix(&names))?;
        let literal = names[..names.len() - 1].iter().take_while(|name| is_literal(name)).count();
        let mut steps = Vec::new();
        let mut deep = last.contains("**");
        for end in literal + 1..names.len() {
            match compile(&prefix(&names[..end])) {
                Ok(step) if is_one_level(names[end - 1]) => steps.push(step),
                Ok(_) | Err(_) => {
                    deep = true;
                    break;
                }
            }
        }
        let root = prefix(&names[..literal]).into();
        Ok(Self { text: prefix(&names), root, matcher, steps, deep })
    }

    pub(super) fn is_match(&self, path: &Path) -> bool {
        self.matcher.is_match(path)
    }

    /// Whether a match can be inside the folder `path`, `depth` levels below the root.
    pub(super) fn may_hold(&self, path: &Path, depth: usize) -> bool {
        match self.steps.get(depth - 1) {
            Some(step) => step.is_match(path),
            None => self.deep,
        }
    }

    /// How many levels below the root a match can be.
    pub(super) fn depth_max(&self) -> usize {
        if self.deep { usize::MAX } else { self.steps.len() + 1 }
    }
}

/// What a source leaves out.
#[derive(Debug)]
pub(super) struct Excludes {
    /// Globs without `/` are about the name of a file.
    names: GlobSet,
    /// Globs with `/` are about the whole path.
    paths: GlobSet,
    /// Folders in which everything is left out: globs that end with `/**`.
    folders: GlobSet,
}

impl Excludes {
    pub(super) fn new(globs: &[String]) -> Result<Self, DiscoverError> {
        let (mut names, mut paths, mut folders) =
            (GlobSetBuilder::new(), GlobSetBuilder::new(), GlobSetBuilder::new());
        for glob in DEFAULT_EXCLUDE.into_iter().chain(globs.iter().map(String::as_str)) {
            let set = if glob.contains('/') { &mut paths } else { &mut names };
            set.add(compile(glob)?.glob().clone());
            if let Some(folder) = glob.strip_suffix("/**") {
                folders.add(compile(folder)?.glob().clone());
            }
        }
        let build = |set: GlobSetBuilder| {
            set.build().map_err(|source| DiscoverError::Syntax { glob: globs.join(", "), source })
        };
        Ok(Self { names: build(names)?, paths: build(paths)?, folders: build(folders)? })
    }

    pub(super) fn has_file(&self, path: &Path) -> bool {
        path.file_name().is_some_and(|name| self.names.is_match(name)) || self.paths.is_match(path)
    }

    pub(super) fn has_folder(&self, path: &Path) -> bool {
        self.folders.is_match(path)
    }
}

fn compile(glob: &str) -> Result<GlobMatcher, DiscoverError> {
    let mut builder = GlobBuilder::new(glob);
    let built = builder.literal_separator(true).backslash_escape(true).empty_alternates(true);
    match built.build() {
        Ok(built) => Ok(built.compile_matcher()),
        Err(source) => Err(DiscoverError::Syntax { glob: glob.to_owned(), source }),
    }
}

fn prefix(names: &[&str]) -> String {
    format!("/{}", names.join("/"))
}

fn is_literal(name: &str) -> bool {
    !name.contains(['*', '?', '[', ']', '{', '}', '\\'])
}

/// A brace or bracket that is closed in another component makes the levels uncertain.
fn is_one_level(name: &str) -> bool {
    let count = |wanted| name.matches(wanted).count();
    !name.contains("**") && count('{') == count('}') && count('[') == count(']')
}

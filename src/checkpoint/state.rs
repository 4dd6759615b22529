//! What a restart has to know.

use std::path::Path;
use std::sync::Arc;

use crate::model::{Fingerprint, Identity, Mark, UnixNanos};

/// Everything the agent remembers over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// One for each generation of a file that may still be read.
    pub files: Vec<SavedFile>,
    /// Labels that the guard has moved to structured metadata.
    pub demoted: Vec<Demoted>,
}

/// How far one file has been settled, and how to know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedFile {
    /// Its last known path, in whatever bytes the disk has it. Shared, as a save of 10,000 files
    /// should not copy them.
    pub path: Arc<Path>,
    /// The name that it shares with its other generations; as `path`, unless it was rotated.
    pub stem: Arc<Path>,
    /// The name of its source, because positions move when the configuration is edited.
    pub source: Arc<str>,
    /// Which file it is.
    pub identity: Identity,
    /// Hash of its first bytes: evidence that the inode still holds the same file.
    pub head: Fingerprint,
    /// Where reading starts again: everything before it is settled.
    pub mark: Mark,
    /// Its size when it was last looked at.
    pub size: u64,
    /// When the file was last seen on disk.
    pub seen: UnixNanos,
    /// Whether a successor has taken its name.
    pub rotated: bool,
    /// Its inode holds something else now: this is what was there before, to know a copy of it.
    pub former: bool,
}

/// A label of one source that had too many values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// The name of the source.
    pub source: String,
    /// The name of the label.
    pub label: String,
    /// The `guard.values_max` it went over: a higher setting gives the label another chance.
    pub values_max: u32,
}

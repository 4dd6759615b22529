//! What a reader is told of files, and what it tells.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::identity::{Kin, Resume};
use crate::model::{FileKey, FileOffset, Fingerprint, Identity, Mark, MaybeNanos, SourceId};

/// A file that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its name.
    pub path: Arc<Path>,
    /// The name that it shares with its other generations. Another one than `path`: the file was
    /// rotated, and nobody is expected to write to it for long.
    pub stem: Arc<Path>,
    /// Its device and inode number when it was found, if somebody has looked.
    pub inode: Option<(u64, u64)>,
    /// When it was made, if somebody has looked and the file system says so.
    pub birth: MaybeNanos,
    /// Its source.
    pub source: SourceId,
    /// Where to go on, if it is one of these; the first that fits.
    pub known: Vec<Resume>,
    /// Where to begin if it is none of them.
    pub begin: Begin,
    /// Its place among the generations of its stem: those of a lower rank are read first.
    pub rank: i64,
    /// It is opened at once, and read from this time since start on, or when it is
    /// [released](super::Reader::release).
    pub not_before: Duration,
}

/// Where to begin in a file that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At its first byte.
    Start,
    /// Behind its last line end.
    End,
    /// Nowhere: it is from before our time, and is only remembered.
    Never,
}

impl NewFile {
    /// A file of which nothing is known, to be read from its first byte.
    #[must_use]
    pub fn new(path: impl Into<Arc<Path>>, source: SourceId) -> Self {
        let path = path.into();
        let stem = Arc::clone(&path);
        let (inode, birth, known) = (None, MaybeNanos::NONE, Vec::new());
        let (begin, rank, not_before) = (Begin::Start, 0, Duration::ZERO);
        Self { path, stem, inode, birth, source, known, begin, rank, not_before }
    }

    /// What comes under this name is new, and read from its first byte.
    pub(super) fn not_there_before(self) -> Self {
        Self { begin: Begin::Start, ..self }
    }

    pub(super) fn is_rotated(&self) -> bool {
        self.path != self.stem
    }

    /// Whether its inode was that of a followed file.
    pub(super) fn was_known(&self) -> bool {
        self.known.first().is_some_and(|resume| matches!(resume.kin, Kin::Same { .. }))
    }
}

/// What happened to files, in order; for the registry, the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say what they are")]
pub enum News {
    /// A file is read from `start` on.
    Opened {
        file: FileKey,
        source: SourceId,
        path: Arc<Path>,
        stem: Arc<Path>,
        identity: Identity,
        start: Mark,
        size: u64,
        /// What it is to the file whose place was known.
        kin: Option<Kin>,
        /// It waits until an older generation is read to its end.
        waits: bool,
    },
    /// It has no whole line that was not read, or has to wait for an older generation.
    NoLine { file: FileKey },
    /// Its saved place did not fit its content: it is read from the beginning.
    NotResumed { path: Arc<Path>, saved: FileOffset },
    /// It shrank, or the bytes before the offset changed: `new` starts at 0.
    Truncated { old: FileKey, new: FileKey },
    /// So many bytes that were there at the last look are gone, unread.
    Lost { file: FileKey, bytes: u64, why: Loss },
    /// Deleted files hold more than they may: this one, the oldest, is given up.
    GivenUp { file: FileKey, bytes: u64, lines: u64 },
    /// So many bytes in a hole, or NULs next to one, are not taken for a line.
    Skipped { file: FileKey, bytes: u64 },
    /// The hash of its head covers more.
    Head { file: FileKey, head: Fingerprint },
    /// It has another name.
    Renamed { file: FileKey, path: Arc<Path> },
    /// It was renamed or deleted, and is read to its end.
    Rotated { file: FileKey },
    /// Its name came back.
    Unrotated { file: FileKey },
    /// It has no name anywhere: only we keep its bytes on disk.
    Deleted { file: FileKey },
    /// Its size when it was looked at.
    Size { file: FileKey, size: u64 },
    /// It cannot be read for the moment; a `Failed` says why.
    SetAside { file: FileKey },
    /// It can be read again.
    Back { file: FileKey, gone: bool },
    /// It was read to its end and closed.
    Closed { file: FileKey },
    /// It could not be opened, looked at or read; it is tried again.
    Failed { path: Arc<Path>, error: String, kind: io::ErrorKind },
    /// It is not a regular file, or became another one before it was opened; it is left alone.
    Refused { path: Arc<Path> },
}

/// Why bytes were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The file was truncated, and no copy of it was found.
    Truncated,
    /// The file went while it was closed for want of descriptors.
    Vanished,
}

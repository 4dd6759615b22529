//! One open file and what is known of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::{FileKey, FileOffset, Fingerprint, Identity, Mark, SourceId};

/// Where a file is in its life; the table is in the room's front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Following,
    Gone,
    SetAside { gone: bool, tries: u32 },
}

/// An open file.
#[derive(Debug)]
pub(super) struct Tracked<H> {
    pub(super) handle: H,
    pub(super) key: FileKey,
    pub(super) source: SourceId,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    pub(super) head: Fingerprint,
    pub(super) state: State,
    /// Everything before this was handed out as lines.
    pub(super) read: Mark,
    /// Bytes behind `read` that were seen and hold no newline.
    pub(super) partial: u64,
    /// The size when last looked at. May be smaller than what was read since.
    pub(super) size: u64,
    /// When the file last grew or was opened.
    pub(super) grew_at: Duration,
    /// When to look at its size again.
    pub(super) look_at: Duration,
    /// It is in the queue of files to read.
    pub(super) queued: bool,
    /// The generation that had this path before and is to be read to its end first.
    pub(super) behind: Option<(usize, FileKey)>,
}

impl<H> Tracked<H> {
    /// The end of what was seen.
    pub(super) fn seen(&self) -> FileOffset {
        FileOffset(self.read.offset.0 + self.partial)
    }

    pub(super) fn has_unseen(&self) -> bool {
        self.seen().0 < self.size
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone | State::SetAside { gone: true, .. })
    }
}

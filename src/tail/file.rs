//! One followed file and what is known of it.

use std::path::Path;
use std::sync::Arc;

use super::identity::Trail;
use super::news::NewFile;
use crate::model::{FileKey, FileOffset, Fingerprint, Identity, Mark, Moment, SourceId, UnixNanos};

/// The first place of a file that is remembered beside its head, in bytes; each further one is this
/// many times further on.
const TRAIL_START: u64 = 2048;
const TRAIL_STEP: u64 = 4;

/// Where a file is in its life; the table is in the room's front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Following,
    Gone,
    SetAside { gone: bool, tries: u32 },
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Tracked<H> {
    /// `None` while it is dormant: closed to spare a descriptor, and opened again by its path when
    /// it has changed.
    pub(super) handle: Option<H>,
    pub(super) key: FileKey,
    pub(super) source: SourceId,
    pub(super) path: Arc<Path>,
    /// The name that it shares with its other generations.
    pub(super) stem: Arc<Path>,
    pub(super) identity: Identity,
    pub(super) head: Fingerprint,
    pub(super) state: State,
    /// It can be opened by `path`.
    pub(super) is_named: bool,
    /// It has no name anywhere: its bytes are kept on disk by our descriptor.
    pub(super) is_deleted: bool,
    /// Everything before this was handed out as lines.
    pub(super) read: Mark,
    /// Bytes behind `read` that were seen and hold no newline.
    pub(super) partial: u64,
    /// The size when last looked at. May be smaller than what was read since.
    pub(super) size: u64,
    /// What `size` was before it last changed.
    pub(super) size_before: u64,
    /// When its content was last changed, as of the last look.
    pub(super) modified: UnixNanos,
    /// When the file last grew or was opened.
    pub(super) grew_at: Moment,
    /// Not read before this: a copy of what was here before may turn up, and goes first.
    pub(super) not_before: Moment,
    /// It grew lately, as of the last look.
    pub(super) is_busy: bool,
    /// How often only its size was looked at since the last look.
    pub(super) glances: u8,
    /// There may be others of its stem.
    pub(super) has_kin: bool,
    /// It is in the queue of files to read.
    pub(super) is_queued: bool,
    /// Its place among the generations of its stem, the oldest first.
    pub(super) rank: (i64, FileKey),
    /// Hashes before some offsets, ever further apart, to know a copy of the file.
    pub(super) trail: Trail,
}

impl<H> Tracked<H> {
    /// The end of what was seen.
    pub(super) fn seen(&self) -> FileOffset {
        FileOffset(self.read.offset.0 + self.partial)
    }

    pub(super) fn has_unseen(&self) -> bool {
        self.seen().0 < self.size
    }

    /// Bytes that were there at the last look and were not read.
    pub(super) fn unread(&self) -> u64 {
        self.size.saturating_sub(self.read.offset.0)
    }

    /// The descriptor of a file that was woken.
    pub(super) fn open(&self) -> &H {
        self.handle.as_ref().expect("BUG: a file that was woken is open")
    }

    /// What may come under the name of a file that is gone.
    pub(super) fn successor(&self) -> NewFile {
        let (path, stem) = (Arc::clone(&self.path), Arc::clone(&self.stem));
        NewFile { stem, rank: self.rank.0, ..NewFile::new(path, self.source) }
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone | State::SetAside { gone: true, .. })
    }

    /// The file was read up to `mark`.
    pub(super) fn read_to(&mut self, mark: Mark) {
        self.read = mark;
        let due = self.trail.last().map_or(TRAIL_START, |(at, _)| TRAIL_STEP * at.0);
        if due <= mark.offset.0 {
            let trail = std::mem::take(&mut self.trail).into_iter();
            self.trail = trail.chain([(mark.offset, mark.tail)]).collect();
        }
    }
}

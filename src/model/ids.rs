//! Numbers with types: which file, where in it, and what must be remembered there.

use std::fmt;

use super::MaybeNanos;

/// A position in one file, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileOffset(pub u64);

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One generation of one file, unique in the life of the process. A truncated file gets a new
/// key, because its offsets start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey(pub u64);

/// A source of the configuration, by its position in `sources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u16);

/// A tenant of Loki, by its place in the agent's list of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TenantId(pub u16);

impl TenantId {
    /// The first `count` tenants.
    ///
    /// # Panics
    /// If there are more than `u16` has room for.
    pub fn first(count: usize) -> impl Iterator<Item = Self> + use<> {
        (0..count).map(|idx| Self(u16::try_from(idx).expect("BUG: many tenants")))
    }

    /// Its place in lists by tenant.
    #[must_use]
    pub fn idx(self) -> usize {
        usize::from(self.0)
    }
}

/// A hash (xxh3, 64 bits) of `len` bytes at a place that the owner knows: a file's head, or the
/// bytes before an offset. A `len` of 0 says nothing and equals any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint {
    /// How many bytes were hashed.
    pub len: u16,
    /// The hash of those bytes; 0 when `len` is 0.
    pub hash: u64,
}

/// What the time of the next line depends on: the file's last raw stamp and how often it has been
/// repeated. Lines with the stamp of the line before get +1 ns each, so that they stay distinct
/// and in order; a replay that starts from the same `Stamp` repeats the same times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// The last stamp as the file had it; none before any line.
    pub last_raw: MaybeNanos,
    /// Nanoseconds added to `last_raw` for the last line.
    pub repeats: u32,
}

/// Where the first part lies of each output's line that has not ended, without an `Option`'s tag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HeldAt([u64; OUTPUTS]);

impl HeldAt {
    /// Where it lies; `None` of an output without such a line.
    #[must_use]
    pub fn offsets(self) -> [Option<FileOffset>; OUTPUTS] {
        self.0.map(|at| (at != u64::MAX).then_some(FileOffset(at)))
    }
}

impl From<[Option<FileOffset>; OUTPUTS]> for HeldAt {
    fn from(offsets: [Option<FileOffset>; OUTPUTS]) -> Self {
        Self(offsets.map(|at| at.map_or(u64::MAX, |at| at.0)))
    }
}

impl Default for HeldAt {
    fn default() -> Self {
        [None; OUTPUTS].into()
    }
}

impl fmt::Debug for HeldAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.offsets().fmt(f)
    }
}

/// A place in a file where reading can start again, with all that a start there needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// The first byte that is not covered.
    pub offset: FileOffset,
    /// The line time state at `offset`.
    pub stamp: Stamp,
    /// Hash of the bytes just before `offset`: evidence that the file is still the same.
    pub tail: Fingerprint,
    /// Where the first part lies of each output's line that has not ended. It lies before
    /// `offset` and is not covered: from there on, a start collects that output's parts and passes
    /// over all else. 0 also when the line began in the generation before.
    pub held: HeldAt,
}

/// What a container runtime splits a service's output by: 0 is stdout, 1 is stderr.
pub const OUTPUTS: usize = 2;

impl Mark {
    /// Where a start at this mark has to read from.
    #[must_use]
    pub fn read_from(&self) -> FileOffset {
        self.held.offsets().into_iter().flatten().fold(self.offset, FileOffset::min)
    }
}

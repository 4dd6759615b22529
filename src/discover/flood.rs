//! Which folders have so many changes that asking is cheaper than being told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;

/// A folder with more hints than this within a second floods.
const HINTS_PER_SECOND_MAX: u64 = 1000;

/// All folders together may have so many; beyond, those that have hints then flood, most likely the
/// busiest, until so few are left.
const ALL_PER_SECOND_MAX: u64 = 6000;
const LEFT_PER_SECOND_MAX: u64 = 1000;

/// What a folder that floods for this reason is taken to have had within a second: so many hints
/// later it is seen whether that was enough.
const SHARE: u64 = 50;

/// How long a folder that flooded is polled before it is watched again: at first, and at most when
/// it floods again and again.
const POLLED: Duration = Duration::from_secs(30);
const POLLED_MAX: Duration = Duration::from_secs(600);

/// Hints that have not drained yet, at a time. What fills it within a second drains in one.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    level: u64,
    at: Duration,
}

impl Bucket {
    /// Adds hints that have come since the last ones. Returns whether more are in it than fit.
    fn add(&mut self, hints: u64, max: u64, now: Duration) -> bool {
        let millis = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        let level = (self.level + hints).saturating_sub(millis.saturating_mul(max) / 1000);
        *self = Self { level, at: now };
        max < level
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Folder {
    bucket: Bucket,
    /// It is polled until then.
    until: Duration,
    /// For so long, the last time.
    polled: Duration,
}

/// A leaky bucket for each folder that had hints lately, and one for all.
#[derive(Debug, Default)]
pub(super) struct Flood {
    folders: HashMap<PathBuf, Folder>,
    all: Bucket,
    /// All folders together had too many: until then, few are left.
    few_until: Duration,
}

impl Flood {
    /// Counts hints for a path in `folder`. Returns whether the folder is calm.
    pub(super) fn note(&mut self, folder: &Path, hints: u64, now: Duration) -> bool {
        if !self.folders.contains_key(folder) {
            let bucket = Bucket { level: 0, at: now };
            self.folders.insert(folder.to_owned(), Folder { bucket, ..Folder::default() });
        }
        let Some(state) = self.folders.get_mut(folder) else { return true };
        if now < state.until {
            return false;
        }
        let is_full = state.bucket.add(hints, HINTS_PER_SECOND_MAX, now);
        let are_few = now < self.few_until;
        let max = if are_few { LEFT_PER_SECOND_MAX } else { ALL_PER_SECOND_MAX };
        let are_many = self.all.add(hints, max, now);
        if !(are_many || is_full) {
            return true;
        }
        self.all.level = self.all.level.saturating_sub(state.bucket.level.max(SHARE));
        let is_again = now < state.until + state.polled;
        let polled = if is_again { (2 * state.polled).min(POLLED_MAX) } else { POLLED };
        let bucket = Bucket { level: 0, at: now + polled };
        *state = Folder { bucket, until: now + polled, polled };
        if are_many {
            self.few_until = state.until;
        }
        false
    }

    /// Whether `folder` should be polled.
    pub(super) fn is_flooded(&self, folder: &Path, now: Duration) -> bool {
        self.folders.get(folder).is_some_and(|folder| now < folder.until)
    }

    /// Forgets folders without a past.
    pub(super) fn forget(&mut self, now: Duration) {
        self.folders.retain(|_, folder| {
            folder.bucket.add(0, HINTS_PER_SECOND_MAX, now.max(folder.bucket.at));
            folder.bucket.level != 0 || now < folder.until + folder.polled
        });
    }
}

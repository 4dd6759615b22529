//! Files that grow fast and of which no hint tells: their folder floods, or cannot be watched. They
//! are looked at many times a second, so that a line does not wait for the look of each second.

use std::time::Duration;

use super::file::{State, Tracked};
use super::reader::Reader;
use crate::model::{FileKey, Files, Now};

/// A file is hot that grows by so much between two looks a second apart: twenty looks in their place
/// bring some 3 KiB each, and cost little beside their lines.
pub(super) const HOT_BYTES: u64 = 64 * 1024;

/// Most files that are hot at a time: at 50 ms each, 640 looks a second.
const HOT_MAX: usize = 32;

/// How long a hot file may take to grow by [`HOT_BYTES`] again.
const HOT_FOR: Duration = Duration::from_secs(1);

/// A file that is hot.
#[derive(Debug)]
pub(super) struct Hot {
    idx: usize,
    file: FileKey,
    /// Its size when it was last found to be hot.
    from: u64,
    /// When that is asked again.
    until: Duration,
}

impl<H> Reader<H> {
    /// The file in `slots[idx]` has grown much, and no hint said so.
    pub(super) fn heat(&mut self, idx: usize, now: Now) {
        let Some(file) = self.slots[idx].as_ref() else { return };
        let (key, from, until) = (file.key, file.size, now.mono + HOT_FOR);
        if self.hot.len() < HOT_MAX && self.hot.iter().all(|hot| hot.file != key) {
            self.hot.push(Hot { idx, file: key, from, until });
            self.look_hot_at = self.look_hot_at.min(now.mono + self.options.look_hot);
        }
    }

    /// Looks at the sizes of hot files. Everything else about them is for the look of each second.
    pub(super) fn look_at_hot<D: Files<File = H>>(&mut self, now: Now, files: &mut D) {
        let mut hot = std::mem::take(&mut self.hot);
        hot.retain_mut(|hot| self.is_hot_still(hot, now, files));
        let next = if hot.is_empty() { Duration::MAX } else { now.mono + self.options.look_hot };
        (self.hot, self.look_hot_at) = (hot, next);
    }

    fn is_hot_still<D: Files<File = H>>(&mut self, hot: &mut Hot, now: Now, files: &mut D) -> bool {
        let is_it = |file: &&Tracked<H>| {
            file.key == hot.file
                && file.state == State::Following
                && file.not_before.mono() <= now.mono
        };
        let Some(file) = self.slots[hot.idx].as_deref().filter(is_it) else { return false };
        // What fails here fails again at the next look, which says so.
        let Some(Ok(size)) = file.handle.as_ref().map(|handle| files.size(handle)) else {
            return false;
        };
        if !file.has_unseen() && file.size < size {
            self.grew(hot.idx, size, now);
        }
        if hot.until <= now.mono {
            let grown = size.saturating_sub(hot.from);
            (hot.from, hot.until) = (size, now.mono + HOT_FOR);
            return HOT_BYTES <= grown;
        }
        true
    }
}

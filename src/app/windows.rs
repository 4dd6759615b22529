//! Keeps the files of a source in step, in line time.
//!
//! Loki refuses what is more than an hour behind the newest line of its stream, and the files of
//! a source share streams. So no file is read more than [`LEAD_MAX`] ahead of the slowest one
//! that has unread data; the slowest may always be read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Mutex, MutexGuard};

use hashbrown::HashMap;

use crate::model::{FileKey, LEAD_MAX, SourceId, UnixNanos};

/// The limit while a file is on its way to its reader: nobody goes on.
pub(super) const CLOSED: UnixNanos = UnixNanos(i64::MIN);

/// A table of more files gives its memory back.
const FILES_MANY: usize = 1000;

/// Where the files of all sources are, shared by the readers and asked once a chunk.
#[derive(Debug)]
pub struct Windows(Mutex<Vec<Window>>);

#[derive(Debug, Default)]
struct Window {
    /// The time each file with unread data is at.
    times: HashMap<FileKey, UnixNanos>,
    /// How many are at each time: after a start all are at the same.
    counts: BTreeMap<UnixNanos, usize>,
    /// Files on their way to a reader, which may be the slowest.
    expected: usize,
}

impl Windows {
    /// Windows for so many sources.
    #[must_use]
    pub fn new(sources: usize) -> Self {
        Self(Mutex::new((0..sources).map(|_| Window::default()).collect()))
    }

    /// There are so many sources now.
    pub(super) fn grow(&self, sources: usize) {
        let mut all = self.all();
        let sources = sources.max(all.len());
        all.resize_with(sources, Window::default);
    }

    /// A file was found and is on its way to its reader: until [`Windows::arrived`] it may hold
    /// anything, so nobody goes on.
    pub fn expect(&self, source: SourceId) {
        of(&mut self.all(), source).expected += 1;
    }

    /// A file is with its reader, which has said with [`Windows::at`] if it has unread data.
    pub fn arrived(&self, source: SourceId) {
        let mut all = self.all();
        let window = of(&mut all, source);
        window.expected = window.expected.saturating_sub(1);
    }

    /// The latest line time that `file` may be read to, or `CLOSED`.
    #[must_use]
    pub fn limit(&self, source: SourceId, file: FileKey) -> UnixNanos {
        let mut all = self.all();
        let window = of(&mut all, source);
        if window.expected != 0 {
            return CLOSED;
        }
        window.slowest_but(file).map_or(UnixNanos(i64::MAX), |time| time.plus(LEAD_MAX))
    }

    /// `file` has unread data, and its next line is not before `time`; `None` when not a line of
    /// it was looked at.
    pub fn at(&self, source: SourceId, file: FileKey, time: Option<UnixNanos>) {
        let time = time.unwrap_or(UnixNanos(i64::MIN));
        let mut all = self.all();
        let window = of(&mut all, source);
        if let Some(before) = window.times.insert(file, time) {
            window.leave(before);
        }
        *window.counts.entry(time).or_default() += 1;
    }

    /// `file` has no unread data: nobody waits for it.
    pub fn done(&self, source: SourceId, file: FileKey) {
        of(&mut self.all(), source).done(file);
    }

    /// `file` is closed, or cannot be read.
    pub fn forget(&self, file: FileKey) {
        self.all().iter_mut().for_each(|window| window.done(file));
    }

    fn all(&self) -> MutexGuard<'_, Vec<Window>> {
        self.0.lock().expect("BUG: a thread panicked while it held the windows")
    }
}

fn of(all: &mut [Window], source: SourceId) -> &mut Window {
    &mut all[usize::from(source.0)]
}

impl Window {
    /// The time that the slowest of the other files is at.
    fn slowest_but(&self, file: FileKey) -> Option<UnixNanos> {
        let own = self.times.get(&file);
        let is_another = |(time, files): &(&UnixNanos, &usize)| Some(*time) != own || 1 < **files;
        self.counts.iter().find(is_another).map(|(time, _)| *time)
    }

    /// A file is no more at this time.
    fn leave(&mut self, time: UnixNanos) {
        if let Entry::Occupied(mut files) = self.counts.entry(time) {
            *files.get_mut() -= 1;
            if *files.get() == 0 {
                files.remove();
            }
        }
    }

    fn done(&mut self, file: FileKey) {
        if let Some(before) = self.times.remove(&file) {
            self.leave(before);
        }
        // Thousands of files had unread data at once, and most of them have none now.
        if FILES_MANY < self.times.capacity() && 8 * self.times.len() < self.times.capacity() {
            self.times.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Many files are at the same time after a start, and one of them goes on first.
        #[test]
        fn the_slowest_of_the_others_limits_a_file(
            steps in prop::collection::vec((0u64..4, prop::option::of(0i64..3)), 1..60),
        ) {
            let (windows, source, mut times) = (Windows::new(1), SourceId(0), BTreeMap::new());
            for (file, time) in steps {
                if let Some(time) = time.map(UnixNanos) {
                    windows.at(source, FileKey(file), Some(time));
                    times.insert(file, time);
                } else {
                    windows.done(source, FileKey(file));
                    times.remove(&file);
                }
                for file in 0..4 {
                    let others = times.iter().filter(|(other, _)| **other != file);
                    let slowest = others.map(|(_, time)| time.plus(LEAD_MAX)).min();
                    let limit = windows.limit(source, FileKey(file));
                    prop_assert_eq!(limit, slowest.unwrap_or(UnixNanos(i64::MAX)));
                }
            }
        }
    }

    #[test]
    fn nobody_leads_by_more_than_half_an_hour() {
        let windows = Windows::new(1);
        let (source, a, b) = (SourceId(0), FileKey(1), FileKey(2));
        assert_eq!(windows.limit(source, a), UnixNanos(i64::MAX));
        windows.at(source, a, None);
        assert_eq!(windows.limit(source, a), UnixNanos(i64::MAX), "the slowest may always go on");
        assert!(windows.limit(source, b) < UnixNanos(0), "until the other one's time is known");
        windows.at(source, a, Some(UnixNanos(100)));
        assert_eq!(windows.limit(source, b), UnixNanos(100).plus(LEAD_MAX));
        windows.done(source, a);
        assert_eq!(windows.limit(source, b), UnixNanos(i64::MAX));
        windows.expect(source);
        windows.expect(source);
        windows.arrived(source);
        assert_eq!(windows.limit(source, b), UnixNanos(i64::MIN), "one is still on its way");
        windows.arrived(source);
        assert_eq!(windows.limit(source, b), UnixNanos(i64::MAX));
    }
}

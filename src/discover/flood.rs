//! Which folders have so many changes that asking is cheaper than being told.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hashbrown::HashMap;

/// A folder with more hints than this within a second floods. It is also what drains from
/// [`State::Calm`]: one a millisecond.
const HINTS_PER_SECOND_MAX: u64 = 1000;

/// How long a folder that flooded is polled before it is watched again.
const POLLED: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum State {
    /// Hints that have not drained yet, at a time.
    Calm { level: u64, at: Duration },
    /// Polled until then.
    Flooded { until: Duration },
}

/// A leaky bucket for each folder that had hints lately.
#[derive(Debug, Default)]
pub(super) struct Flood {
    folders: HashMap<PathBuf, State>,
}

impl Flood {
    /// Counts hints for a path in `folder`. Returns whether the folder is calm.
    pub(super) fn note(&mut self, folder: &Path, hints: u64, now: Duration) -> bool {
        let state = match self.folders.get(folder) {
            Some(&State::Flooded { until }) if now < until => return false,
            Some(&State::Calm { level, at }) => calm(level + hints, at, now),
            Some(State::Flooded { .. }) | None => calm(hints, now, now),
        };
        self.folders.insert(folder.to_owned(), state);
        matches!(state, State::Calm { .. })
    }

    /// Whether `folder` should be polled.
    pub(super) fn is_flooded(&self, folder: &Path, now: Duration) -> bool {
        matches!(self.folders.get(folder), Some(&State::Flooded { until }) if now < until)
    }

    /// Forgets folders without a past.
    pub(super) fn forget(&mut self, now: Duration) {
        self.folders.retain(|_, state| match *state {
            State::Calm { level, at } => {
                matches!(calm(level, at, now), State::Calm { level: 1.., .. })
            }
            State::Flooded { until } => now < until,
        });
    }
}

fn calm(level: u64, at: Duration, now: Duration) -> State {
    let drained = u64::try_from(now.saturating_sub(at).as_millis()).unwrap_or(u64::MAX);
    let level = level.saturating_sub(drained);
    if level > HINTS_PER_SECOND_MAX {
        State::Flooded { until: now + POLLED }
    } else {
        State::Calm { level, at: now }
    }
}

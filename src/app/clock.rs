//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::{Now, UnixNanos};

/// Both clocks, from the moment the process built this.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts the monotonic clock at 0.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall = UnixNanos(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX));
        Now { mono: self.started.elapsed(), wall }
    }

    /// The instant that `mono` of this clock stands for.
    #[must_use]
    pub fn instant(&self, mono: Duration) -> Instant {
        self.started + mono
    }
}

//! The rate limit on what leaves for Loki.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::model::PUSH_BYTES_MAX;

/// One cell of the bucket, in bytes: large enough that whole nanoseconds a cell stay exact at
/// any rate a network has.
const CELL_BYTES: usize = 1024;

/// The bucket holds the largest push, which snappy may make a sixth larger: a push above the
/// burst could never leave.
const BURST_CELLS: u32 = 3600;
const _: () = assert!(PUSH_BYTES_MAX + PUSH_BYTES_MAX / 6 + 32 < 3600 * CELL_BYTES);

/// A token bucket (GCRA) on bytes, driven by the time it is given.
#[derive(Debug)]
pub(super) struct Limiter {
    bucket: Option<Bucket>,
    clock: FakeRelativeClock,
    /// What `clock` shows.
    shown: Duration,
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, FakeRelativeClock, NoOpMiddleware<Nanos>>;
type Nanos = <FakeRelativeClock as governor::clock::Clock>::Instant;

impl Limiter {
    /// `bytes_per_second` on average, after a burst of one largest push; 0 is no limit.
    pub(super) fn new(bytes_per_second: u64) -> Self {
        let clock = FakeRelativeClock::default();
        let bucket = (bytes_per_second != 0).then(|| {
            let cell_nanos = (CELL_BYTES as u64 * 1_000_000_000 / bytes_per_second).max(1);
            let burst = NonZeroU32::new(BURST_CELLS).expect("BUG: a burst of nothing");
            let quota = Quota::with_period(Duration::from_nanos(cell_nanos))
                .expect("BUG: a cell that takes no time")
                .allow_burst(burst);
            RateLimiter::direct_with_clock(quota, clock.clone())
        });
        Self { bucket, clock, shown: Duration::ZERO }
    }

    /// Takes `bytes`, or says at which time to ask again.
    pub(super) fn take(&mut self, bytes: usize, now: Duration) -> Result<(), Duration> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        self.clock.advance(now.saturating_sub(self.shown));
        self.shown = self.shown.max(now);
        let cells = u32::try_from(bytes.div_ceil(CELL_BYTES)).unwrap_or(BURST_CELLS);
        // A single entry larger than any push should be is let through for a full bucket.
        let cells = NonZeroU32::new(cells.clamp(1, BURST_CELLS)).expect("BUG: clamped");
        let answer = bucket.check_n(cells).expect("BUG: more cells than the burst");
        answer.map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            self.shown + wait.max(Duration::from_nanos(1))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_limit_never_waits() {
        let mut limiter = Limiter::new(0);
        for _ in 0..100 {
            assert_eq!(limiter.take(usize::MAX, Duration::ZERO), Ok(()));
        }
    }

    proptest! {
        /// Whoever asks again when told to gets through, and what got through keeps the rate.
        #[test]
        fn the_rate_is_kept(
            rate in 100_u64..100_000_000,
            pushes in prop::collection::vec(1_usize..3_000_000, 1..50),
        ) {
            let mut limiter = Limiter::new(rate);
            let (mut now, mut cells) = (Duration::ZERO, 0);
            for bytes in pushes {
                if let Err(until) = limiter.take(bytes, now) {
                    prop_assert!(now < until);
                    now = until;
                    prop_assert_eq!(limiter.take(bytes, now), Ok(()), "at the time it named");
                }
                cells += bytes.div_ceil(CELL_BYTES);
                let after_burst = cells.saturating_sub(BURST_CELLS as usize + 1) * CELL_BYTES;
                let allowed = now.as_secs_f64() * rate as f64;
                prop_assert!(after_burst as f64 <= allowed * 1.001 + 1024.0);
            }
        }
    }
}

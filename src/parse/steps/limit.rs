//! No more than some lines a second.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, FakeRelativeClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::model::Now;
use crate::parse::rule::Limit;

/// Most values that have a pace of their own; those beyond share one.
const VALUES_MAX: usize = 10_000;

/// How often the values that were quiet are looked for when there are so many.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// How long a line may wait for its next try. So much of the pace comes at once, or waiting would
/// be slower than the pace.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// The key of all lines together, and of the values that are too many.
const TOGETHER: u64 = 0;

type Nanos = <FakeRelativeClock as Clock>::Instant;
type Buckets = RateLimiter<u64, HashMapStateStore<u64>, FakeRelativeClock, NoOpMiddleware<Nanos>>;

/// The state of one limit: token buckets (GCRA), driven by the time they are given. The threads
/// that read the source share it.
#[derive(Debug)]
pub(in crate::parse) struct Pace {
    buckets: Buckets,
    clock: FakeRelativeClock,
    /// What `clock` shows, in nanoseconds since start.
    shown: AtomicU64,
    /// When what is full again may be forgotten, if there is too much.
    forget_at: AtomicU64,
}

impl Pace {
    pub(in crate::parse) fn new(limit: &Limit) -> Self {
        let clock = FakeRelativeClock::default();
        let cell = Duration::from_secs_f64(limit.lines_per_second.recip());
        let cell = cell.max(Duration::from_nanos(1));
        let waiting = if limit.wait { WAIT_MAX.as_nanos() / cell.as_nanos() } else { 0 };
        let burst = limit.burst.max(u32::try_from(waiting).unwrap_or(u32::MAX));
        let quota = Quota::with_period(cell)
            .expect("BUG: a line that takes no time")
            .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let buckets = RateLimiter::hashmap_with_clock(quota, clock.clone());
        Self { buckets, clock, shown: AtomicU64::new(0), forget_at: AtomicU64::new(0) }
    }

    /// Takes a line with the hash `key` of its value, or says at which time to ask again. `paid` is
    /// the key of a line that was let through and comes again, because there was no room for it: it
    /// does not pay twice.
    pub(super) fn take(
        &self,
        key: Option<u64>,
        paid: &mut Option<u64>,
        now: Now,
    ) -> Result<(), Duration> {
        let mut key = key.unwrap_or(TOGETHER);
        if *paid == Some(key) {
            return Ok(());
        }
        let shown = self.show(now);
        if VALUES_MAX <= self.buckets.len() {
            self.forget(shown);
            if VALUES_MAX <= self.buckets.len() {
                key = TOGETHER;
            }
        }
        match self.buckets.check_key(&key) {
            Ok(()) => {
                *paid = Some(key);
                Ok(())
            }
            Err(refused) => {
                let wait = refused.wait_time_from(self.clock.now());
                Err(shown + wait.max(Duration::from_nanos(1)))
            }
        }
    }

    /// Sets the clock, which only goes forward, and says what it shows.
    fn show(&self, now: Now) -> Duration {
        let now = nanos(now.mono);
        let before = self.shown.fetch_max(now, Ordering::Relaxed);
        self.clock.advance(Duration::from_nanos(now.saturating_sub(before)));
        Duration::from_nanos(now.max(before))
    }

    fn forget(&self, shown: Duration) {
        let at = self.forget_at.load(Ordering::Relaxed);
        let next = nanos(shown + FORGET_EVERY);
        if at <= nanos(shown)
            && self
                .forget_at
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.buckets.retain_recent();
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixNanos;

    #[test]
    fn values_without_end_share_a_pace() {
        let limit = Limit { lines_per_second: 1.0, burst: 1, by: None, wait: false };
        let pace = Pace::new(&limit);
        let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: UnixNanos(0) };
        let take = |key, second| pace.take(Some(key), &mut None, at(second));
        let values = VALUES_MAX as u64;
        assert!((1..=values).all(|key| take(key, 1).is_ok()));
        assert_eq!(take(values + 1, 1), Ok(()), "the first of those beyond");
        assert_eq!(take(values + 2, 1), Err(at(2).mono));
        assert_eq!(take(1, 1), Err(at(2).mono), "a known one has its own");
        // Those that were quiet are forgotten, and make room.
        assert_eq!(take(values + 3, 3), Ok(()));
        assert_eq!(take(values + 4, 3), Ok(()));
    }
}

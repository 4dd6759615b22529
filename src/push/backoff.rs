//! How long to wait before the next try.

use std::time::Duration;

use super::Retry;

/// Longest wait that a `Retry-After` is believed, and longest hold: whatever was wrong, Loki is
/// asked again within this time.
pub const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Exponential delays with full jitter ("Exponential Backoff And Jitter", AWS 2015), the same
/// for the same seed.
#[derive(Debug)]
pub struct Backoff {
    retry: Retry,
    rng: fastrand::Rng,
    tries: u32,
    holds: u32,
}

impl Backoff {
    /// Delays between 0 and a bound that doubles from `retry.delay_min` to `retry.delay_max`.
    #[must_use]
    pub fn new(retry: Retry, seed: u64) -> Self {
        Self { retry, rng: fastrand::Rng::with_seed(seed), tries: 0, holds: 0 }
    }

    /// Other bounds; the next delay is the first one.
    pub fn adopt(&mut self, retry: Retry) {
        self.retry = retry;
        self.reset();
    }

    /// The delay before the next try. A server's own wish is honoured up to [`WAIT_MAX`]; the
    /// jitter comes on top, so that agents that were all told the same do not return together.
    pub fn retry(&mut self, not_before: Option<Duration>) -> Duration {
        let bound = doubled(self.retry.delay_min, self.tries).min(self.retry.delay_max);
        self.tries = self.tries.saturating_add(1);
        let wish = not_before.unwrap_or_default().min(WAIT_MAX);
        wish + self.between(Duration::ZERO, bound)
    }

    /// The delay of a hold: from half to all of a bound that doubles from `retry.delay_max` to
    /// [`WAIT_MAX`].
    pub fn hold(&mut self) -> Duration {
        let bound = doubled(self.retry.delay_max, self.holds).min(WAIT_MAX);
        self.holds = self.holds.saturating_add(1);
        self.between(bound / 2, bound)
    }

    /// How many delays were given since Loki last answered well.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Loki answered well: the next fault starts from the beginning.
    pub fn reset(&mut self) {
        (self.tries, self.holds) = (0, 0);
    }

    fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.rng.u64(nanos(low)..=nanos(high)))
    }
}

fn doubled(duration: Duration, times: u32) -> Duration {
    duration.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retry(min_ms: u64, max_ms: u64) -> Retry {
        Retry { delay_min: Duration::from_millis(min_ms), delay_max: Duration::from_millis(max_ms) }
    }

    #[test]
    fn the_bound_doubles_to_the_last_one() {
        let mean_ms = |tries: u32| {
            let delays = (0..1000).map(|seed| {
                let mut backoff = Backoff::new(retry(100, 1600), seed);
                for _ in 0..tries {
                    backoff.retry(None);
                }
                backoff.retry(None).as_millis()
            });
            delays.sum::<u128>() / 1000
        };
        for (tries, mean) in [(0, 50), (1, 100), (2, 200), (4, 800), (5, 800), (40, 800)] {
            assert!((mean * 9 / 10..mean * 11 / 10).contains(&mean_ms(tries)), "{tries}");
        }
    }

    proptest! {
        #[test]
        fn delays_keep_their_bounds(
            seed: u64, min in 1_u64..2_000, more in 0_u64..60_000, wish in 0_u64..1_000,
        ) {
            let options = retry(min, min + more);
            let wish = Duration::from_secs(wish);
            let (mut one, mut two) = (Backoff::new(options, seed), Backoff::new(options, seed));
            for _ in 0..40 {
                let delay = one.retry(Some(wish));
                prop_assert_eq!(delay, two.retry(Some(wish)), "the same for the same seed");
                prop_assert!(wish.min(WAIT_MAX) <= delay);
                prop_assert!(delay <= wish.min(WAIT_MAX) + options.delay_max);
                let hold = one.hold();
                prop_assert_eq!(hold, two.hold());
                prop_assert!(options.delay_max / 2 <= hold && hold <= WAIT_MAX);
            }
            one.reset();
            prop_assert!(one.retry(None) <= options.delay_min);
        }
    }
}

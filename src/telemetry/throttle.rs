//! Warnings that could repeat with every line are said once in a while, with a count.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::Now;

/// Most keys that are remembered. Beyond them, the oldest one is forgotten with its count.
const KEYS_MAX: usize = 1024;

/// Lets one of many equal things through per key and interval.
#[derive(Debug)]
pub struct Throttle<K> {
    interval: Duration,
    /// Invariant: at most [`KEYS_MAX`].
    keys: HashMap<K, Last>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    /// When the key was let through.
    at: Duration,
    /// How often it was held back since.
    suppressed: u64,
}

impl<K: Hash + Eq + Clone> Throttle<K> {
    /// A throttle that lets each key through once per `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, keys: HashMap::new() }
    }

    /// Whether to speak about `key` now: `Some` with how often it was held back since the last
    /// time, or `None` for not now.
    #[must_use]
    pub fn pass(&mut self, key: &K, now: Now) -> Option<u64> {
        if let Some(last) = self.keys.get_mut(key) {
            if now.mono.saturating_sub(last.at) < self.interval {
                last.suppressed += 1;
                return None;
            }
            let suppressed = last.suppressed;
            *last = Last { at: now.mono, suppressed: 0 };
            return Some(suppressed);
        }
        if self.keys.len() == KEYS_MAX {
            self.forget_oldest();
        }
        self.keys.insert(key.clone(), Last { at: now.mono, suppressed: 0 });
        Some(0)
    }

    fn forget_oldest(&mut self) {
        let oldest = self.keys.iter().min_by_key(|(_, last)| last.at).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixNanos;

    fn at(seconds: u64) -> Now {
        Now { mono: Duration::from_secs(seconds), wall: UnixNanos(0) }
    }

    #[test]
    fn each_key_passes_once_per_interval() {
        let mut throttle = Throttle::new(Duration::from_secs(10));
        for (second, key, expected) in [
            (0, "a", Some(0)),
            (1, "a", None),
            (1, "b", Some(0)),
            (9, "a", None),
            (10, "a", Some(2)),
            (11, "b", Some(0)),
            (19, "a", None),
            (50, "a", Some(1)),
        ] {
            assert_eq!(throttle.pass(&key, at(second)), expected, "{key} at {second} s");
        }
    }

    #[test]
    fn keys_are_bounded_and_the_oldest_goes_first() {
        let mut throttle = Throttle::new(Duration::from_secs(1_000_000));
        let keys = u64::try_from(KEYS_MAX).unwrap();
        for key in 0..=keys {
            assert_eq!(throttle.pass(&key, at(key)), Some(0));
        }
        assert_eq!(throttle.keys.len(), KEYS_MAX);
        assert_eq!(throttle.pass(&1, at(keys)), None, "1 is still known");
        assert_eq!(throttle.pass(&0, at(keys)), Some(0), "0 was forgotten");
    }
}

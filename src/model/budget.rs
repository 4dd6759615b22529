//! The memory that scales with load, as permits that travel with the bytes they stand for.
//!
//! `memory.in_flight` is one [`Pool`]. A [`Permit`] is taken before a read, rides in the open
//! batch, shrinks to the compressed body when the batch is sealed, and returns to the pool when
//! its receipt is dropped. Nobody can forget to give it back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// A fixed number of bytes that permits are taken from.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    limit: u64,
    state: Mutex<State>,
    /// Called after bytes came back, so that a reader that found none can try again.
    freed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Clone, Copy)]
struct State {
    /// Invariant: `used <= limit`.
    used: u64,
    /// The highest `used` so far.
    peak: u64,
}

impl Pool {
    /// A pool of `limit` bytes; `freed` is called whenever bytes came back, without any lock held.
    pub fn new(limit: u64, freed: impl Fn() + Send + Sync + 'static) -> Self {
        let state = Mutex::new(State { used: 0, peak: 0 });
        Self(Arc::new(Shared { limit, state, freed: Box::new(freed) }))
    }

    /// Takes `bytes` at once, or nothing.
    pub fn take(&self, bytes: u64) -> Option<Permit> {
        let mut state = self.0.state();
        if self.0.limit - state.used < bytes {
            return None;
        }
        state.used += bytes;
        state.peak = state.peak.max(state.used);
        Some(Permit { pool: self.clone(), bytes })
    }

    /// A permit for nothing, to be grown.
    pub fn empty(&self) -> Permit {
        Permit { pool: self.clone(), bytes: 0 }
    }

    /// The size of the pool in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes that are out at the moment.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.state().used
    }

    /// The most bytes that were ever out.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.0.state().peak
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("BUG: a thread panicked while it held the memory budget")
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limit", &self.limit()).field("used", &self.used()).finish()
    }
}

/// Bytes of a [`Pool`], given back when this value is dropped.
#[must_use = "dropping a permit gives its bytes back"]
#[derive(Debug)]
pub struct Permit {
    pool: Pool,
    bytes: u64,
}

impl Permit {
    /// How many bytes this permit stands for.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds `other`, of the same pool, to this permit.
    pub fn merge(&mut self, mut other: Self) {
        assert!(Arc::ptr_eq(&self.pool.0, &other.pool.0), "BUG: permits of two pools were merged");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes `bytes` more from the pool. Returns false, and changes nothing, if it has too few.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let Some(more) = self.pool.take(bytes) else { return false };
        self.merge(more);
        true
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        assert!(bytes <= self.bytes, "BUG: a permit of {} was shrunk to {bytes}", self.bytes);
        let surplus = self.bytes - bytes;
        self.bytes = bytes;
        self.give_back(surplus);
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.pool.0.state();
        assert!(bytes <= state.used, "BUG: more permits came back than were taken");
        state.used -= bytes;
        drop(state);
        (self.pool.0.freed)();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn bytes_come_back_when_the_permit_goes() {
        let calls = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&calls);
        let pool = Pool::new(100, move || {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        let mut permit = pool.take(60).unwrap();
        assert!(pool.take(41).is_none());
        assert!(permit.grow(40));
        assert!(!permit.grow(1));
        permit.shrink_to(10);
        assert_eq!((pool.used(), pool.peak()), (10, 100));
        let mut other = pool.take(5).unwrap();
        other.merge(permit);
        assert_eq!(other.bytes(), 15);
        drop(other);
        assert_eq!(pool.used(), 0);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

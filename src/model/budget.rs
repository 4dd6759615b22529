//! The memory that scales with load, as permits that travel with the bytes they stand for.
//!
//! `memory.in_flight` is one [`Pool`]. A [`Permit`] is taken before a read, rides in the open
//! batch, shrinks to the compressed body when the batch is sealed, and returns to the pool when
//! its receipt is dropped. Nobody can forget to give it back.
//!
//! Tenants share the pool: each has a part that nobody else can take, and of the rest any may
//! take what is free. So whoever is stuck cannot take the memory that the others move with.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::TenantId;

/// A fixed number of bytes that permits are taken from, as one tenant sees it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    tenant: TenantId,
}

struct Shared {
    limit: u64,
    state: Mutex<State>,
    /// Called after bytes came back, so that a reader that found none can try again.
    freed: Box<dyn Fn() + Send + Sync>,
}

struct State {
    /// By tenant.
    used: Vec<u64>,
    /// What each tenant can always have.
    shares: Vec<u64>,
    /// What is used, and the unused rest of each share. At most `limit`, but for what tenants have
    /// taken before others got shares.
    bound: u64,
    /// The most that was ever used.
    peak: u64,
}

impl Pool {
    /// A pool of `limit` bytes for one tenant; `freed` is called whenever bytes came back, without
    /// any lock held.
    pub fn new(limit: u64, freed: impl Fn() + Send + Sync + 'static) -> Self {
        Self::shared(limit, 1, limit, freed)
    }

    /// A pool of `limit` bytes of which each of `tenants` can always have `share`. This is the
    /// first one's; see [`Pool::of`].
    ///
    /// # Panics
    /// If the shares are more than the pool.
    pub fn shared(
        limit: u64,
        tenants: usize,
        share: u64,
        freed: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (used, shares) = (vec![0; tenants], vec![share; tenants]);
        let bound = share.saturating_mul(tenants as u64);
        assert!(0 < tenants && bound <= limit, "BUG: {tenants} shares of {share} in {limit} bytes");
        let state = Mutex::new(State { used, shares, bound, peak: 0 });
        let shared = Shared { limit, state, freed: Box::new(freed) };
        Self { shared: Arc::new(shared), tenant: TenantId::default() }
    }

    /// Gives tenants other shares; there may be more of them than before, and no fewer.
    ///
    /// # Panics
    /// If the shares are more than the pool.
    pub fn share_out(&self, shares: Vec<u64>) {
        let sum: u64 = shares.iter().sum();
        let mut state = self.shared.state();
        let is_more = state.used.len() <= shares.len();
        assert!(is_more && sum <= self.shared.limit, "BUG: {sum} bytes of shares");
        state.used.resize(shares.len(), 0);
        state.bound = state.used.iter().zip(&shares).map(|(used, share)| used.max(share)).sum();
        state.shares = shares;
        drop(state);
        (self.shared.freed)();
    }

    /// The same pool as `tenant` sees it.
    #[must_use]
    pub fn of(&self, tenant: TenantId) -> Self {
        assert!(tenant.idx() < self.tenants(), "BUG: a pool without {tenant:?}");
        Self { shared: Arc::clone(&self.shared), tenant }
    }

    /// How many tenants share it.
    #[must_use]
    pub fn tenants(&self) -> usize {
        self.shared.state().used.len()
    }

    /// Takes `bytes` at once, or nothing.
    pub fn take(&self, bytes: u64) -> Option<Permit> {
        let limit = self.shared.limit;
        let mut state = self.shared.state();
        let (used, share) = (state.used[self.tenant.idx()], state.shares[self.tenant.idx()]);
        let more = used.checked_add(bytes)?.max(share) - used.max(share);
        if more != 0 && limit.saturating_sub(state.bound) < more {
            return None;
        }
        state.bound += more;
        state.used[self.tenant.idx()] += bytes;
        state.peak = state.peak.max(state.used.iter().sum());
        Some(Permit { pool: self.clone(), bytes })
    }

    /// A permit for nothing, to be grown.
    pub fn empty(&self) -> Permit {
        Permit { pool: self.clone(), bytes: 0 }
    }

    /// The size of the pool in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.shared.limit
    }

    /// Bytes that all tenants have out at the moment.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.state().used.iter().sum()
    }

    /// Bytes that this tenant has out at the moment.
    #[must_use]
    pub fn used_by_tenant(&self) -> u64 {
        self.shared.state().used[self.tenant.idx()]
    }

    /// The most bytes that were ever out.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.shared.state().peak
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
        let is_same = Arc::ptr_eq(&self.pool.shared, &other.pool.shared);
        assert!(
            is_same && self.pool.tenant == other.pool.tenant,
            "BUG: permits of two pools were merged"
        );
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
        let mut state = self.pool.shared.state();
        let share = state.shares[self.pool.tenant.idx()];
        let used = &mut state.used[self.pool.tenant.idx()];
        assert!(bytes <= *used, "BUG: more permits came back than were taken");
        let less = (*used).max(share) - (*used - bytes).max(share);
        *used -= bytes;
        state.bound -= less;
        drop(state);
        (self.pool.shared.freed)();
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

    #[test]
    fn nobody_takes_what_the_others_can_always_have() {
        let pool = Pool::shared(100, 3, 20, || {});
        let [one, two, three] = [0, 1, 2].map(|tenant| pool.of(TenantId(tenant)));
        assert!(one.take(61).is_none());
        let mut greedy = one.take(60).unwrap();
        assert!(!greedy.grow(1));
        let mut used = two.take(20).unwrap();
        assert!(two.take(1).is_none());
        let other = three.take(15).unwrap();
        assert!(three.take(6).is_none() && three.take(5).is_some());
        greedy.shrink_to(50);
        assert!(used.grow(10) && three.take(6).is_none(), "what is free is for the first who asks");
        assert_eq!((pool.used(), pool.peak(), two.used_by_tenant()), (95, 100, 30));
        drop((greedy, used, other));
        assert_eq!(pool.used(), 0);
        assert!(one.take(61).is_none() && one.take(60).is_some());
    }

    #[test]
    fn who_comes_later_gets_its_share_when_others_give_it_back() {
        let pool = Pool::shared(100, 1, 20, || {});
        let mut greedy = pool.take(100).unwrap();
        pool.share_out(vec![20, 30]);
        let two = pool.of(TenantId(1));
        assert!(two.take(30).is_some(), "a share is there at once, whatever others have");
        greedy.shrink_to(80);
        assert!(!greedy.grow(1), "which they give back first");
        greedy.shrink_to(60);
        assert!(greedy.grow(10) && !greedy.grow(1));
        pool.share_out(vec![20, 0]);
        assert!(greedy.grow(30) && two.take(1).is_none(), "one without lines has no share");
    }
}

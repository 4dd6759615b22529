//! What one tenant's open batch holds.

use std::time::Duration;

use super::streams::StreamId;
use crate::ledger::{Receipt, Ticket};
use crate::model::{Counts, Permit, Pool, UnixNanos};

/// How many bytes the batch's permit grows by at once, so that the pool is not asked for each line.
const GROW_BYTES: u64 = 64 * 1024;

/// One stream's entries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stream: StreamId,
    pub(super) bytes: Vec<u8>,
    /// The oldest time in it.
    pub(super) oldest: UnixNanos,
}

/// A batch that takes entries. Empty between sealing and the next entry.
#[derive(Debug)]
pub(super) struct Open {
    pool: Pool,
    pub(super) parts: Vec<Part>,
    /// Bytes of the request so far, without what `wire::stream_len` adds for each stream.
    pub(super) encoded: usize,
    /// What Loki will count the request as, see `PUSH_WEIGHT_MAX`.
    pub(super) weight: usize,
    /// Memory that the batch holds. Invariant: `held <= permit.bytes()`.
    held: u64,
    permit: Permit,
    pub(super) entries: usize,
    pub(super) counts: Counts,
    pub(super) tickets: Vec<Ticket>,
    /// When the first entry came.
    pub(super) opened_at: Duration,
    /// When the last batch that was not full was sealed.
    pub(super) unfilled_at: Option<Duration>,
}

impl Open {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            permit: pool.empty(),
            pool,
            parts: Vec::new(),
            encoded: 0,
            weight: 0,
            held: 0,
            entries: 0,
            counts: Counts::default(),
            tickets: Vec::new(),
            opened_at: Duration::ZERO,
            unfilled_at: None,
        }
    }

    /// Makes sure that `bytes` more can be held.
    pub(super) fn reserve(&mut self, bytes: u64) -> bool {
        let spare = self.permit.bytes() - self.held;
        bytes <= spare || self.permit.grow(bytes - spare)
    }

    /// Gives back what was reserved and not used.
    pub(super) fn release_spare(&mut self) {
        self.permit.shrink_to(self.held);
    }

    /// Holds `bytes` more; false, and nothing is changed, if there is no memory for them.
    pub(super) fn hold(&mut self, bytes: u64) -> bool {
        let fits = self.reserve(bytes.max(GROW_BYTES)) || self.reserve(bytes);
        if fits {
            self.held += bytes;
        }
        fits
    }

    /// What the batch answers for, once its `body` is made; the batch is empty then.
    pub(super) fn receipt(&mut self, body: &[u8]) -> Receipt {
        let mut permit = std::mem::replace(&mut self.permit, self.pool.empty());
        permit.shrink_to(permit.bytes().min(body.len() as u64));
        (self.encoded, self.weight, self.held, self.entries) = (0, 0, 0, 0);
        Receipt {
            tickets: std::mem::take(&mut self.tickets),
            permit,
            counts: std::mem::take(&mut self.counts),
        }
    }
}

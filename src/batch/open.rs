//! What one tenant's open batch holds.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::streams::StreamId;
use crate::ledger::{Receipt, Ticket};
use crate::model::{Counts, Permit, Pool, TenantId, UnixNanos};
use crate::wire::PIECE_BYTES_MAX;

/// How many bytes the batch's permit grows by at once, so that the pool is not asked for each line.
const GROW_BYTES: u64 = 64 * 1024;

/// Entries are compressed when they fill a piece of this many bytes: small enough to lie in the
/// processor's cache between being written and being compressed.
pub(super) const PIECE_BYTES: usize = PIECE_BYTES_MAX;

/// A piece's entries compressed, once they are. Shared, so that a batch can be closed while a piece
/// of it is still being compressed by the thread that will seal it.
pub(super) type Packed = Arc<OnceLock<Vec<u8>>>;

/// One stream's entries.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) stream: StreamId,
    /// The pieces that were filled.
    pub(super) packed: Vec<Packed>,
    /// How many bytes `packed` stands for.
    packed_from: usize,
    /// The entries behind them.
    pub(super) bytes: Vec<u8>,
    /// The oldest time in it.
    pub(super) oldest: UnixNanos,
}

impl Part {
    /// A stream without entries. `bytes` is empty, and only brings its memory.
    pub(super) fn new(stream: StreamId, bytes: Vec<u8>) -> Self {
        debug_assert!(bytes.is_empty());
        let oldest = UnixNanos(i64::MAX);
        Self { stream, packed: Vec::new(), packed_from: 0, bytes, oldest }
    }

    /// The length of all entries, in bytes.
    pub(super) fn len(&self) -> usize {
        self.packed_from + self.bytes.len()
    }

    /// Whether `len` bytes more do not fit into one piece with what is there.
    #[inline]
    pub(super) fn is_full(&self, len: usize) -> bool {
        PIECE_BYTES < self.bytes.len() + len && !self.bytes.is_empty()
    }

    /// Takes out what is there, and leaves `spare` in its place.
    pub(super) fn cut(&mut self, tenant: TenantId, batch: u64, spare: Vec<u8>) -> Piece {
        self.packed_from += self.bytes.len();
        let packed = Packed::default();
        self.packed.push(Arc::clone(&packed));
        Piece { tenant, batch, bytes: std::mem::replace(&mut self.bytes, spare), packed }
    }
}

/// Entries of one stream of an open batch that fill a piece, taken out to be compressed.
#[derive(Debug)]
pub struct Piece {
    pub(super) tenant: TenantId,
    /// Which of the tenant's batches it is of.
    pub(super) batch: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) packed: Packed,
}

/// A batch that takes entries. Empty between sealing and the next entry.
#[derive(Debug)]
pub(super) struct Open {
    pool: Pool,
    pub(super) parts: Vec<Part>,
    /// How many batches were closed before.
    pub(super) batch: u64,
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
            batch: 0,
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

    /// Holds `bytes` less. They stay with the permit, for the next entries.
    pub(super) fn let_go(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// What the batch answers for, with all that it holds; it is empty then, and the next one.
    pub(super) fn receipt(&mut self) -> Receipt {
        self.release_spare();
        self.batch += 1;
        (self.encoded, self.weight, self.held, self.entries) = (0, 0, 0, 0);
        Receipt {
            tickets: std::mem::take(&mut self.tickets),
            permit: std::mem::replace(&mut self.permit, self.pool.empty()),
            counts: std::mem::take(&mut self.counts),
        }
    }
}

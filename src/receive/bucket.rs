//! A token bucket, as `golang.org/x/time/rate`.

use crate::model::UnixNanos;

/// Starts full.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Billionths of a byte that were taken and did not come back yet.
    taken: u128,
    at: UnixNanos,
}

impl Bucket {
    /// Takes `bytes` if they are there. A refusal costs nothing; more than `burst` never pass.
    /// `rate` is in bytes a second; 0 fills the bucket at once.
    pub(super) fn take(&mut self, bytes: usize, rate: usize, burst: usize, now: UnixNanos) -> bool {
        let elapsed = u128::try_from(now.0.saturating_sub(self.at.0)).unwrap_or(0);
        let refilled = if rate == 0 { u128::MAX } else { elapsed * rate as u128 };
        let taken = self.taken.saturating_sub(refilled) + bytes as u128 * 1_000_000_000;
        let fits = taken <= burst as u128 * 1_000_000_000;
        if fits {
            (self.taken, self.at) = (taken, now);
        }
        fits
    }
}

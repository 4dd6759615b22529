//! A share of the lines, by a hash: a replay decides alike, and so does every node.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Source;
use super::condition::Condition;

/// A compiled `rule::Sample`.
#[derive(Debug)]
pub(in crate::parse) struct Share {
    /// Hashes below are in it.
    below: u128,
    /// The rate, as it is written into metadata.
    pub(super) rate: String,
    pub(super) by: Option<Source>,
    pub(super) always: Condition,
}

impl Share {
    /// `rate` is between 0 and 1.
    pub(super) fn new(rate: f64, by: Option<Source>, always: Condition) -> Self {
        // Exact at both ends: all hashes are below 2^64, none is below 0.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is between 0 and 1, and the bits that are lost are worth 2^-53"
        )]
        let below = (rate.clamp(0.0, 1.0) * 2_f64.powi(64)) as u128;
        Self { below, rate: rate.to_string(), by, always }
    }

    /// Whether all lines with this value are in it.
    pub(super) fn has(&self, value: &str) -> bool {
        u128::from(xxh3_64(value.as_bytes())) < self.below
    }

    /// Whether the line that begins at `at` is in it.
    pub(super) fn has_line(&self, line: &str, at: u64) -> bool {
        u128::from(xxh3_64_with_seed(line.as_bytes(), at)) < self.below
    }
}

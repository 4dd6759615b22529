//! One line on its way to Loki, borrowed from the read buffer.

use super::UnixNanos;

/// The metadata name of the stamp of a line whose time had to be moved (RFC 3339).
pub const ORIGINAL_TIMESTAMP: &str = "original_timestamp";

/// A name and a value of structured metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, and not starting with `__`.
    pub name: &'a str,
    /// Without U+FFFD, which Loki would turn into a space.
    pub value: &'a str,
}

/// What one line becomes. Everything in it is inside Loki's limits.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The time Loki stores.
    pub time: UnixNanos,
    /// The text Loki stores: valid UTF-8. Entries of many lines have their line ends, but the last.
    pub line: &'a str,
    /// Values of the plan's label rules, in the order of `Plan::label_names`; empty is absent.
    pub labels: &'a [&'a str],
    /// Structured metadata, in the order of the rules.
    pub metadata: &'a [Pair<'a>],
    /// Whose it is: 0 is the source's own tenant, others are one behind their place in
    /// `Plan::tenants`.
    pub tenant: usize,
}

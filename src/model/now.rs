//! Time as a value. Only `app/clock.rs` reads a clock.

use std::fmt;
use std::time::Duration;

/// Nanoseconds since 1970-01-01T00:00:00Z. Covers 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixNanos(pub i64);

impl UnixNanos {
    /// `self` + `duration`, saturating at the ends of the range.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// `self` - `duration`, saturating at the ends of the range.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// The time from `earlier` to `self`; 0 when that is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// RFC 3339 in UTC with nanoseconds as needed, e.g. `2026-11-22T10:20:05.123Z`.
impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_nanosecond(i128::from(self.0)) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{} ns", self.0),
        }
    }
}

/// Fails outside of 1677 to 2262.
impl TryFrom<jiff::Timestamp> for UnixNanos {
    type Error = std::num::TryFromIntError;

    fn try_from(time: jiff::Timestamp) -> Result<Self, Self::Error> {
        i64::try_from(time.as_nanosecond()).map(Self)
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// An `Option` of a time in eight bytes: several are kept of each of ten thousands of files. The
/// earliest time that there is counts as none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaybeNanos(i64);

impl MaybeNanos {
    /// No time.
    pub const NONE: Self = Self(i64::MIN);

    /// The time, if there is one.
    #[must_use]
    pub fn get(self) -> Option<UnixNanos> {
        (self != Self::NONE).then_some(UnixNanos(self.0))
    }

    /// Whether there are two times, and not the same.
    #[must_use]
    pub fn differs_from(self, other: Self) -> bool {
        self.get().zip(other.get()).is_some_and(|(own, other)| own != other)
    }
}

impl From<Option<UnixNanos>> for MaybeNanos {
    fn from(time: Option<UnixNanos>) -> Self {
        time.map_or(Self::NONE, |time| Self(time.0))
    }
}

impl Default for MaybeNanos {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for MaybeNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A [`Now::mono`] in half the bytes of a `Duration`: it is kept of each of ten thousands of files.
/// Goes as far as 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(u64);

impl Moment {
    /// The time since the process started.
    #[must_use]
    pub fn mono(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Moment {
    fn from(mono: Duration) -> Self {
        Self(u64::try_from(mono.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The two clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the process started; never steps. For ages, delays and graces.
    pub mono: Duration,
    /// Wall time. For line times, and never for ages.
    pub wall: UnixNanos,
}

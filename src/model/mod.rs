//! The words every room speaks: ids, offsets, times, limits, reasons, permits, entries.
//!
//! May touch: nothing. Must not: have behaviour beyond its own invariants.

mod budget;
mod entry;
mod files;
mod ids;
mod index;
mod keyed;
mod limits;
mod line_metric;
mod now;
mod origin;
mod reason;

pub use self::budget::{Permit, Pool};
pub use self::entry::{Entry, ORIGINAL_TIMESTAMP, Pair};
pub use self::files::{FileStat, Files, Identity, Kind, is_compressed};
pub use self::ids::{
    FileKey, FileOffset, Fingerprint, HeldAt, Mark, OUTPUTS, SourceId, Stamp, TenantId,
};
pub use self::index::Index;
pub use self::keyed::{HasKey, Keyed};
pub use self::limits::*;
pub use self::line_metric::{LineMetric, LineMetricKind, Observation};
pub use self::now::{MaybeNanos, Moment, Now, UnixNanos};
pub use self::origin::Origin;
pub use self::reason::{Counts, Flag, Reason};

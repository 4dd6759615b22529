//! Metric definitions, log set-up, throttled warnings.
//!
//! May touch: atomics, standard error. Must not: be read by other rooms to decide anything.

mod labels;
mod line_metrics;
mod log;
mod metrics;
mod throttle;

pub use self::labels::{FileState, Flag, Label, Reason, Source, State, Status, Tenant, Why};
pub use self::line_metrics::Observer;
pub use self::log::{Format, LevelFilter, LogError, init as init_log};
pub use self::metrics::{CONTENT_TYPE, Families, Kind, Metric, Metrics, NAMES, SourceCounters};
pub use self::throttle::Throttle;

//! What a receiver allows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::UnixNanos;

/// Where a receiver gets the time from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixNanos + Send + Sync>);

impl Clock {
    /// A clock that answers with `read`.
    pub fn new(read: impl Fn() -> UnixNanos + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Wall time.
    #[must_use]
    pub fn now(&self) -> UnixNanos {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// What a receiver allows. The names are those of Loki's settings where there is one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Wall time, for the limits on a line's age.
    pub clock: Clock,
    /// Most entries that are kept; the oldest are forgotten, and counted.
    pub keep: usize,
    /// `auth_enabled`: pushes and queries need a tenant and see only their own.
    pub auth: bool,
    /// `discover_service_name`: adds the label `service_name`, as Loki does by default.
    pub discover_service_name: bool,
    /// `allow_structured_metadata`.
    pub allow_structured_metadata: bool,
    /// `max_global_streams_per_user`.
    pub stream_limit: usize,
    /// `ingestion_burst_size_mb`, in bytes: a push with more of lines and metadata gets 429.
    pub ingestion_burst_bytes: usize,
    /// A file to which every received entry is appended as NDJSON before the push is answered.
    pub out: Option<PathBuf>,
}

impl Options {
    /// Loki's defaults, without `service_name`, keeping 250,000 entries.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            keep: 250_000,
            auth: false,
            discover_service_name: false,
            allow_structured_metadata: true,
            stream_limit: 5000,
            ingestion_burst_bytes: 6 * 1024 * 1024,
            out: None,
        }
    }
}

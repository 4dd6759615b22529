//! What a receiver allows.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::model::UnixNanos;

const MIB: usize = 1024 * 1024;

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

type Take = dyn Fn(&[u8]) + Send + Sync;

/// Takes the bodies of pushes in place of the checks and the store.
#[derive(Clone)]
pub struct Tap(Arc<Take>);

impl Tap {
    /// A tap that gives each body, still compressed, to `take` before the push is answered.
    pub fn new(take: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn take(&self, body: &[u8]) {
        (self.0)(body);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

/// What a receiver allows. The names are those of Loki's settings where there is one.
#[derive(Debug, Clone)]
pub struct Options {
    /// Wall time, for all limits.
    pub clock: Clock,
    /// Most copies that are kept; the oldest are forgotten, and counted.
    pub keep: usize,
    /// A file to which every stored entry is appended as NDJSON before the push is answered.
    pub out: Option<PathBuf>,
    /// For measurements, which cannot wait for what Loki does: nothing is looked at or kept, the
    /// body goes to the tap and the push is answered with success.
    pub tap: Option<Tap>,
    /// `auth_enabled`: pushes and queries need a tenant and see only their own.
    pub auth: bool,
    /// `discover_service_name`: adds the label `service_name`, as Loki does by default.
    pub discover_service_name: bool,
    /// `allow_structured_metadata`; with it, levels are detected.
    pub allow_structured_metadata: bool,
    /// `max_global_streams_per_user`.
    pub stream_limit: usize,
    /// `ingestion_rate_mb`, in bytes a second; 0 is no rate, but the burst still holds.
    pub ingestion_rate_bytes: usize,
    /// `ingestion_burst_size_mb`, in bytes.
    pub ingestion_burst_bytes: usize,
    /// `per_stream_rate_limit`, in bytes a second; 0 is no rate, but the burst still holds.
    pub per_stream_rate_bytes: usize,
    /// `per_stream_rate_limit_burst`, in bytes.
    pub per_stream_burst_bytes: usize,
    /// `shard_streams.enabled`: hot streams are sharded, and a stream over its rate is refused
    /// whole; without it what fits is stored.
    pub shard_streams: bool,
    /// `shard_streams.desired_rate`, in bytes a second.
    pub shard_desired_rate_bytes: usize,
    /// `reject_old_samples`.
    pub reject_old_samples: bool,
    /// `reject_old_samples_max_age`.
    pub reject_old_samples_max_age: Duration,
    /// `creation_grace_period`.
    pub creation_grace_period: Duration,
    /// `max_chunk_age`: an entry may be half of it behind the newest of its stream.
    pub max_chunk_age: Duration,
    /// `chunk_idle_period`: after it a stream is forgotten, with its window.
    pub chunk_idle_period: Duration,
    /// `enforced_labels`.
    pub enforced_labels: Vec<String>,
    /// `block_ingestion_until`.
    pub block_ingestion_until: Option<UnixNanos>,
    /// `block_ingestion_status_code`.
    pub block_ingestion_status_code: u16,
    /// `grpc_server_max_recv_msg_size`: the most protobuf that reaches an ingester.
    pub grpc_bytes_max: usize,
}

impl Options {
    /// Loki's defaults, keeping 250,000 copies, but without `service_name`, rates and sharding,
    /// which depend on how fast a test runs.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            clock,
            keep: 250_000,
            out: None,
            tap: None,
            auth: false,
            discover_service_name: false,
            allow_structured_metadata: true,
            stream_limit: 5000,
            ingestion_rate_bytes: 0,
            ingestion_burst_bytes: 6 * MIB,
            per_stream_rate_bytes: 0,
            per_stream_burst_bytes: 15 * MIB,
            shard_streams: false,
            shard_desired_rate_bytes: 3 * MIB / 2,
            reject_old_samples: true,
            reject_old_samples_max_age: hours(7 * 24),
            creation_grace_period: Duration::from_secs(600),
            max_chunk_age: hours(2),
            chunk_idle_period: Duration::from_secs(1800),
            enforced_labels: Vec::new(),
            block_ingestion_until: None,
            block_ingestion_status_code: 260,
            grpc_bytes_max: 4 * MIB,
        }
    }

    /// All of Loki's defaults.
    #[must_use]
    pub fn loki(clock: Clock) -> Self {
        Self {
            discover_service_name: true,
            ingestion_rate_bytes: 4 * MIB,
            per_stream_rate_bytes: 3 * MIB,
            shard_streams: true,
            ..Self::new(clock)
        }
    }
}

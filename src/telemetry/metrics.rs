//! All metrics, in one table.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter as Count;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::labels::{FileState, Flag, Label, Reason, Result, Source, State, Status, Tenant, Why};
use super::line_metrics::{LineMetrics, Observer};
use crate::model::{self, Counts, LineMetric, UnixNanos};

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds of the buckets of `push_seconds`: from a receiver on the same host to
/// the default `loki.timeout`.
const SECONDS: [f64; 10] = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

type Counter = Count<u64>;
type Gauge = gauge::Gauge<i64, AtomicI64>;
type Seconds = gauge::Gauge<f64, AtomicU64>;

/// What one metric is. GUIDE.md lists the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name without the prefix `skald_` and the suffix of its kind.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// The name of its label, if it has one.
    pub label: Option<&'static str>,
    /// What it counts, with its unit.
    pub help: &'static str,
}

impl Metric {
    /// The name on the metrics page, e.g. `skald_lines_read_total`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("skald_{}{suffix}", self.name)
    }
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// A constant 1 whose label says something.
    Info,
}

impl Kind {
    /// The name on the metrics page.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// How a metric of the table is made.
trait Make {
    const KIND: Kind;
    const LABEL: Option<&'static str> = None;
    fn make() -> Self;
}

impl Make for Counter {
    const KIND: Kind = Kind::Counter;
    fn make() -> Self {
        Self::default()
    }
}

impl Make for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn make() -> Self {
        Self::default()
    }
}

impl Make for Seconds {
    const KIND: Kind = Kind::Gauge;
    fn make() -> Self {
        Self::default()
    }
}

impl Make for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn make() -> Self {
        Self::new(SECONDS)
    }
}

impl<L: Label, M: Make + Default> Make for Family<L, M> {
    const KIND: Kind = M::KIND;
    const LABEL: Option<&'static str> = Some(L::NAME);
    fn make() -> Self {
        Self::default()
    }
}

macro_rules! metrics {
    ($($name:ident: $type:ty, $help:literal;)*) => {
        /// All metrics but `build_info`, which never changes.
        #[derive(Debug)]
        pub struct Families {
            $(#[doc = $help] pub $name: $type,)*
        }

        /// All metrics, in the order of the metrics page.
        pub const NAMES: &[Metric] = &[
            Metric {
                name: "build",
                kind: Kind::Info,
                label: Some("version"),
                help: "The version that runs",
            },
            $(Metric {
                name: stringify!($name),
                kind: <$type as Make>::KIND,
                label: <$type as Make>::LABEL,
                help: $help,
            },)*
        ];

        impl Families {
            fn register(registry: &mut Registry) -> Self {
                $(
                    let $name = <$type as Make>::make();
                    registry.register(stringify!($name), $help, $name.clone());
                )*
                Self { $($name,)* }
            }
        }
    };
}

metrics! {
    lines_read: Family<Source, Counter>, "Lines read";
    bytes_read: Family<Source, Counter>, "Input bytes read, line ends included";
    lines_delivered: Counter, "Lines that Loki has acknowledged";
    bytes_delivered: Counter, "Input bytes of the lines that Loki has acknowledged";
    lines_dropped: Family<Reason, Counter>, "Lines not delivered, by reason";
    bytes_dropped: Family<Reason, Counter>, "Input bytes of the lines not delivered, by reason";
    lines_in_flight: Gauge, "Lines read but neither delivered nor dropped";
    bytes_in_flight: Gauge, "Input bytes read but neither delivered nor dropped";
    lines_flagged: Family<Flag, Counter>, "Lines with something noteworthy, shipped all the same";
    pushes: Family<Status, Counter>, "Push requests, by the status of the answer or `failed`";
    push_body_bytes: Counter, "Compressed bytes in push requests, retries included";
    push_encoded_bytes: Counter, "Bytes in push requests before compression, retries included";
    push_entries: Counter, "Entries in push requests, retries included";
    push_seconds: Histogram, "Seconds from the start of a push request to the end of its answer";
    push_retries: Family<Why, Counter>, "Push requests that were sent again, by cause";
    push_holding: Gauge, "1 while pushing waits for a person: credentials, address or tenant";
    tenant_ready: Family<Tenant, Gauge>, "1 while pushes of the tenant get through, as /ready sees it";
    isolations: Counter, "Pushes taken apart to find the entries that Loki refuses";
    dead_letters: Counter, "Entries written to the dead-letter file";
    memory_in_flight_bytes: Gauge, "Bytes of memory.in_flight in use";
    memory_limit_bytes: Gauge, "Bytes of memory.in_flight";
    memory_peak_bytes: Gauge, "The most bytes of memory.in_flight in use since the start";
    tenant_memory_bytes: Family<Tenant, Gauge>, "Bytes of memory.in_flight that the tenant has in use";
    streams: Gauge, "Streams known to the agent";
    labels_demoted: Counter, "Labels moved to structured metadata for having too many values";
    files: Family<State, Gauge>, "Open or waiting files, by state";
    deleted_bytes: Gauge, "Bytes on disk of deleted files that are kept until they were read";
    lag_bytes: Gauge, "Bytes in files that were not read yet";
    source_lag_bytes: Family<Source, Gauge>, "Bytes in files of the source that were not read yet";
    source_lag_seconds: Family<Source, Seconds>, "Age of the last line that was read of the source's file that is furthest behind; 0 when all was read";
    source_unread_kept_seconds: Family<Source, Seconds>, "Estimated time until unread bytes of the source are rotated away; absent while unknown or when all was read";
    oldest_unsettled_seconds: Seconds, "Time since the oldest unsettled line was read";
    rotations: Counter, "Files found renamed or replaced";
    truncations: Counter, "Files found shorter than before";
    files_unreadable: Family<Why, Counter>, "Files that could not be opened or read, by cause";
    bytes_skipped: Family<Why, Counter>, "Bytes gone before they could be read, by cause";
    lines_skipped: Family<Why, Counter>, "Lines gone unread that could be counted, by cause";
    checkpoint_saves: Counter, "Checkpoints written";
    checkpoint_failures: Counter, "Checkpoints that could not be written";
    checkpoint_age_seconds: Seconds, "Seconds since the last checkpoint was written";
    tee_skipped_bytes: Counter, "Input bytes not copied to standard output by --tee";
    config_reloads: Family<Result, Counter>, "Times that the configuration was read again, by result";
    config_reload_failed: Gauge, "1 when the last reload failed and the configuration of before is in force";
    config_loaded_timestamp_seconds: Seconds, "When the configuration that is in force was read, in Unix time";
    kubernetes_requests: Family<Status, Counter>, "Requests to the API of Kubernetes, by the status of the answer or `failed`";
    pods: Gauge, "Pods of this node that the API of Kubernetes tells of";
    ready: Gauge, "1 while /ready answers 200";
}

/// The metrics of one agent. Clones share them.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    families: Families,
    registry: Registry,
    of_lines: Mutex<LineMetrics>,
}

/// What a reader of one source counts.
#[derive(Debug, Clone)]
pub struct SourceCounters {
    /// Lines read.
    pub lines_read: Counter,
    /// Input bytes read, line ends included.
    pub bytes_read: Counter,
}

impl Metrics {
    /// Metrics at zero. Series with a fixed set of labels exist from the start, so that a rate
    /// over the first increment is not lost.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("skald");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register(NAMES[0].name, NAMES[0].help, build);
        let families = Families::register(&mut registry);
        for reason in model::Reason::ALL {
            drop(families.lines_dropped.get_or_create(&reason.into()));
            drop(families.bytes_dropped.get_or_create(&reason.into()));
        }
        for flag in model::Flag::ALL {
            drop(families.lines_flagged.get_or_create(&flag.into()));
        }
        for result in ["success", "failure"] {
            drop(families.config_reloads.get_or_create(&Result { result }));
        }
        for state in FileState::ALL {
            drop(families.files.get_or_create(&state.into()));
        }
        Self(Arc::new(Inner { families, registry, of_lines: Mutex::default() }))
    }

    /// The counters of the source called `name`, to be kept by its readers.
    #[must_use]
    pub fn source(&self, name: &str) -> SourceCounters {
        let label = Source { source: name.to_owned() };
        SourceCounters {
            lines_read: self.lines_read.get_or_create_owned(&label),
            bytes_read: self.bytes_read.get_or_create_owned(&label),
        }
    }

    /// The metric that rules of this kind make, new or the one there is.
    #[must_use]
    pub fn line_metric(&self, metric: &LineMetric) -> Observer {
        self.of_lines().get(metric)
    }

    /// The configuration was read again, and taken or not.
    pub fn reloaded(&self, is_taken: bool, at: UnixNanos) {
        let result = if is_taken { "success" } else { "failure" };
        self.config_reloads.get_or_create(&Result { result }).inc();
        self.config_reload_failed.set(i64::from(!is_taken));
        if is_taken {
            self.loaded(at);
        }
    }

    /// A configuration is in force from now on.
    pub fn loaded(&self, at: UnixNanos) {
        self.config_loaded_timestamp_seconds.set(at.0 as f64 / 1e9);
    }

    /// Whether rules may make this metric.
    ///
    /// # Errors
    /// Others of its name are there, and the page cannot show both.
    pub fn check_line_metric(&self, metric: &LineMetric) -> std::result::Result<(), String> {
        self.of_lines().check(metric)
    }

    fn of_lines(&self) -> MutexGuard<'_, LineMetrics> {
        self.0.of_lines.lock().expect("BUG: a thread panicked while it held the metrics of rules")
    }

    /// Counts lines that Loki has acknowledged.
    pub fn delivered(&self, counts: Counts) {
        self.lines_delivered.inc_by(counts.lines);
        self.bytes_delivered.inc_by(counts.bytes);
    }

    /// Counts lines that were dropped.
    pub fn dropped(&self, reason: model::Reason, counts: Counts) {
        self.lines_dropped.get_or_create(&reason.into()).inc_by(counts.lines);
        self.bytes_dropped.get_or_create(&reason.into()).inc_by(counts.bytes);
    }

    /// Counts lines that were shipped with a flag.
    pub fn flagged(&self, flag: model::Flag, lines: u64) {
        self.lines_flagged.get_or_create(&flag.into()).inc_by(lines);
    }

    /// Counts one push request; `None` is one without an answer.
    pub fn pushed(&self, status: Option<u16>) {
        let status = status.map_or_else(|| "failed".to_owned(), |status| status.to_string());
        self.pushes.get_or_create(&Status { status }).inc();
    }

    /// Counts one request to the API of Kubernetes; no status is no answer.
    pub fn kubernetes_request(&self, status: Option<u16>) {
        let status = status.map_or_else(|| "failed".to_owned(), |status| status.to_string());
        self.kubernetes_requests.get_or_create(&Status { status }).inc();
    }

    /// Counts one push request that is sent again because of `why`.
    pub fn push_retried(&self, why: &'static str) {
        self.push_retries.get_or_create(&Why { why }).inc();
    }

    /// Counts one failure to open or read a file because of `why`.
    pub fn file_unreadable(&self, why: &'static str) {
        self.files_unreadable.get_or_create(&Why { why }).inc();
    }

    /// Counts lines that were gone before they could be read, because of `why`.
    pub fn skipped_lines(&self, why: &'static str, lines: u64) {
        self.lines_skipped.get_or_create(&Why { why }).inc_by(lines);
    }

    /// Counts bytes that were gone before they could be read, because of `why`.
    pub fn skipped(&self, why: &'static str, bytes: u64) {
        self.bytes_skipped.get_or_create(&Why { why }).inc_by(bytes);
    }

    /// Bytes that are lost because they were gone before they could be read; not those in holes,
    /// which nobody wrote.
    #[must_use]
    pub fn bytes_lost(&self) -> u64 {
        let of = |why| self.bytes_skipped.get_or_create(&Why { why }).get();
        ["truncated", "vanished", "given_up"].into_iter().map(of).sum()
    }

    /// Says how many files are in `state`.
    pub fn set_files(&self, state: FileState, files: usize) {
        let files = i64::try_from(files).unwrap_or(i64::MAX);
        self.files.get_or_create(&state.into()).set(files);
    }

    /// Says how far behind the source called `name` is, and how long rotation keeps what it has
    /// not read, if that is known.
    pub fn set_behind(&self, name: &str, bytes: u64, age: Duration, kept: Option<Duration>) {
        let label = Source { source: name.to_owned() };
        self.source_lag_bytes.get_or_create(&label).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.source_lag_seconds.get_or_create(&label).set(age.as_secs_f64());
        match kept {
            Some(kept) => {
                let seconds = self.source_unread_kept_seconds.get_or_create(&label);
                seconds.set(kept.as_secs_f64());
            }
            None => {
                self.source_unread_kept_seconds.remove(&label);
            }
        }
    }

    /// All metrics as OpenMetrics text, see [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode_registry(&mut text, &self.0.registry)
            .and_then(|()| encode_registry(&mut text, &self.of_lines().registry))
            .and_then(|()| encode_eof(&mut text))
            .expect("BUG: writing to a string cannot fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Metrics {
    type Target = Families;

    fn deref(&self) -> &Families {
        &self.0.families
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.families.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|l| l == line), "no line {line:?} in\n{text}");
    }

    #[test]
    fn the_page_holds_what_the_table_says() {
        let metrics = Metrics::new();
        // Families without a series are not on the page.
        metrics.source("a").lines_read.inc();
        metrics.pushed(None);
        metrics.kubernetes_request(None);
        metrics.push_retried("rate");
        metrics.file_unreadable("permission");
        metrics.skipped("vanished", 1);
        metrics.skipped_lines("given_up", 1);
        metrics.set_behind("a", 1, Duration::ZERO, Some(Duration::ZERO));
        for family in [&metrics.tenant_ready, &metrics.tenant_memory_bytes] {
            family.get_or_create(&Tenant { tenant: "a".to_owned() }).set(1);
        }
        let page = metrics.encode();
        let types: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
        let table: Vec<String> =
            NAMES.iter().map(|m| format!("skald_{} {}", m.name, m.kind.name())).collect();
        assert_eq!(types, table);
        for metric in NAMES {
            has(&metrics, &format!("# HELP skald_{} {}.", metric.name, metric.help));
            let name = metric.full_name();
            let label = metric.label.map(|label| format!("{{{label}="));
            let start = format!("{name}{}", label.unwrap_or_default());
            let start = if metric.kind == Kind::Histogram { format!("{name}_sum") } else { start };
            assert!(page.lines().any(|l| l.starts_with(&start)), "no series {start}");
            assert!(!metric.name.ends_with("_total"), "the encoder adds _total");
        }
        assert!(page.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        has(&metrics, "skald_lines_dropped_total{reason=\"too_old\"} 0");
        has(&metrics, "skald_files{state=\"set_aside\"} 0");
        let twin = metrics.clone();
        twin.dropped(model::Reason::TooOld, Counts { lines: 2, bytes: 30 });
        twin.delivered(Counts { lines: 3, bytes: 50 });
        twin.flagged(model::Flag::NotJson, 4);
        twin.source("a \"b\"").lines_read.inc_by(5);
        twin.pushed(Some(204));
        twin.pushed(None);
        twin.push_retried("rate");
        twin.skipped("truncated", 9);
        twin.file_unreadable("permission");
        twin.set_files(FileState::Rotated, 7);
        twin.push_seconds.observe(0.003);
        twin.checkpoint_age_seconds.set(0.5);
        for line in [
            concat!("skald_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "skald_lines_dropped_total{reason=\"too_old\"} 2",
            "skald_bytes_dropped_total{reason=\"too_old\"} 30",
            "skald_lines_delivered_total 3",
            "skald_bytes_delivered_total 50",
            "skald_lines_flagged_total{flag=\"not_json\"} 4",
            "skald_lines_read_total{source=\"a \\\"b\\\"\"} 5",
            "skald_pushes_total{status=\"204\"} 1",
            "skald_pushes_total{status=\"failed\"} 1",
            "skald_push_retries_total{why=\"rate\"} 1",
            "skald_bytes_skipped_total{why=\"truncated\"} 9",
            "skald_files_unreadable_total{why=\"permission\"} 1",
            "skald_files{state=\"rotated\"} 7",
            "skald_push_seconds_bucket{le=\"0.005\"} 1",
            "skald_checkpoint_age_seconds 0.5",
        ] {
            has(&metrics, line);
        }
    }
}

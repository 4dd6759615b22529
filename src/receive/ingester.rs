//! What Loki's ingester stores of a stream, and what it swallows or refuses.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::StatusCode;

use super::bucket::Bucket;
use super::http::Refusal;
use super::labels::Labels;
use super::message::{Entry, Time};
use super::options::Options;
use super::shard::Shard;
use crate::model::UnixNanos;

/// `max_returned_stream_errors`.
const ERRORS_MAX: usize = 10;

/// `chunk_block_size`: a head block of so many bytes is cut.
const HEAD_BYTES_MAX: usize = 256 * 1024;

/// Where the first schema period begins, 2020-10-24; only matters without `reject_old_samples`.
const SCHEMA_FROM: UnixNanos = UnixNanos(1_603_497_600_000_000_000);

/// The streams of a tenant that are in memory.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    /// Of the distributor.
    pub(super) bucket: Bucket,
    streams: HashMap<Arc<Labels>, Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    newest: Option<Time>,
    /// The last entry that was accepted.
    last: Option<(Time, Vec<u8>)>,
    /// Lines by time, of which a second copy is swallowed.
    head: HashMap<UnixNanos, Vec<Vec<u8>>>,
    head_bytes: usize,
    bucket: Bucket,
    /// When the last entry was stored.
    updated: UnixNanos,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stored,
    Swallowed,
    Refused,
}

/// An entry that was refused, and why.
struct Failure {
    time: Time,
    reason: Reason,
}

enum Reason {
    Behind { oldest: Time },
    Rate { bytes: usize },
}

/// What all streams of a push share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push<'a> {
    pub(super) options: &'a Options,
    pub(super) user: &'a str,
    pub(super) now: UnixNanos,
}

/// The bytes that count for a stream's rate, the fate of each entry, and the answer.
pub(super) type Verdict = (usize, Vec<Fate>, Result<(), Refusal>);

impl Tenant {
    /// Pushes one stream.
    pub(super) fn push(&mut self, shard: &Shard, push: Push<'_>) -> Verdict {
        let stream = match self.stream(shard, push) {
            Ok(stream) => stream,
            Err(refusal) => return (0, vec![Fate::Refused; shard.entries.len()], Err(refusal)),
        };
        let (bytes, mut fates, failures) = stream.validate(&shard.entries, push);
        for (entry, fate) in shard.entries.iter().zip(&mut fates) {
            if *fate == Fate::Stored && !stream.store(entry, push.now) {
                *fate = Fate::Swallowed;
            }
        }
        (bytes, fates, answer(&failures, shard, push))
    }

    /// The stream, made if it is not in memory.
    fn stream(&mut self, shard: &Shard, push: Push<'_>) -> Result<&mut Stream, Refusal> {
        let is_live =
            |stream: &Stream| push.now <= stream.updated.plus(push.options.chunk_idle_period);
        let labels = &shard.labels;
        if !self.streams.get(labels).is_some_and(is_live) {
            self.streams.retain(|_, stream| is_live(stream));
            labels.reparse(&labels.to_string()).map_err(Refusal::bad_request)?;
            if self.streams.len() >= push.options.stream_limit {
                return Err(Refusal::too_many(stream_limit_text(labels, push.user)));
            }
            let first = shard.entries.iter().map(|entry| entry.time().unix()).min();
            if let Some(first) = first.filter(|first| *first < SCHEMA_FROM) {
                return Err(Refusal::internal(schema_text(first)));
            }
        }
        let new = || Stream { updated: push.now, ..Stream::default() };
        Ok(self.streams.entry(Arc::clone(labels)).or_insert_with(new))
    }
}

impl Stream {
    /// `validateEntries` in Loki's `stream.go`.
    fn validate(&mut self, entries: &[Entry], push: Push<'_>) -> (usize, Vec<Fate>, Vec<Failure>) {
        let options = push.options;
        let (rate, burst) = (options.per_stream_rate_bytes, options.per_stream_burst_bytes);
        let whole = options.shard_streams;
        let window = (options.max_chunk_age / 2).as_secs().cast_signed();
        let (mut total, mut valid) = (0, 0);
        let (mut fates, mut failures) = (Vec::with_capacity(entries.len()), Vec::new());
        let mut last = self.last.as_ref().map(|(time, line)| (*time, line));
        let mut newest = self.newest;
        for entry in entries {
            let (time, bytes) = (entry.time(), entry.charge());
            if last == Some((time, &entry.line)) {
                fates.push(Fate::Swallowed);
                continue;
            }
            total += bytes;
            let oldest = newest.map(|time| Time { seconds: time.seconds - window, ..time });
            let reason = if !whole && !self.bucket.take(bytes, rate, burst, push.now) {
                Reason::Rate { bytes }
            } else if let Some(oldest) = oldest.filter(|oldest| time < *oldest) {
                Reason::Behind { oldest }
            } else {
                valid += bytes;
                last = Some((time, &entry.line));
                newest = newest.max(Some(time));
                fates.push(Fate::Stored);
                continue;
            };
            failures.push(Failure { time, reason });
            fates.push(Fate::Refused);
        }
        if whole && !self.bucket.take(valid, rate, burst, push.now) {
            failures.clear();
            for (entry, fate) in entries.iter().zip(&mut fates) {
                if *fate == Fate::Stored {
                    let reason = Reason::Rate { bytes: entry.charge() };
                    failures.push(Failure { time: entry.time(), reason });
                    *fate = Fate::Refused;
                }
            }
        }
        (total, fates, failures)
    }

    /// Whether an accepted entry is stored: it is not if the head block holds its equal.
    fn store(&mut self, entry: &Entry, now: UnixNanos) -> bool {
        let time = entry.time();
        self.updated = now;
        self.newest = self.newest.max(Some(time));
        self.last = Some((time, entry.line.clone()));
        let lines = self.head.entry(time.unix()).or_default();
        if lines.contains(&entry.line) {
            return false;
        }
        lines.push(entry.line.clone());
        self.head_bytes += entry.line.len() + 8 * entry.metadata.len();
        if self.head_bytes >= HEAD_BYTES_MAX {
            self.head.clear();
            self.head_bytes = 0;
        }
        true
    }
}

/// `errorForFailedEntries` in Loki's `stream.go`.
fn answer(failures: &[Failure], shard: &Shard, push: Push<'_>) -> Result<(), Refusal> {
    let labels = &shard.labels;
    let status = match failures.last() {
        None => return Ok(()),
        Some(Failure { reason: Reason::Behind { .. }, .. }) => StatusCode::BAD_REQUEST,
        Some(Failure { reason: Reason::Rate { .. }, .. }) => StatusCode::TOO_MANY_REQUESTS,
    };
    let rate = size(push.options.per_stream_rate_bytes);
    let shown = failures.iter().take(ERRORS_MAX).map(|Failure { time, reason }| {
        let why = match reason {
            Reason::Behind { oldest } => format!(
                "entry too far behind, entry timestamp is: {}, oldest acceptable timestamp is: {}",
                time.rfc3339(),
                oldest.rfc3339()
            ),
            Reason::Rate { bytes } => format!(
                "Per stream rate limit exceeded (limit: {rate}/sec) while attempting to ingest \
                 for stream '{labels}' totaling {}, consider splitting a stream via additional \
                 labels or contact your Loki administrator to see if the limit can be increased",
                size(*bytes)
            ),
        };
        format!("entry with timestamp {} ignored, reason: '{why}',\n", time.go())
    });
    let shown: String = shown.collect();
    let (count, total, user) = (failures.len(), shard.entries.len(), push.user);
    let sum = format!("user '{user}', total ignored: {count} out of {total} for stream: {labels}");
    Err(Refusal::new(status, shown + &sum))
}

/// Go's `datasize`: the largest unit that divides.
fn size(bytes: usize) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut left = bytes;
    let mut unit = 0;
    while left > 0 && left.is_multiple_of(1024) && unit + 1 < units.len() {
        left /= 1024;
        unit += 1;
    }
    format!("{left}{}", units[unit])
}

fn stream_limit_text(labels: &Labels, user: &str) -> String {
    format!(
        "Maximum active stream limit exceeded when trying to create stream {labels}, reduce the \
         number of active streams (reduce labels or reduce label values), or contact your Loki \
         administrator to see if the limit can be increased, user: '{user}'"
    )
}

/// `first` as Prometheus prints a time: seconds, with milliseconds as needed.
fn schema_text(first: UnixNanos) -> String {
    let millis = first.0.div_euclid(1_000_000);
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let time = format!("{sign}{seconds}.{rest:03}");
    let time = time.trim_end_matches('0').trim_end_matches('.');
    let what = "failed to create stream: no schema config found for time";
    format!("rpc error: code = Unknown desc = {what} {time}")
}

//! What Loki's distributor refuses, stream by stream and entry by entry. The rest is stored,
//! whatever the answer says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;

use super::http::Refusal;
use super::labels::Labels;
use super::options::Options;
use crate::model::{
    ENTRY_WEIGHT, LABEL_NAME_BYTES_MAX, LABEL_NAMES_MAX, LABEL_VALUE_BYTES_MAX, LINE_BYTES_DEFAULT,
    METADATA_BYTES_MAX, METADATA_PAIRS_MAX, STREAM_WEIGHT, UnixNanos,
};
use crate::wire::push::{Entry, PushRequest, Stream, Timestamp};

/// `reject_old_samples_max_age`.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// `creation_grace_period`.
const AHEAD_MAX: Duration = Duration::from_secs(600);

/// Where `service_name` comes from, in order.
const SERVICE_NAME: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// What is left of a push, and what was refused.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) streams: Vec<(Arc<Labels>, Vec<Entry>)>,
    pub(super) refused: Refused,
    /// Bytes of lines and metadata.
    pub(super) bytes: usize,
    /// Bytes of protobuf, with what Loki adds on the way to an ingester.
    pub(super) weight: usize,
}

/// Texts of refusals, and how often each occurred.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, usize>);

impl Refused {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// dskit's `GroupedErrors`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, (text, &count)) in self.0.iter().enumerate() {
            let semicolon = if idx == 0 { "" } else { "; " };
            if self.0.len() > 1 || count > 1 {
                write!(f, "{semicolon}{count} errors like: {text}")?;
            } else {
                write!(f, "{text}")?;
            }
        }
        Ok(())
    }
}

/// Checks a push. An error refuses all of it.
pub(super) fn check(
    request: PushRequest,
    options: &Options,
    now: UnixNanos,
) -> Result<Checked, Refusal> {
    if request.streams.is_empty() {
        let text = "error at least one valid stream is required for ingestion";
        return Err(Refusal::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let parse = |stream: Stream| match Labels::parse(&stream.labels) {
        Ok(labels) => Ok((labels, stream)),
        Err(error) => Err(Refusal::bad_request(format!("couldn't parse labels: {error}"))),
    };
    let parsed: Vec<_> = request.streams.into_iter().map(parse).collect::<Result<_, _>>()?;
    let mut checked = Checked::default();
    for (labels, stream) in parsed {
        let labels = if options.discover_service_name { discover(labels) } else { labels };
        checked.stream(labels, stream, options, now);
    }
    Ok(checked)
}

impl Checked {
    fn stream(&mut self, labels: Labels, mut stream: Stream, options: &Options, now: UnixNanos) {
        if stream.entries.is_empty() {
            return;
        }
        if let Err(text) = check_labels(&labels) {
            *self.refused.0.entry(text).or_default() += 1;
            return;
        }
        stream.entries.retain(|entry| match check_entry(&labels, entry, options, now) {
            Ok(()) => true,
            Err(text) => {
                *self.refused.0.entry(text).or_default() += 1;
                false
            }
        });
        if stream.entries.is_empty() {
            return;
        }
        self.weight += stream.encoded_len() + STREAM_WEIGHT + service(&labels).len();
        self.weight += stream.entries.len() * ENTRY_WEIGHT;
        self.bytes += stream.entries.iter().map(|e| e.line.len() + metadata_len(e)).sum::<usize>();
        self.streams.push((Arc::new(labels), stream.entries));
    }
}

fn discover(labels: Labels) -> Labels {
    if labels.get("service_name").is_some() {
        return labels;
    }
    let mut pairs: Vec<(String, String)> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.push(("service_name".to_owned(), service(&labels).to_owned()));
    Labels::from_pairs(pairs)
}

/// What Loki takes for the service's name.
fn service(labels: &Labels) -> &str {
    SERVICE_NAME.iter().find_map(|name| labels.get(name)).unwrap_or("unknown_service")
}

/// `ValidateLabels` in Loki's `validator.go`.
fn check_labels(labels: &Labels) -> Result<(), String> {
    if labels.is_empty() {
        return Err("error at least one label pair is required per stream".to_owned());
    }
    let count = labels.len() - usize::from(labels.get("service_name").is_some());
    if count > LABEL_NAMES_MAX {
        let text = format!("has {count} label names; limit {LABEL_NAMES_MAX}");
        return Err(format!("entry for stream '{labels}' {text}"));
    }
    for (name, value) in labels.iter() {
        if name.len() > LABEL_NAME_BYTES_MAX {
            return Err(format!("stream '{labels}' has label name too long: '{name}'"));
        }
        if value.len() > LABEL_VALUE_BYTES_MAX {
            return Err(format!("stream '{labels}' has label value too long: '{value}'"));
        }
    }
    match labels.duplicate() {
        Some(name) => Err(format!("stream '{labels}' has duplicate label name: '{name}'")),
        None => Ok(()),
    }
}

/// `ValidateEntry` in Loki's `validator.go`.
fn check_entry(
    labels: &Labels,
    entry: &Entry,
    options: &Options,
    now: UnixNanos,
) -> Result<(), String> {
    let time = time(entry);
    let oldest = now.minus(AGE_MAX);
    if time < oldest {
        let (time, oldest) = (shown(entry), seconds(oldest));
        let text = format!("too old: {time}, oldest acceptable timestamp is: {oldest}");
        return Err(format!("entry for stream '{labels}' has timestamp {text}"));
    }
    if time > now.plus(AHEAD_MAX) {
        let time = shown(entry);
        return Err(format!("entry for stream '{labels}' has timestamp too new: {time}"));
    }
    let len = entry.line.len();
    if u32::try_from(len).is_ok_and(|len| len <= LINE_BYTES_DEFAULT) {
        check_metadata(labels, entry, options)
    } else {
        Err(format!(
            "Max entry size '{LINE_BYTES_DEFAULT}' bytes exceeded for stream '{labels}' \
             while adding an entry with length '{len}' bytes"
        ))
    }
}

fn check_metadata(labels: &Labels, entry: &Entry, options: &Options) -> Result<(), String> {
    let pairs = entry.structured_metadata.len();
    let bytes = metadata_len(entry);
    let (text, setting, act) = if pairs > 0 && !options.allow_structured_metadata {
        let text = "includes structured metadata, but this feature is disallowed".to_owned();
        (text, "allow_structured_metadata", "enable")
    } else if bytes > METADATA_BYTES_MAX {
        let limit = METADATA_BYTES_MAX;
        let text = "has structured metadata too large";
        let text = format!("{text}: '{bytes}' bytes, limit: '{limit}' bytes");
        (text, "max_structured_metadata_size", "increase")
    } else if pairs > METADATA_PAIRS_MAX {
        let limit = METADATA_PAIRS_MAX;
        let text = "has too many structured metadata labels";
        let text = format!("{text}: '{pairs}', limit: '{limit}'");
        (text, "max_structured_metadata_entries_count", "increase")
    } else {
        return Ok(());
    };
    Err(format!(
        "stream '{labels}' {text}. Please see `limits_config.{setting}` or contact your Loki \
         administrator to {act} it."
    ))
}

fn metadata_len(entry: &Entry) -> usize {
    entry.structured_metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum()
}

/// The time of an entry, wrapping beyond 1677 to 2262 as Go's `UnixNano` does. Without a
/// timestamp it is that of year 1.
pub(super) fn time(entry: &Entry) -> UnixNanos {
    let Timestamp { seconds, nanos } = timestamp(entry);
    UnixNanos(seconds.wrapping_mul(1_000_000_000).wrapping_add(i64::from(nanos)))
}

fn timestamp(entry: &Entry) -> Timestamp {
    entry.timestamp.unwrap_or(Timestamp { seconds: -62_135_596_800, nanos: 0 })
}

fn shown(entry: &Entry) -> String {
    jiff::Timestamp::from_second(timestamp(entry).seconds)
        .map_or_else(|error| error.to_string(), |time| time.to_string())
}

/// A time as Loki's errors show it: RFC 3339, cut to seconds.
pub(super) fn seconds(time: UnixNanos) -> String {
    UnixNanos(time.0 - time.0.rem_euclid(1_000_000_000)).to_string()
}

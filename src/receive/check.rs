//! What Loki's distributor refuses, stream by stream and entry by entry. The rest is stored,
//! whatever the answer says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::detect;
use super::http::Refusal;
use super::labels::Labels;
use super::logql::{Query, fields};
use super::message::{Entry, Pair, Request, Time};
use super::options::Options;
use crate::model::{
    LABEL_NAME_BYTES_MAX, LABEL_NAMES_MAX, LABEL_VALUE_BYTES_MAX, LINE_BYTES_DEFAULT,
    METADATA_BYTES_MAX, METADATA_PAIRS_MAX, UnixNanos,
};

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
}

/// Texts of refusals, and how often each occurred.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<String, usize>);

impl Refused {
    fn add(&mut self, text: String) {
        *self.0.entry(text).or_default() += 1;
    }

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

/// Checks a push of `user`. An error refuses all of it.
pub(super) fn check(
    request: Request,
    options: &Options,
    user: &str,
    now: UnixNanos,
) -> Result<Checked, Refusal> {
    if request.streams.is_empty() {
        let text = "error at least one valid stream is required for ingestion";
        return Err(Refusal::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, text));
    }
    let mut parsed = Vec::new();
    for stream in request.streams {
        let text = String::from_utf8_lossy(&stream.labels).into_owned();
        let labels = Labels::parse(&text)
            .map_err(|error| Refusal::bad_request(format!("couldn't parse labels: {error}")))?;
        let discovered = options.discover_service_name.then(|| discover(&labels)).flatten();
        let text = discovered.as_ref().map_or(text, Labels::to_string);
        parsed.push((text, discovered.unwrap_or(labels), stream.entries));
    }
    let check = Check { options, user, now };
    let mut checked = Checked::default();
    for (text, labels, entries) in parsed {
        check.stream(&text, labels, entries, &mut checked);
    }
    Ok(checked)
}

impl Checked {
    /// What the tenant's rate limit charges for it, in bytes.
    pub(super) fn charge(&self) -> usize {
        self.streams.iter().flat_map(|(_, entries)| entries).map(Entry::charge).sum()
    }

    /// How many entries are left.
    pub(super) fn lines(&self) -> usize {
        self.streams.iter().map(|(_, entries)| entries.len()).sum()
    }

    /// Refuses the entries that `query` finds. Says whether there were any.
    pub(super) fn refuse(&mut self, query: &Query, text: &str) -> bool {
        let text = if text.is_empty() { "is refused" } else { text };
        let mut found = false;
        for (labels, entries) in &mut self.streams {
            entries.retain(|entry| {
                let metadata: Vec<_> = entry.metadata.iter().map(Pair::text).collect();
                let line = String::from_utf8_lossy(&entry.line);
                let hit = query.selects(labels) && query.passes(&fields(labels, &metadata), &line);
                if hit {
                    self.refused.add(format!("entry for stream '{labels}' {text}"));
                }
                found |= hit;
                !hit
            });
        }
        self.streams.retain(|(_, entries)| !entries.is_empty());
        found
    }
}

struct Check<'a> {
    options: &'a Options,
    user: &'a str,
    now: UnixNanos,
}

impl Check<'_> {
    /// `text` is the label set as the distributor was given it.
    fn stream(&self, text: &str, labels: Labels, entries: Vec<Entry>, checked: &mut Checked) {
        if entries.is_empty() {
            return;
        }
        if let Err(text) = self.labels(text, &labels) {
            checked.refused.add(text);
            return;
        }
        let mut left = Vec::with_capacity(entries.len());
        for mut entry in entries {
            if let Err(text) = self.entry(&labels, &entry) {
                checked.refused.add(text);
                continue;
            }
            entry.metadata.iter_mut().for_each(detect::clean);
            let allowed = self.options.allow_structured_metadata;
            let level = if allowed { detect::level(&labels, &entry) } else { String::new() };
            if !level.is_empty() {
                entry.metadata.push(Pair::new("detected_level", &level));
            }
            left.push(entry);
        }
        if !left.is_empty() {
            checked.streams.push((Arc::new(labels), left));
        }
    }

    fn labels(&self, text: &str, labels: &Labels) -> Result<(), String> {
        if let Err(error) = labels.reparse(text) {
            return Err(format!("Error parsing labels '{text}' with error: {error}"));
        }
        check_labels(text, labels)?;
        let enforced = self.options.enforced_labels.iter().map(String::as_str);
        let missing: Vec<&str> = enforced.filter(|name| labels.get(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!("missing required labels {} for user {}", missing.join(","), self.user))
    }

    /// `ValidateEntry` in Loki's `validator.go`.
    fn entry(&self, labels: &Labels, entry: &Entry) -> Result<(), String> {
        let (options, time) = (self.options, entry.time());
        let oldest = self.now.minus(options.reject_old_samples_max_age);
        if options.reject_old_samples && time.unix() < oldest {
            let (time, oldest) = (time.rfc3339(), Time::from(oldest).rfc3339());
            let text = format!("too old: {time}, oldest acceptable timestamp is: {oldest}");
            return Err(format!("entry for stream '{labels}' has timestamp {text}"));
        }
        if time.unix() > self.now.plus(options.creation_grace_period) {
            let time = time.rfc3339();
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
}

/// The labels with `service_name`, if they have none.
fn discover(labels: &Labels) -> Option<Labels> {
    if labels.get("service_name").is_some() {
        return None;
    }
    Some(labels.with("service_name", service(labels)))
}

/// What Loki takes for the service's name.
pub(super) fn service(labels: &Labels) -> &str {
    SERVICE_NAME.iter().find_map(|name| labels.get(name)).unwrap_or("unknown_service")
}

/// `ValidateLabels` in Loki's `validator.go`.
fn check_labels(text: &str, labels: &Labels) -> Result<(), String> {
    if labels.is_empty() {
        return Err("error at least one label pair is required per stream".to_owned());
    }
    let count = labels.len() - usize::from(labels.get("service_name").is_some());
    if count > LABEL_NAMES_MAX {
        let what = format!("has {count} label names; limit {LABEL_NAMES_MAX}");
        return Err(format!("entry for stream '{text}' {what}"));
    }
    let mut last = "";
    for (name, value) in labels.iter() {
        let what = if name.len() > LABEL_NAME_BYTES_MAX {
            format!("label name too long: '{name}'")
        } else if value.len() > LABEL_VALUE_BYTES_MAX {
            format!("label value too long: '{value}'")
        } else if name == last {
            format!("duplicate label name: '{name}'")
        } else {
            last = name;
            continue;
        };
        return Err(format!("stream '{text}' has {what}"));
    }
    Ok(())
}

fn check_metadata(labels: &Labels, entry: &Entry, options: &Options) -> Result<(), String> {
    let pairs = entry.metadata.len();
    let bytes = entry.metadata_len();
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

//! What an answer means: the one place that knows Loki's statuses and texts.
//!
//! Follows sections 4, 5 and 9 of the push contract (Loki 3.4.6 and main). Newer versions
//! lower-case the first letters of most texts, so all matching is on lower-cased text, and only
//! on what stands outside label sets: those hold values that anyone who logs can choose.

use std::time::Duration;

use super::StructuredMetadata;
use crate::model::Reason;

/// How often the same 500 must answer the same bytes before a split is tried.
pub const SAME_500_MAX: u32 = 5;

/// How often the same 429 must answer a push that is larger than a second's allowance before it
/// is split: once can be bad luck, a bucket that is too small stays too small.
pub const SAME_429_MAX: u32 = 2;

/// How often the same answer about a rate must come before a push that is within a second's
/// allowance is split after all: a burst may be set far below that.
pub(super) const STUCK_429_MAX: u32 = 4;

/// Longest text of an answer that is kept for people, in bytes.
const WHY_BYTES_MAX: usize = 300;

/// What came back for one push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer.
    Status {
        /// The status.
        code: u16,
        /// The first 4 KiB of the body.
        body: String,
        /// `Retry-After`, as a time from now.
        retry_after: Option<Duration>,
    },
    /// None, or none that could be read. Loki may have stored the push.
    Failed {
        /// What went wrong and where, without secrets.
        text: String,
        /// What kind of fault it is.
        kind: Failure,
    },
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Name lookup, connect, proxy or TLS handshake.
    Connect,
    /// No complete answer within `loki.timeout`.
    Timeout,
    /// The connection broke before the answer was complete.
    Broken,
    /// Nothing was sent: a file with a credential or certificate cannot be used.
    Setup,
}

/// What the outcome depends on beside the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Entries in the push; at least 1.
    pub entries: usize,
    /// Streams in the push; at least 1.
    pub streams: usize,
    /// How often this push was answered like this in a row, this time included.
    pub repeats: u32,
    /// Whether this batch was already split because of [`SAME_500_MAX`].
    pub split_tried: bool,
    /// The setting, or `Off` when the push was sent without metadata.
    pub metadata: StructuredMetadata,
}

/// What to do about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Loki has it.
    Delivered,
    /// The same bytes may pass later.
    Retry {
        /// What to tell people.
        why: String,
        /// The server's own wish, from now.
        not_before: Option<Duration>,
    },
    /// Too large as a whole: send both halves.
    Split,
    /// Loki refuses some streams, and of a push with several its verdict hides some: ask stream by
    /// stream.
    Apart,
    /// Some entries are refused for ever: find them by halves.
    Isolate,
    /// Entries of this one stream are too far behind its newest: send them at a later time.
    Behind,
    /// This one stream is sent too fast, or is one too many: the others first, then again.
    Slow {
        /// What to tell people.
        why: String,
        /// The server's own wish, from now.
        not_before: Option<Duration>,
        /// What is limited.
        limit: StreamLimit,
    },
    /// This one entry is refused for ever.
    Bury(Reason),
    /// No data is at fault: wait for somebody to fix the way to Loki, and drop nothing.
    Hold {
        /// What to tell people.
        why: String,
    },
    /// The endpoint takes no structured metadata: send without.
    WithoutMetadata,
}

/// Which of Loki's limits on streams was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLimit {
    /// Bytes a second in one stream, if the text says how many.
    Rate(Option<u64>),
    /// The number of streams of the tenant.
    Count,
}

/// Decides what to do about `answer`.
#[must_use]
pub fn outcome(answer: &Answer, facts: Facts) -> Outcome {
    let (code, body, not_before) = match answer {
        Answer::Status { code, body, retry_after } => (*code, body, *retry_after),
        Answer::Failed { text, kind: Failure::Setup } => {
            return Outcome::Hold { why: text.clone() };
        }
        Answer::Failed { text, kind: Failure::Connect | Failure::Timeout | Failure::Broken } => {
            return Outcome::Retry { why: text.clone(), not_before: None };
        }
    };
    let text = outside_labels(body);
    match code {
        200 | 204 => Outcome::Delivered,
        400 => refused(&text, body, facts),
        413 => smaller(facts),
        // Loki's only 422 is about an empty push, which is never sent: a bug of ours, or a
        // gateway that cannot use what it got. Both are kept apart from the data that passes.
        422 if text.contains("at least one valid stream") => hold(code, body),
        422 => isolate(facts),
        429 if let Some(limit) = stream_limit(&text) => {
            if 1 < facts.streams {
                Outcome::Apart
            } else {
                Outcome::Slow { why: why(code, body), not_before, limit }
            }
        }
        429 if facts.entries > 1 && facts.repeats >= SAME_429_MAX && over_allowance(&text) => {
            Outcome::Split
        }
        429 if facts.entries > 1
            && facts.repeats >= STUCK_429_MAX
            && text.contains("rate limit exceeded") =>
        {
            Outcome::Split
        }
        500 if text.contains("received message larger than max") => smaller(facts),
        500 if text.contains("no schema config found") => hidden(facts),
        500 if text.contains("label name is empty")
            || text.contains("label name cannot be empty") =>
        {
            isolate(facts)
        }
        500 if facts.entries > 1 && facts.repeats >= SAME_500_MAX && !facts.split_tried => {
            Outcome::Split
        }
        501 => hold(code, body),
        408 | 425 | 429 | 499 | 500..=599 => Outcome::Retry { why: why(code, body), not_before },
        // 260 is "blocked", whatever the class says. 401, 403, 404, 405, redirects and the rest
        // of 2xx, 3xx and 4xx speak of the way, not of the data.
        _ => hold(code, body),
    }
}

/// Whether a refusal compares the entry with its own stream, and so is no sign of a fault on the
/// way, however often it comes.
pub(super) fn is_about_the_entry(answer: &Answer) -> bool {
    let Answer::Status { code: 400, body, .. } = answer else { return false };
    let text = outside_labels(body);
    text.contains("entry too far behind") || text.contains("entry out of order")
}

/// A 400: the fault of the data, unless the text speaks of tenants or configuration.
fn refused(text: &str, body: &str, facts: Facts) -> Outcome {
    const TENANT: [&str; 3] = ["no org id", "multiple org ids present", "tenant id "];
    if TENANT.iter().any(|start| text.starts_with(start)) {
        return hold(400, body);
    }
    // `enforced_labels` ask for a label that no entry of the source has. Only the configuration
    // can add it; burying a whole service would be wrong.
    if text.contains("missing required labels") {
        return hold(400, body);
    }
    // The request as a whole is larger than snappy's own limit, as Loki words it.
    if text.contains("received message larger than max") {
        return smaller(facts);
    }
    if text.contains("includes structured metadata, but this feature is disallowed") {
        return match facts.metadata {
            StructuredMetadata::Auto => Outcome::WithoutMetadata,
            // Somebody insisted on metadata: the server's setting or ours must change.
            StructuredMetadata::On => hold(400, body),
            StructuredMetadata::Off => isolate(facts),
        };
    }
    let is_of_an_ingester = text.contains(" ignored, reason: ")
        || (text.contains("parse error: invalid utf-8 rune")
            && !text.contains("parsing labels")
            && !text.contains("parse labels"));
    match facts.streams {
        1 if text.contains("entry too far behind") => Outcome::Behind,
        _ if is_of_an_ingester => hidden(facts),
        _ => isolate(facts),
    }
}

/// Which limit on streams a 429 speaks of.
fn stream_limit(text: &str) -> Option<StreamLimit> {
    if text.contains("maximum active stream limit exceeded") {
        return Some(StreamLimit::Count);
    }
    let rest = text.split("per stream rate limit exceeded").nth(1)?;
    let rate = rest.split("(limit: ").nth(1).and_then(|rest| rest.split("/sec").next());
    Some(StreamLimit::Rate(rate.and_then(bytes)))
}

/// A size as Loki prints it, in lower case: `500b`, `3mb`, `1.5kib`.
fn bytes(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 =
        text[..unit].trim().parse().ok().filter(|number| (0.0..1e12).contains(number))?;
    let factor = match text.as_bytes()[unit] {
        b'k' => 1024.0,
        b'm' => 1024.0 * 1024.0,
        b'g' => 1024.0 * 1024.0 * 1024.0,
        _ => 1.0,
    };
    let whole = Duration::try_from_secs_f64(number * factor).ok()?;
    Some(whole.as_secs())
}

/// The distributor has looked at every entry of the push: halves find those that it means.
fn isolate(facts: Facts) -> Outcome {
    if facts.entries > 1 { Outcome::Isolate } else { Outcome::Bury(Reason::RejectedByLoki) }
}

/// An ingester's verdict is about the last stream of the push and hides what became of the others.
fn hidden(facts: Facts) -> Outcome {
    if facts.streams > 1 { Outcome::Apart } else { isolate(facts) }
}

fn smaller(facts: Facts) -> Outcome {
    if facts.entries > 1 { Outcome::Split } else { Outcome::Bury(Reason::TooLarge) }
}

fn hold(code: u16, body: &str) -> Outcome {
    Outcome::Hold { why: why(code, body) }
}

/// The status and the beginning of the body, on one line.
pub(super) fn why(code: u16, body: &str) -> String {
    let body = body.trim();
    let end = body.floor_char_boundary(WHY_BYTES_MAX);
    let text = body[..end].replace(|c: char| c.is_control(), " ");
    if text.is_empty() { format!("{code}") } else { format!("{code}: {text}") }
}

/// Whether a tenant's rate limit refused more bytes than it allows in a second. Its burst is not
/// in the text; by default it is 1.5 seconds' worth, and no bucket ever grants more.
fn over_allowance(text: &str) -> bool {
    allowance(text).is_some_and(|(limit, bytes)| limit < bytes)
}

/// How long a tenant's bucket takes to have room for the push that it refused, if nobody else
/// takes of it.
pub(super) fn refill(answer: &Answer) -> Option<Duration> {
    let Answer::Status { code: 429, body, .. } = answer else { return None };
    let (limit, bytes) = allowance(&outside_labels(body))?;
    Some(Duration::from_millis(bytes.saturating_mul(1000) / limit.max(1)))
}

/// The bytes a second that a tenant's rate limit allows, and those that it refused.
fn allowance(text: &str) -> Option<(u64, u64)> {
    if !text.starts_with("ingestion rate limit exceeded") {
        return None;
    }
    let number = |behind: &str| -> Option<u64> {
        let rest = &text[text.find(behind)? + behind.len()..];
        rest[..rest.find(|c: char| !c.is_ascii_digit())?].parse().ok()
    };
    number("(limit: ").zip(number("totaling '"))
}

/// The text in lower case without what users chose: label sets in braces (with values quoted as
/// Go does) and everything behind "too long: '", which is followed by a raw value.
pub(super) fn outside_labels(body: &str) -> String {
    let body = body.trim_start().to_lowercase();
    let body = body.split("too long: '").next().unwrap_or_default();
    let (mut inside, mut quoted, mut escaped) = (false, false, false);
    let mut out = String::with_capacity(body.len());
    for c in body.chars() {
        match c {
            '{' if !inside => inside = true,
            _ if !inside => out.push(c),
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => inside = false,
            _ => {}
        }
    }
    out
}

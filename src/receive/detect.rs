//! What Loki's distributor makes of an entry's structured metadata: names and values cleaned,
//! and the level that it finds (`field_detection.go`).

use std::borrow::Cow;

use serde_json::Value;

use super::labels::Labels;
use super::message::{Entry, Pair};

/// Where a level is looked for, in order.
const FIELDS: [&str; 9] =
    ["level", "LEVEL", "Level", "severity", "SEVERITY", "Severity", "lvl", "LVL", "Lvl"];

/// Words in a line and their level, in order; nothing else in a line is a level.
const WORDS: [(&[&str], &str); 5] = [
    (&["info", "INFO"], "info"),
    (&["err:", "ERR:", "error", "ERROR"], "error"),
    (&["warn:", "WARN:", "warning", "WARNING"], "warn"),
    (&["CRITICAL:", "critical:"], "critical"),
    (&["debug:", "DEBUG:"], "debug"),
];

/// Makes names `[a-zA-Z_][a-zA-Z0-9_]*`, but for letters and digits outside ASCII and the empty
/// name, and replaces invalid UTF-8 in values.
pub(super) fn clean(pair: &mut Pair) {
    let is_invalid = |c| c == char::REPLACEMENT_CHARACTER;
    pair.value = map(&pair.value, |c| if is_invalid(c) { ' ' } else { c }).into();
    let kept = |c: char| c.is_alphanumeric() && !is_invalid(c);
    let name = map(&pair.name, |c| if kept(c) { c } else { '_' });
    pair.name = match name.as_bytes() {
        [b'0'..=b'9', ..] => format!("key_{name}"),
        [b'_', rest @ ..] if !rest.starts_with(b"_") => format!("key{name}"),
        _ => name,
    }
    .into();
}

/// Go's `strings.Map`: each invalid byte is a U+FFFD of its own.
fn map(bytes: &[u8], each: impl Fn(char) -> char) -> String {
    let mut mapped = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        mapped.extend(chunk.valid().chars().map(&each));
        mapped.extend(chunk.invalid().iter().map(|_| each(char::REPLACEMENT_CHARACTER)));
    }
    mapped
}

/// The `detected_level` of an entry with clean metadata; empty if it gets none.
pub(super) fn level(labels: &Labels, entry: &Entry) -> String {
    let metadata = |name: &str| entry.metadata.iter().find(|pair| pair.name == name.as_bytes());
    if let Some(value) = FIELDS.iter().find_map(|name| labels.get(name)) {
        return value.to_owned();
    }
    if let Some(pair) = FIELDS.iter().find_map(|name| metadata(name)) {
        return pair.text().1;
    }
    if let Some(number) = metadata("severity_number").filter(|pair| !pair.value.is_empty()) {
        return severity(&number.text().1).to_owned();
    }
    let line = String::from_utf8_lossy(&entry.line);
    field(&line).and_then(|value| known(&value)).unwrap_or_else(|| word(&line)).to_owned()
}

/// OpenTelemetry's numbers: four to a level.
fn severity(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) | Ok(9..=12) => "info",
        Ok(0 | 25..) => "unknown",
        Ok(..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
    }
}

/// The value of the first of [`FIELDS`] that a line of JSON or logfmt has.
fn field(line: &str) -> Option<Cow<'_, str>> {
    let trimmed = line.trim();
    if trimmed.starts_with('{') && trimmed.ends_with('}') {
        let mut object: serde_json::Map<String, Value> = serde_json::from_str(trimmed).ok()?;
        let value = FIELDS.iter().find_map(|name| object.remove(*name))?;
        return value.as_str().map(|text| Cow::Owned(text.to_owned()));
    }
    let find = |wanted: &&str| logfmt(line).find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    ["level", "severity", "lvl"].iter().find_map(find).map(|(_, value)| Cow::Borrowed(value))
}

/// Names and values of `name=value name="quoted value"`.
fn logfmt(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('=')?;
        let name = name.rsplit(char::is_whitespace).next().unwrap_or_default();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        rest = left;
        Some((name, value))
    })
}

fn known(value: &str) -> Option<&'static str> {
    Some(match value.to_ascii_lowercase().as_str() {
        "trace" | "trc" => "trace",
        "debug" | "dbg" => "debug",
        "info" | "inf" => "info",
        "warn" | "wrn" | "warning" => "warn",
        "error" | "err" => "error",
        "critical" => "critical",
        "fatal" => "fatal",
        _ => return None,
    })
}

fn word(line: &str) -> &'static str {
    let found = WORDS.iter().find(|(words, _)| words.iter().any(|word| line.contains(word)));
    found.map_or("unknown", |(_, level)| level)
}

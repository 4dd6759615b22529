//! The logfmt picker against a twin of regular expressions and serde_json.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use skald::model::Flag;
use skald::parse::{Format, Rule};

use super::reading::{clean, field, options, read};

const NAMES: [&str; 5] = ["a", "b", "é", "a.b", "level"];

static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?s)^[ \t]*([^ \t=]*)(?:=(?:"((?:[^"\\]|\\.)*)"|([^ \t"][^ \t]*)?))?"#;
    Regex::new(pattern).expect("the pattern is fixed")
});

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The CR of a line's end is no part of it.
    let text = text.strip_suffix('\r').unwrap_or(&text);
    if text.len() > 8192 {
        return;
    }
    let fields = NAMES.iter().enumerate().map(|(idx, name)| field(&format!("m{idx}"), &[name]));
    let rules = vec![Rule::Metadata(fields.collect())];
    let line = format!("{text}\r");
    let reading = read(&options(Format::LOGFMT, rules), line.as_bytes());
    let (fits, found) = naive(text);
    assert_eq!(reading.flags.contains(Flag::NotInFormat), !fits, "{text}");
    let found = NAMES.iter().enumerate().filter_map(|(idx, name)| {
        let value = found.get(name).filter(|value| !value.is_empty())?;
        Some((format!("m{idx}"), clean(value)))
    });
    assert_eq!(reading.metadata, found.collect(), "{text}");
}

/// Whether all of `text` is logfmt, and the values before the fault.
fn naive(text: &str) -> (bool, BTreeMap<&str, String>) {
    let (mut rest, mut pairs, mut found) = (text, 0, BTreeMap::new());
    while !rest.trim_start_matches([' ', '\t']).is_empty() {
        let token = TOKEN.captures(rest).expect("the empty token fits everything");
        let (whole, name) = (token[0].len(), token.get(1).map_or("", |name| name.as_str()));
        rest = &rest[whole..];
        if !token[0].contains('=') {
            continue;
        }
        let open_quote = token[0].ends_with('=') && rest.starts_with('"');
        if name.is_empty() || open_quote {
            return (false, found);
        }
        pairs += 1;
        if !NAMES.contains(&name) {
            continue;
        }
        let value = match token.get(2) {
            Some(quoted) => unescape(quoted.as_str()),
            None => Some(token.get(3).map_or("", |bare| bare.as_str()).to_owned()),
        };
        let Some(value) = value else { return (false, found) };
        found.insert(name, value);
    }
    (pairs > 0, found)
}

/// As serde_json does it, which wants control characters to be escaped.
fn unescape(raw: &str) -> Option<String> {
    let mut text = String::new();
    for part in raw.split_inclusive(|c: char| c < ' ') {
        let end = part.find(|c: char| c < ' ').unwrap_or(part.len());
        text += &serde_json::from_str::<String>(&format!("\"{}\"", &part[..end])).ok()?;
        text += &part[end..];
    }
    Some(text)
}

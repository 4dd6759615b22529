//! What the label encoder writes, Loki's grammar reads back.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use skald::receive::Labels;
use skald::wire::label_string;

use super::bytes::unescape;
use super::reading::clean;

/// The one form that is sent: what Go's string literals and PromQL's lexer have in common.
static CANONICAL: LazyLock<Regex> = LazyLock::new(|| {
    let value = r#""((?:[^"\\\x00-\x1f\x7f\x{fffd}]|\\["\\nrt]|\\x[0-7][0-9a-f])+)""#;
    let pair = format!("([a-zA-Z_][a-zA-Z0-9_]*)={value}");
    Regex::new(&pair).expect("the pattern is fixed")
});

/// Names and values in turn, apart by 0xFF, which no text holds.
pub(crate) fn check(data: &[u8]) {
    let parts: Vec<String> =
        data.split(|byte| *byte == 0xFF).map(|part| String::from_utf8_lossy(part).into()).collect();
    let pairs: Vec<(String, &str)> = parts
        .chunks(2)
        .map(|pair| (name(&pair[0]), pair.get(1).map_or("", String::as_str)))
        .collect();
    let text = label_string(pairs.iter().map(|(name, value)| (&**name, *value)));

    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &pairs {
        expected.insert(name.clone(), clean(value));
    }
    expected.retain(|_, value| !value.is_empty());
    let labels = Labels::parse(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
    let read: BTreeMap<String, String> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!((read, labels.len()), (expected.clone(), expected.len()), "{text}");
    assert_eq!(canonical(&text), expected, "{text}");
    any_text(&String::from_utf8_lossy(data));
}

/// Labels that Loki would take come back as they are.
fn any_text(text: &str) {
    let Ok(labels) = Labels::parse(text) else { return };
    let shown = labels.to_string();
    assert_eq!(Labels::parse(&shown).as_ref(), Ok(&labels), "{shown}");
    let mut names: Vec<&str> = labels.iter().map(|(name, _)| name).collect();
    names.dedup();
    let is_metric = labels.get("__name__").is_some();
    if names.len() == labels.len() && !is_metric {
        let written = label_string(labels.iter());
        assert_eq!(Labels::parse(&written), Ok(labels), "{written}");
    }
}

fn name(text: &str) -> String {
    let text: String = text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) || text.is_empty() {
        format!("_{text}")
    } else {
        text
    }
}

/// Reads the canonical form, and only that: sorted, one space behind each comma.
fn canonical(text: &str) -> BTreeMap<String, String> {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("braces");
    let (mut at, mut last, mut read) = (0, String::new(), BTreeMap::new());
    while at < inside.len() {
        if at > 0 {
            assert_eq!(inside.get(at..at + 2), Some(", "), "{text}");
            at += 2;
        }
        let pair = CANONICAL.captures_at(inside, at).unwrap_or_else(|| panic!("no pair: {text}"));
        assert_eq!(pair.get(0).map(|pair| pair.start()), Some(at), "{text}");
        at += pair[0].len();
        assert!(last.as_str() < &pair[1], "not in order: {text}");
        pair[1].clone_into(&mut last);
        read.insert(last.clone(), String::from_utf8(unescape(&pair[2])).expect("UTF-8"));
    }
    read
}

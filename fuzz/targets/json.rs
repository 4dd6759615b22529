//! On every line that serde_json accepts as an object, the picker gives the same fields, whatever
//! lines it saw before.

use std::sync::Arc;

use serde_json::{Map, Value};
use skald::model::{Flag, LABEL_VALUE_BYTES_MAX};
use skald::parse::{Format, Path, Plan, Rule};

use super::reading::{Reader, clean, field, options, read};

/// Longer ones would fill the metadata.
const LINE_BYTES_MAX: usize = 4096;

/// More teach nothing new.
const LINES_MAX: usize = 16;

const PATHS: [&[&str]; 10] = [
    &["a"],
    &["b"],
    &["a", "b"],
    &["a", "b", "c"],
    &["b", "a"],
    &["é"],
    &["a.b"],
    &["level"],
    &["\n\"\\"],
    &["log"],
];

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(&data[..data.len().min(LINE_BYTES_MAX)]);
    let metadata = |(idx, path): (usize, &&[&str])| field(&format!("m{idx}"), path);
    let label = |(idx, path): (usize, &&[&str])| field(&format!("l{idx}"), path);
    let rules = || {
        let metadata = PATHS.iter().enumerate().map(metadata).collect();
        let labels = PATHS.iter().enumerate().map(label).collect();
        vec![Rule::Metadata(metadata), Rule::Label(labels)]
    };
    check_lines(&text, rules());
    let reading = read(&options(Format::JSON, rules()), text.as_bytes());
    let Ok(Value::Object(object)) = serde_json::from_str(&text) else { return };
    assert!(!reading.flags.contains(Flag::NotJson), "serde_json takes it: {text}");
    for (idx, path) in PATHS.iter().enumerate() {
        let expected = lookup(&object, path);
        let (label, metadata) = (format!("l{idx}"), format!("m{idx}"));
        check_value(&text, expected, reading.metadata.get(&metadata).map(String::as_str), true);
        check_value(&text, expected, reading.labels.get(&label).map(String::as_str), false);
    }
    if !text.starts_with("{\"log\":\"") {
        assert_eq!(reading, read(&options(Format::AUTO, rules()), text.as_bytes()), "{text}");
    }
}

/// Reads the lines of `text` twice with one parser: each must be what it is as the first one.
fn check_lines(text: &str, rules: Vec<Rule>) {
    let mut options = options(Format::AUTO, rules);
    let from = ["time", "ts"].map(|name| Path(vec![name.to_owned()])).to_vec();
    options.rules.push(Rule::Timestamp { from, formats: Vec::new() });
    let plan = Arc::new(Plan::compile(&options));
    let lines: Vec<&str> = text.split('\n').take(LINES_MAX).collect();
    let mut reader = Reader::new(&plan);
    for line in lines.iter().chain(&lines).map(|line| line.as_bytes()) {
        assert_eq!(reader.read(line), Reader::new(&plan).read(line), "{text}");
    }
}

fn lookup<'a>(object: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first().expect("no path is empty");
    rest.iter().try_fold(object.get(*first)?, |value, name| value.get(name))
}

fn check_value(text: &str, expected: Option<&Value>, got: Option<&str>, nested: bool) {
    match expected {
        None | Some(Value::Null) => assert_eq!(got, None, "{text}"),
        Some(Value::String(string)) => {
            let string = Some(clean(string)).filter(|string| !string.is_empty());
            // A longer label is cut.
            let is_cut =
                !nested && string.as_ref().is_some_and(|s| LABEL_VALUE_BYTES_MAX < s.len());
            assert!(is_cut || got == string.as_deref(), "{got:?} for {string:?}: {text}");
        }
        Some(Value::Object(_) | Value::Array(_)) if !nested => assert_eq!(got, None, "{text}"),
        // A nested value is its text, in which U+FFFD was replaced.
        Some(Value::Object(_) | Value::Array(_)) if text.contains('\u{FFFD}') => {}
        Some(value) => {
            let got = got.unwrap_or_else(|| panic!("{value} is missing: {text}"));
            let read: Value = serde_json::from_str(got)
                .unwrap_or_else(|err| panic!("{got:?} is no value ({err}): {text}"));
            assert_eq!(&read, value, "{text}");
            assert_eq!(got.trim(), got, "a token and nothing else: {text}");
        }
    }
}

//! Wrappers of container runtimes against a twin of a regular expression and serde_json.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};
use skald::model::Flag;
use skald::parse::{Format, Options};

use super::reading::{options, read};
use super::times;

static CRI: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)^([0-9][^ ]*) std(?:out|err) [FP](?::[^ [:^ascii:]]*)?(?: (.*))?$";
    Regex::new(pattern).expect("the pattern is fixed")
});

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let line = format!("{text}\r");
    let as_format = |format| -> Options { options(format, Vec::new()) };
    let (cri, docker) = (cri(text), docker(text));
    compare(&as_format(Format::CRI), &line, cri.as_ref());
    if let Ok(docker) = docker {
        compare(&as_format(Format::DOCKER), &line, docker.as_ref());
    }
    let auto = read(&as_format(Format::AUTO), line.as_bytes());
    assert!(!auto.flags.contains(Flag::NotInFormat), "{text}");
    if let Some((inner, _)) = cri {
        assert_eq!(auto.line, inner, "{text}");
    }
}

fn compare(options: &Options, line: &str, expected: Option<&(String, i128)>) {
    let reading = read(options, line.as_bytes());
    assert_eq!(reading.flags.contains(Flag::NotInFormat), expected.is_none(), "{line}");
    match expected {
        None => assert_eq!(reading.line, line[..line.len() - 1]),
        Some((inner, nanos)) => {
            assert_eq!(reading.line, *inner, "{line}");
            assert_eq!(reading.time.0, times::clamp(*nanos).0, "{line}");
        }
    }
}

fn cri(text: &str) -> Option<(String, i128)> {
    let found = CRI.captures(text)?;
    let inner = found.get(2).map_or("", |inner| inner.as_str());
    Some((inner.to_owned(), time(&found[1])?))
}

/// What serde_json sees; an error where its word is not the picker's law.
fn docker(text: &str) -> Result<Option<(String, i128)>, ()> {
    let object: Map<String, Value> = serde_json::from_str(text).map_err(drop)?;
    let is_scalar = |name| {
        object
            .get(name)
            .is_some_and(|v| !matches!(v, Value::Null | Value::Object(_) | Value::Array(_)))
    };
    if !is_scalar("stream") || !is_scalar("log") {
        return Ok(None);
    }
    let Some(time) = object.get("time").and_then(Value::as_str).and_then(time) else {
        return Ok(None);
    };
    // Docker writes text; anything else would be kept as it is spelled.
    let mut log = object["log"].as_str().map(str::to_owned).ok_or(())?;
    for end in ['\n', '\r'] {
        log.truncate(log.strip_suffix(end).unwrap_or(&log).len());
    }
    Ok(Some((log, time)))
}

/// With `T` and a zone.
fn time(text: &str) -> Option<i128> {
    let zone = text.ends_with('Z') || {
        let zone = text.len().checked_sub(6).and_then(|at| text.get(at..)).unwrap_or("");
        zone.starts_with(['+', '-']) && zone.as_bytes()[3] == b':'
    };
    let is_strict = zone && text.as_bytes().get(10) == Some(&b'T');
    times::rfc3339(text).filter(|_| is_strict)
}

//! Scalars: what a key's value may be, and what is said when it is not.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::fmt::friendly::SpanParser;
use jiff::{SignedDuration, SpanRelativeTo};
use reqwest::Url;

use super::keys;
use super::raw::{Node, Text, Value};
use super::report::Problem;
use super::secret;

type Problems = Vec<Problem>;

/// Longest piece of a value in a message, in characters.
const SHOWN_CHARS: usize = 60;

/// A piece of the file for a message: short, on one line, without what looks like a secret.
pub(super) fn short(text: &str) -> String {
    let text = secret::written(text);
    let mut short: String = text.chars().take(SHOWN_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] })
        .collect()
}

/// What a message may show of a value: never what came out of the environment.
pub(super) fn shown(text: &Text) -> String {
    short(text.written.as_ref().unwrap_or(&text.text))
}

/// Reports a value that is wrong: `message`, with `label` beside the caret.
pub(super) fn wrong<T>(
    problems: &mut Problems,
    node: &Node,
    message: String,
    label: &str,
    hint: impl Into<String>,
) -> Option<T> {
    problems.push(Problem::error(message).at(&node.span, label).hint(hint));
    None
}

/// One value of any kind, as text; it may be empty.
pub(super) fn any_text<'n>(problems: &mut Problems, node: &'n Node) -> Option<&'n Text> {
    let found = match &node.value {
        Value::Text(text) => return Some(text),
        Value::Broken => return None,
        Value::Null => {
            let hint = "leave the key out for its default; an empty text is written ''";
            return wrong(problems, node, "a key without a value".into(), "nothing here", hint);
        }
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    let message = format!("one value is expected, not {found}");
    wrong(problems, node, message, "one value belongs here", "a value with `[` or `{` is quoted")
}

/// One value that is not empty.
pub(super) fn text<'n>(problems: &mut Problems, node: &'n Node) -> Option<&'n Text> {
    let text = any_text(problems, node)?;
    if text.text.is_empty() {
        let hint = "leave the key out for its default";
        return wrong(problems, node, "an empty value".into(), "empty", hint);
    }
    Some(text)
}

/// Like [`text`], as a string.
pub(super) fn string(problems: &mut Problems, node: &Node) -> Option<String> {
    text(problems, node).map(|text| text.text.clone())
}

/// A file that is read later.
pub(super) fn file(problems: &mut Problems, node: &Node) -> Option<PathBuf> {
    string(problems, node).map(PathBuf::from)
}

/// A path that does not depend on where skald is started.
pub(super) fn absolute(problems: &mut Problems, node: &Node) -> Option<PathBuf> {
    let text = text(problems, node)?;
    if !text.text.starts_with('/') {
        return relative(problems, node, text);
    }
    Some(PathBuf::from(&text.text))
}

pub(super) fn relative<T>(problems: &mut Problems, node: &Node, text: &Text) -> Option<T> {
    let message = format!("`{}` is a relative path", shown(text));
    let hint = "write the whole path, from `/` on: it must not depend on where skald starts";
    wrong(problems, node, message, "relative", hint)
}

/// The values of a list; one value stands for a list of one.
pub(super) fn list<'n>(problems: &mut Problems, node: &'n Node) -> &'n [Node] {
    match &node.value {
        Value::List(items) => items,
        Value::Null => {
            any_text(problems, node);
            &[]
        }
        Value::Text(_) | Value::Map(_) | Value::Broken => std::slice::from_ref(node),
    }
}

pub(super) fn flag(problems: &mut Problems, node: &Node) -> Option<bool> {
    choice(problems, node, &[("true", true), ("false", false)])
}

/// One of a few words.
pub(super) fn choice<T: Clone>(
    problems: &mut Problems,
    node: &Node,
    words: &[(&str, T)],
) -> Option<T> {
    let text = text(problems, node)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.text) {
        return Some(value.clone());
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let label = format!("not one of: {}", names.join(", "));
    let hint = match keys::nearest(&text.text, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write {}", names.join(" or ")),
    };
    wrong(problems, node, format!("`{}` is not known here", shown(text)), &label, hint)
}

/// A length of time: `500ms`, `15s`, `1h30m`, `7d`.
pub(super) fn duration(
    problems: &mut Problems,
    node: &Node,
    range: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let text = text(problems, node)?;
    let Some(value) = parse_duration(&text.text) else {
        let shown = shown(text);
        return if text.text.parse::<f64>().is_ok() {
            let message = format!("`{shown}` is a number, not a duration");
            wrong(problems, node, message, "no unit", format!("write `{shown}s` for seconds"))
        } else {
            let message = format!("`{shown}` is not a duration");
            let hint = "durations are written `500ms`, `15s`, `5m`, `1h30m`, `7d`";
            wrong(problems, node, message, "not a duration", hint)
        };
    };
    let bounds = range.start().as_nanos()..=range.end().as_nanos();
    let show = |nanos: u128| show_duration(nanos);
    in_range(problems, node, text, value.as_nanos(), &bounds, show).then_some(value)
}

fn parse_duration(text: &str) -> Option<Duration> {
    let span = SpanParser::new().parse_span(text).ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    Duration::try_from(duration).ok()
}

fn show_duration(nanos: u128) -> String {
    let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_nanos(nanos)).replace(' ', "")
}

/// A number of bytes: `1MiB`, `64 KiB`, `1048576`.
pub(super) fn size(
    problems: &mut Problems,
    node: &Node,
    range: RangeInclusive<u64>,
) -> Option<u64> {
    let text = text(problems, node)?;
    let Ok(ByteSize(value)) = text.text.parse() else {
        let hint = "sizes are written `64KiB`, `8MiB`, `1GiB`, or as a number of bytes";
        let message = format!("`{}` is not a size", shown(text));
        return wrong(problems, node, message, "not a size", hint);
    };
    in_range(problems, node, text, value, &range, show_size).then_some(value)
}

/// As it would be written in the file.
pub(super) fn show_size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    if bytes != 0 && bytes.is_multiple_of(MIB) {
        format!("{}MiB", bytes / MIB)
    } else if bytes != 0 && bytes.is_multiple_of(1024) {
        format!("{}KiB", bytes / 1024)
    } else {
        format!("{bytes}")
    }
}

/// A whole number.
pub(super) fn count(
    problems: &mut Problems,
    node: &Node,
    range: RangeInclusive<u64>,
) -> Option<u64> {
    let text = text(problems, node)?;
    let Ok(value) = text.text.parse() else {
        let message = format!("`{}` is not a whole number", shown(text));
        let hint = "write digits only: `100000`";
        return wrong(problems, node, message, "not a number", hint);
    };
    in_range(problems, node, text, value, &range, |n| n.to_string()).then_some(value)
}

fn in_range<T: PartialOrd + Copy>(
    problems: &mut Problems,
    node: &Node,
    text: &Text,
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> bool {
    let (low, high) = (show(*range.start()), show(*range.end()));
    let (what, label) = if value < *range.start() {
        ("small", format!("at least {low}"))
    } else if value > *range.end() {
        ("large", format!("at most {high}"))
    } else {
        return true;
    };
    let message = format!("`{}` is too {what}", shown(text));
    problems.push(Problem::error(message).at(&node.span, label));
    false
}

/// A URL with scheme `http` or `https` and a host. What it says is never shown: it may hold a
/// password.
pub(super) fn url(problems: &mut Problems, node: &Node) -> Option<Url> {
    use url_error::{EMPTY_HOST, RELATIVE};
    let text = text(problems, node)?;
    match Url::parse(&text.text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            let hint = "a URL begins with `http://` or `https://`: `http://loki:3100`";
            wrong(problems, node, "a URL that is not http or https".into(), "no scheme", hint)
        }
        // The parser skips empty hosts, and would take a folder of the path for one.
        Ok(_) if text.text.splitn(3, '/').last().is_some_and(|rest| rest.starts_with('/')) => {
            wrong(problems, node, "a URL without a host".into(), "no host", NO_HOST)
        }
        Ok(url) => Some(url),
        Err(err) => match err.to_string().as_str() {
            EMPTY_HOST => wrong(problems, node, "a URL without a host".into(), "no host", NO_HOST),
            RELATIVE => {
                let hint = "a URL begins with `http://` or `https://`: `http://loki:3100`";
                wrong(problems, node, "a URL without a scheme".into(), "no `http://`", hint)
            }
            other => {
                let hint = "a URL is written `http://loki:3100` or `https://logs.example.com`";
                wrong(problems, node, "not a URL".into(), other, hint)
            }
        },
    }
}

const NO_HOST: &str = "write `http://` and the name of the host: `http://loki:3100`";

/// The texts of the URL crate for what gets a message of its own.
mod url_error {
    pub(super) const EMPTY_HOST: &str = "empty host";
    pub(super) const RELATIVE: &str = "relative URL without a base";
}

/// An address and port to listen on.
pub(super) fn listen(problems: &mut Problems, node: &Node) -> Option<SocketAddr> {
    let text = text(problems, node)?;
    if let Ok(address) = text.text.parse() {
        return Some(address);
    }
    let shown = shown(text);
    let hint = match text.text.split_once(':') {
        Some(("", port)) if port.parse::<u16>().is_ok() => {
            format!("for all addresses write `0.0.0.0:{port}`, for this host `127.0.0.1:{port}`")
        }
        Some(("localhost", port)) if port.parse::<u16>().is_ok() => {
            format!("write `127.0.0.1:{port}`")
        }
        _ => "write an address and a port: `127.0.0.1:9464` or `[::1]:9464`".to_owned(),
    };
    let message = format!("`{shown}` is not an address to listen on");
    wrong(problems, node, message, "not `address:port`", hint)
}

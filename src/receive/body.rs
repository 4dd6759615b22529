//! From the bytes of a push request to its streams, with Loki's errors.

use std::borrow::Cow;
use std::io::{self, Read};

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use flate2::read::{DeflateDecoder, GzDecoder};
use prost::Message as _;
use serde_json::Value;

use super::http::Refusal;
use super::labels::Labels;
use super::message::{Entry, Pair, Request, Stream, Time};
use crate::model::UnixNanos;

/// First and last second of the years 1 to 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Most bytes that a body is inflated to; Loki has no limit but its memory.
const INFLATED_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a request holds.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) request: Request,
    /// Bytes before compression.
    pub(super) encoded_bytes: usize,
}

/// Decodes by `Content-Encoding` and `Content-Type`.
pub(super) fn decode(headers: &HeaderMap, bytes: &[u8]) -> Result<Body, Refusal> {
    let header = |name| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes())).unwrap_or_default()
    };
    let encoding = header(CONTENT_ENCODING);
    let bytes = match &*encoding {
        "" | "snappy" => Cow::Borrowed(bytes),
        "gzip" if bytes.is_empty() => return Err(Refusal::bad_request("EOF")),
        "gzip" => inflate(GzDecoder::new(bytes), "gzip: invalid header")?,
        "deflate" => inflate(DeflateDecoder::new(bytes), "flate: corrupt input")?,
        _ => {
            let text = format!("Content-Encoding {encoding:?} not supported");
            return Err(Refusal::bad_request(text));
        }
    };
    let media_type = media_type(&header(CONTENT_TYPE)).map_err(Refusal::bad_request)?;
    let body = if media_type == "application/json" {
        let request = from_json(&bytes).map_err(Refusal::bad_request)?;
        Body { request, encoded_bytes: bytes.len() }
    } else {
        let encoded = unsnap(&bytes).map_err(Refusal::bad_request)?;
        let request = Request::decode(&*encoded).map_err(Refusal::bad_request)?;
        Body { request, encoded_bytes: encoded.len() }
    };
    let entries = body.request.streams.iter().flat_map(|stream| &stream.entries);
    entries.filter_map(|entry| entry.timestamp).try_for_each(check_timestamp)?;
    Ok(body)
}

/// Reads to the end, or to the most that is taken. `wrong` is said of anything but an early end.
fn inflate(reader: impl Read, wrong: &str) -> Result<Cow<'static, [u8]>, Refusal> {
    let mut bytes = Vec::new();
    let read = reader.take(INFLATED_BYTES_MAX).read_to_end(&mut bytes);
    read.map(|_| Cow::Owned(bytes)).map_err(|error| {
        let ended = error.kind() == io::ErrorKind::UnexpectedEof;
        let text = if ended { "unexpected EOF" } else { wrong };
        Refusal::bad_request(text)
    })
}

/// Go's `mime.ParseMediaType`, as far as it can fail.
fn media_type(header: &str) -> Result<String, &'static str> {
    let (base, parameters) = header.split_once(';').unwrap_or((header, ""));
    let base = base.trim().to_ascii_lowercase();
    let (kind, rest) = base.split_at(token_len(&base));
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if !rest.is_empty() {
        let subtype = rest.strip_prefix('/').ok_or("mime: expected slash after first token")?;
        match token_len(subtype) {
            0 => return Err("mime: expected token after slash"),
            len if len < subtype.len() => {
                return Err("mime: unexpected content after media subtype");
            }
            _ => {}
        }
    }
    // A trailing semicolon is allowed, another one behind it is not.
    let mut parts = parameters.split(';').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        let valid = part.split_once('=').is_some_and(|(name, value)| {
            let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
            is_token(name) && (quoted || is_token(value))
        });
        if !(valid || last && part.is_empty()) {
            return Err("mime: invalid media parameter");
        }
    }
    Ok(base)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && token_len(text) == text.len()
}

fn token_len(text: &str) -> usize {
    let special = |c: char| !c.is_ascii_graphic() || "()<>@,;:\\\"/[]?=".contains(c);
    text.find(special).unwrap_or(text.len())
}

/// A snappy block. No tag of the format makes more than 64 bytes out of three, so a longer
/// claim is refused before memory is taken for it.
fn unsnap(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = || "snappy: corrupt input".to_owned();
    let len = snap::raw::decompress_len(bytes).map_err(|_| corrupt())?;
    if i32::try_from(len).is_err() {
        return Err(format!("received message larger than max ({len} vs {})", i32::MAX));
    }
    if bytes.is_empty() || len / 64 > bytes.len() {
        return Err(corrupt());
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(|_| corrupt())
}

fn check_timestamp(Time { seconds, nanos }: Time) -> Result<(), Refusal> {
    let fault = if seconds < *SECONDS.start() {
        " before 0001-01-01"
    } else if seconds > *SECONDS.end() {
        " after 10000-01-01"
    } else if !(0..1_000_000_000).contains(&nanos) {
        ": nanos not in range [0, 1e9)"
    } else {
        return Ok(());
    };
    let shown = format!("&types.Timestamp{{Seconds: {seconds},\nNanos: {nanos},\n}}");
    Err(Refusal::bad_request(format!("timestamp: {shown}{fault}")))
}

/// `{"streams":[{"stream":{name:value},"values":[["<ns>","line",{name:value}]]}]}`
fn from_json(bytes: &[u8]) -> Result<Request, String> {
    let root: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Some(streams) = root.get("streams") else { return Ok(Request::default()) };
    let streams = list(streams, "streams")?.iter().map(stream).collect::<Result<_, _>>()?;
    Ok(Request { streams })
}

fn stream(value: &Value) -> Result<Stream, String> {
    let labels = Labels::from_pairs(pairs(&value["stream"], "stream")?).to_string();
    let entries = list(&value["values"], "values")?.iter().map(entry).collect::<Result<_, _>>()?;
    Ok(Stream { labels: labels.into(), entries, hash: 0 })
}

fn entry(value: &Value) -> Result<Entry, String> {
    let items = list(value, "value")?;
    let time = items.first().and_then(Value::as_str).ok_or("a value's time is not a string")?;
    let time: i64 = time.parse().map_err(|_| format!("time {time:?} is not in nanoseconds"))?;
    let line = match items.get(1) {
        None => "",
        Some(line) => line.as_str().ok_or("a value's line is not a string")?,
    };
    let metadata = items.get(2).map_or(Ok(Vec::new()), |value| pairs(value, "metadata"))?;
    Ok(Entry {
        timestamp: Some(UnixNanos(time).into()),
        line: line.as_bytes().to_vec(),
        metadata: metadata.iter().map(|(name, value)| Pair::new(name, value)).collect(),
    })
}

fn list<'a>(value: &'a Value, what: &str) -> Result<&'a Vec<Value>, String> {
    value.as_array().ok_or_else(|| format!("{what} is not a list"))
}

fn pairs(value: &Value, what: &str) -> Result<Vec<(String, String)>, String> {
    let map = value.as_object().ok_or_else(|| format!("{what} is not an object"))?;
    map.iter()
        .map(|(name, value)| match value.as_str() {
            Some(value) => Ok((name.clone(), value.to_owned())),
            None => Err(format!("{what} {name:?} is not a string")),
        })
        .collect()
}

//! Times against their slow twin.

use skald::model::Flag;
use skald::parse::{Format, Path, Rule, TimeFormat};

use super::bytes::Bytes;
use super::reading::{options, read};
use super::times;

const FORMATS: [&[TimeFormat]; 8] = [
    &[],
    &[TimeFormat::Rfc3339],
    &[TimeFormat::Unix],
    &[TimeFormat::UnixMs],
    &[TimeFormat::UnixUs],
    &[TimeFormat::UnixNs],
    &[TimeFormat::UnixMs, TimeFormat::Rfc3339],
    &[TimeFormat::Rfc3339, TimeFormat::Unix],
];

/// A digit that names the formats, and the text.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let formats = FORMATS[bytes.below(FORMATS.len())];
    let text = String::from_utf8_lossy(bytes.0);
    let from = vec![Path(vec!["t".to_owned()])];
    let rules = vec![Rule::Timestamp { from, formats: formats.to_vec() }];
    let options = options(Format::JSON, rules);
    let quoted = serde_json::json!({ "t": text }).to_string();
    check_line(&options, &quoted, &text, formats);
    if serde_json::from_str::<serde_json::Number>(&text).is_ok() && text.trim() == text {
        check_line(&options, &format!("{{\"t\":{text}}}"), &text, formats);
    }
}

fn check_line(options: &skald::parse::Options, line: &str, text: &str, formats: &[TimeFormat]) {
    let reading = read(options, line.as_bytes());
    let expected = times::read(text, formats);
    assert_eq!(reading.flags.contains(Flag::NoTimestamp), expected.is_none(), "{line}");
    let Some((time, clamped)) = expected.map(times::clamp) else { return };
    assert_eq!(reading.time.0, time, "{line} as {formats:?}");
    assert_eq!(reading.flags.contains(Flag::TimestampClamped), clamped, "{line} as {formats:?}");
}

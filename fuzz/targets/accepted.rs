//! Whatever a line is, what becomes of it is inside the limits that Loki has by default.

use std::sync::Arc;
use std::time::Duration;

use skald::batch::Base;
use skald::model::{Entry, Now, Stamp, UnixNanos};
use skald::parse::{Format, Line, Options, Parser, Path, Plan, Rule, Verdict};
use skald::receive::Labels;

use super::bytes::Bytes;
use super::reading::{field, options};

/// 2026-11-22T10:20:05Z.
const NOW: Now = Now { mono: Duration::ZERO, wall: UnixNanos(1_795_342_805_000_000_000) };

const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
const AHEAD_MAX: Duration = Duration::from_secs(600);

const FORMATS: [Format; 6] =
    [Format::AUTO, Format::JSON, Format::LOGFMT, Format::CRI, Format::DOCKER, Format::TEXT];

/// A digit that names the format, and lines of one file.
pub(crate) fn check(data: &[u8]) {
    let mut bytes = Bytes(data);
    let format = FORMATS[bytes.below(FORMATS.len())].clone();
    let plan = Arc::new(Plan::compile(&rules(format)));
    let base = Base {
        labels: plan.base_labels().to_vec(),
        names: plan.label_names().to_vec(),
        tenant: skald::model::TenantId::default(),
    };
    let mut parser = Parser::new(plan, true);
    let mut stamp = Stamp::default();
    for bytes in bytes.0.split(|byte| *byte == b'\n') {
        // Long values are what limits are for.
        let bytes = bytes.repeat(if bytes.ends_with(b"*") { 100 } else { 1 });
        let line = Line { bytes: &bytes, truncated_from: None };
        parser.line(line, &mut stamp, NOW, |verdict| {
            let Verdict::Emit(entry) = verdict else { return };
            check_entry(&entry);
            check_labels(&base.label_string(entry.labels));
        });
    }
}

fn rules(format: Format) -> Options {
    let fields = |names: &[&str]| names.iter().map(|name| field(name, &[name])).collect();
    let from = ["time", "ts"].map(|name| Path(vec![name.to_owned()])).to_vec();
    let rules = vec![
        Rule::Label(fields(&["level", "event_type", "a"])),
        Rule::Metadata(fields(&["request_id", "user_id", "b", "c"])),
        Rule::Metadata(vec![field("deep", &["d", "e"])]),
        Rule::Timestamp { from, formats: Vec::new() },
    ];
    let labels = vec![("app".to_owned(), "veogen".to_owned())];
    Options { labels, line_bytes: 4096, age: AGE_MAX, ..options(format, rules) }
}

fn check_entry(entry: &Entry<'_>) {
    assert!(entry.line.len() <= 4096, "{:?}", entry.line);
    assert!(NOW.wall.minus(AGE_MAX) <= entry.time, "too old: {}", entry.time);
    assert!(entry.time <= NOW.wall.plus(AHEAD_MAX), "too new: {}", entry.time);
    let bytes = entry.metadata.iter().map(|pair| pair.name.len() + pair.value.len()).sum::<usize>();
    assert!(entry.metadata.len() <= 128 && bytes <= 65_536, "{:?}", entry.metadata);
    for pair in entry.metadata {
        let is_clean = !pair.value.is_empty() && !pair.value.contains('\u{FFFD}');
        assert!(is_clean, "{pair:?}");
    }
}

fn check_labels(text: &str) {
    let labels = Labels::parse(text).unwrap_or_else(|err| panic!("{err}: {text}"));
    assert!((1..=15).contains(&labels.len()), "{text}");
    for (name, value) in labels.iter() {
        assert!(value.len() <= 2048 && !value.contains('\u{FFFD}'), "{name} of {text}");
    }
    assert_eq!(labels.get("app"), Some("veogen"));
}

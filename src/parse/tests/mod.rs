//! Tests of the room, as tables: a line in, what Loki gets out.

mod formats;
mod guard;
mod joins;
mod json;
mod laws;
mod limits;
mod multiline;
mod rules;
mod stamp;
mod timestamp;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Condition, Field, Format, Line, Options, Parser, Path, Plan, Rule, TimeFormat, Verdict,
};
use crate::model::{Entry, Now, Stamp, UnixNanos};

/// 2026-11-22T10:20:05Z, the read time of all tests.
const NOW: Now = Now { mono: Duration::ZERO, wall: UnixNanos(1_795_342_805_000_000_000) };

/// The default rules of a source without labels.
fn options(format: Format) -> Options {
    Options {
        source: "test".to_owned(),
        format,
        labels: Vec::new(),
        multiline: None,
        times: crate::parse::TimeRules::default(),
        strip_ansi: false,
        rules: vec![
            label(&["level", "event_type"]),
            metadata(&["request_id", "user_id", "trace_id"]),
            timestamp(&["timestamp", "time", "ts", "@timestamp"], &[]),
        ],
        line_bytes: 256 * 1024,
        age: Duration::from_secs(7 * 86_400),
        guard_values: 3,
        guard_per: Duration::from_secs(3600),
    }
}

fn label(names: &[&str]) -> Rule {
    Rule::Label(names.iter().map(|name| field(name, &[name])).collect())
}

fn metadata(names: &[&str]) -> Rule {
    Rule::Metadata(names.iter().map(|name| field(name, &[name])).collect())
}

fn timestamp(from: &[&str], formats: &[TimeFormat]) -> Rule {
    Rule::Timestamp {
        from: from.iter().map(|path| self::path(path)).collect(),
        formats: formats.to_vec(),
    }
}

fn field(name: &str, from: &[&str]) -> Field {
    Field {
        name: name.to_owned(),
        from: from.iter().map(|path| self::path(path)).collect(),
        regex: None,
        map: Vec::new(),
        default: None,
    }
}

fn path(dotted: &str) -> Path {
    Path(dotted.split('.').map(str::to_owned).collect())
}

/// A file's parser.
fn parser(options: &Options) -> Parser {
    Parser::new(Arc::new(Plan::compile(options)), true)
}

/// Reads `bytes` as the first line of a file.
fn first<R>(options: &Options, bytes: &[u8], then: impl FnOnce(&Entry<'_>) -> R) -> (R, String) {
    let mut parser = parser(options);
    let line = Line { bytes, truncated_from: None };
    let result = parser.line(line, &mut Stamp::default(), NOW, |verdict| match verdict {
        Verdict::Emit(entry) => then(&entry),
        verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
    });
    (result, flags(&parser))
}

fn flags(parser: &Parser) -> String {
    let names: Vec<_> = parser.flags().iter().map(|flag| flag.name()).collect();
    names.join(" ")
}

/// What each line of `input` becomes, in one file: time, labels, metadata, line, flags. What is
/// absent is left out.
fn render(options: &Options, input: &[u8]) -> String {
    let plan = Arc::new(Plan::compile(options));
    let mut parser = Parser::new(Arc::clone(&plan), true);
    let mut stamp = Stamp::default();
    let mut out = String::new();
    for bytes in input.split(|&byte| byte == b'\n') {
        let line = Line { bytes, truncated_from: None };
        parser.line(line, &mut stamp, NOW, |verdict| write_verdict(&mut out, &plan, verdict));
        if !parser.flags().is_empty() {
            write!(out, " !{}", flags(&parser)).unwrap();
        }
        out.push('\n');
    }
    out
}

fn write_verdict(out: &mut String, plan: &Plan, verdict: Verdict<'_>) {
    let entry = match verdict {
        Verdict::Emit(entry) => entry,
        Verdict::Drop(reason) => return out.push_str(reason.name()),
        Verdict::NotBefore(at) => return write!(out, "not before {at:?}").unwrap(),
    };
    write!(out, "{} {{", entry.time).unwrap();
    assert_eq!(entry.labels.len(), plan.label_names().len());
    let labels = plan.label_names().iter().zip(entry.labels);
    let labels: Vec<_> = labels
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let pairs: Vec<_> =
        entry.metadata.iter().map(|pair| format!("{}={:?}", pair.name, pair.value)).collect();
    write!(out, "{}}} [{}] {:?}", labels.join(", "), pairs.join(", "), entry.line).unwrap();
}

//! Laws that hold for all bytes: what comes out is within Loki's limits, and nothing of one line
//! shows in the next.

use std::sync::Arc;

use proptest::prelude::*;
use regex::Regex;

use super::{
    Condition, Field, Format, Line, NOW, Options, Parser, Plan, Rule, Verdict, field, options,
    write_verdict,
};
use crate::model::{Entry, LABEL_VALUE_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX, Stamp};

const FORMATS: [Format; 6] =
    [Format::AUTO, Format::JSON, Format::LOGFMT, Format::CRI, Format::DOCKER, Format::TEXT];

const LINE_BYTES: usize = 200;

fn some_options(format: Format) -> Options {
    let mut options = Options { line_bytes: 200, ..options(format) };
    options.rules.push(Rule::Metadata(vec![field("deep", &["a.b", "a", "log"])]));
    let map = [("i", ""), ("x", "y")].map(|(from, to)| (from.to_owned(), to.to_owned()));
    options.rules.push(Rule::Metadata(vec![Field {
        regex: Some(Regex::new("^.?").unwrap()),
        map: map.into(),
        default: Some("none".to_owned()),
        ..field("first", &["user_id", "level", "a.b", "a"])
    }]));
    options
}

fn plan(format: Format) -> Arc<Plan> {
    Arc::new(Plan::compile(&some_options(format)))
}

/// The same as [`plan`], the long way: with a step that does nothing.
fn plan_of_steps(format: Format) -> Arc<Plan> {
    let mut options = some_options(format);
    options.rules.push(Rule::Keep(Condition::All(vec![])));
    Arc::new(Plan::compile(&options))
}

/// Pieces from which something like a line comes about now and then.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\\", " ", "=", "null", "1795342801", "\r",
            "\"level\"", "\"level\":\"info\"", "\"ts\":", "\"a\":{\"b\":\"x\\n\"}", "level=info",
            "{\"log\":\"", "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T10:20:05Z\"}",
            "2026-11-22T10:20:05Z stdout F ", "\"2026-11-22T10:20:05Z\"", "user_id=\"a\\\"\"",
            "\"user_id\":", "\"user_id\":\"\",", "\"level\":\"x\",", "\u{FFFD}", "é", "\\ud83d\\ude00", "\\ufffd",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn check_limits(entry: &Entry<'_>) {
    assert!(entry.line.len() <= LINE_BYTES);
    for label in entry.labels {
        assert!(label.len() <= LABEL_VALUE_BYTES_MAX && !label.contains('\u{FFFD}'), "{label:?}");
    }
    let mut bytes = 0;
    for pair in entry.metadata {
        assert!(!pair.value.is_empty() && !pair.value.contains('\u{FFFD}'), "{pair:?}");
        bytes += pair.name.len() + pair.value.len();
    }
    assert!(entry.metadata.len() <= METADATA_PAIRS_MAX && bytes <= METADATA_BYTES_MAX);
    assert!(entry.time <= NOW.wall.plus(crate::model::AHEAD_MAX));
}

fn read(parser: &mut Parser, plan: &Plan, bytes: &[u8], stamp: &mut Stamp) -> String {
    let mut out = String::new();
    parser.line(Line { bytes, truncated_from: None }, stamp, NOW, |verdict| {
        if let Verdict::Emit(entry) = verdict {
            check_limits(&entry);
        }
        write_verdict(&mut out, plan, verdict);
    });
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(lines in prop::collection::vec(any_line(), 1..5)) {
        for format in FORMATS {
            let plan = plan(format.clone());
            let mut used = Parser::new(Arc::clone(&plan), true);
            let (mut stamp, mut twin_stamp) = (Stamp::default(), Stamp::default());
            for line in &lines {
                let seen = read(&mut used, &plan, line, &mut stamp);
                let mut fresh = Parser::new(Arc::clone(&plan), true);
                let expected = read(&mut fresh, &plan, line, &mut twin_stamp);
                prop_assert_eq!((seen, stamp), (expected, twin_stamp), "{:?}", format);
                prop_assert_eq!(used.flags(), fresh.flags());
            }
        }
    }

    /// Rules of one kind come to the same in steps and without.
    #[test]
    fn steps_change_nothing(lines in prop::collection::vec(any_line(), 1..5)) {
        for format in FORMATS {
            let (plan, steps) = (plan(format.clone()), plan_of_steps(format.clone()));
            let mut plain = Parser::new(Arc::clone(&plan), true);
            let mut stepped = Parser::new(Arc::clone(&steps), true);
            let (mut stamp, mut twin_stamp) = (Stamp::default(), Stamp::default());
            for line in &lines {
                let seen = read(&mut stepped, &steps, line, &mut twin_stamp);
                let expected = read(&mut plain, &plan, line, &mut stamp);
                prop_assert_eq!((seen, twin_stamp), (expected, stamp), "{:?}", format);
                prop_assert_eq!(stepped.flags(), plain.flags());
            }
        }
    }
}

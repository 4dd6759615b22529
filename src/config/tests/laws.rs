//! Laws that hold for all rules and all lines.

use std::sync::Arc;

use proptest::prelude::*;

use super::good;
use super::rules::NOW;
use crate::model::{LABEL_VALUE_BYTES_MAX, METADATA_BYTES_MAX, METADATA_PAIRS_MAX, Origin, Stamp};
use crate::parse::{Join, Line, Parser, Piece, Plan, Verdict};

const LINE_BYTES: usize = 300;

/// Rules that depend on nothing but the line.
const RULES: [&str; 24] = [
    "label: [level, a.b, items.0]",
    "label: {kind: {from: [x, event], regex: '([a-z]+)', map: {info: i}, default: none}}",
    "metadata: [user, n]",
    "metadata: '*'",
    "metadata: 'a.*'",
    "set: {user: '{a.b}-{x:-none}', level: '{level}{$line}'}",
    "set: {x: '{$line}{$line}{$line}{$line}'}",
    "map: {level: {info: '', debug: verbose}}",
    "lowercase: [level, x]",
    "level: [level, x]",
    "regex: {$line: '(?P<user>.)(?P<x>.*)'}",
    "regex: {x: '(?P<level>[a-z]*)$'}",
    "replace: {$line: {pattern: '[a-z]', with: '$0$0é'}}",
    "replace: {x: {pattern: '.', with: ''}}",
    "redact: [email, bearer, card, ip]",
    "redact: {what: {pattern: '[a-z]+'}, with: 'é'}",
    "line: '{x}'",
    "line: logfmt",
    "drop: {any: [{x: {gt: 5}}, {level: {at_least: error}}]}",
    "keep: {not: {$length: {gt: 200}}}",
    "sample: {rate: 0.5, by: x}",
    "when: {x: {exists: true}}\n        then: [{label: late}, {set: {late: '{x}'}}]\n        else: [{line: '{level}'}]",
    "timestamp: {from: [ts, x], too_old: read_time, future: drop}",
    "tenant: {from: x, map: {a: b}}",
];

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            "{", "}", "[", "]", ":", ",", "\"", "\\", " ", "=", "null", "9", "\"level\":",
            "\"info\"", "\"x\":", "\"a\":{\"b\":\"x\\n\"}", "level=info", "x=", "\"items\":[1,\"é\"]",
            "\"ts\":\"2026-11-22T10:20:05Z\"", "a@b.org", "4111111111111111", "10.0.0.1",
            "\u{FFFD}", "é", "\\ud83d\\ude00", "2026-11-22T10:20:05Z stdout F ",
        ]).prop_map(|piece| piece.as_bytes().to_vec()),
        2 => Just(br#"{"level":"info","x":7,"a":{"b":"c"},"user":"u","items":["i"]}"#.to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

fn plan(rules: &[&str], format: &str) -> Arc<Plan> {
    // One rule of each name in a list, as the configuration demands.
    let mut seen = std::collections::HashSet::new();
    let once = rules.iter().filter(|rule| seen.insert(**rule));
    let rules: String =
        once.map(|rule| format!("      - {}\n", rule.replace("$line_of", "n"))).collect();
    let rules = if rules.is_empty() { "      []\n".to_owned() } else { rules };
    let config = good(&format!(
        "loki: {{url: 'http://loki'}}\nsources:\n  - files: /var/log/a.log\n    format: {format}\n    \
         rules:\n{rules}"
    ));
    let mut options = config.sources[0].parse.clone();
    options.line_bytes = u32::try_from(LINE_BYTES).unwrap();
    Arc::new(Plan::compile(&options))
}

fn read(parser: &mut Parser, line: &[u8], stamp: &mut Stamp) -> String {
    let piece = Piece { line: Line { bytes: line, truncated_from: None }, ..Piece::default() };
    let mut join = Join::default();
    let seen = parser.piece(piece, &mut join, stamp, NOW, |verdict| {
        if let Verdict::Emit(entry) = &verdict {
            assert!(entry.line.len() <= LINE_BYTES, "{}", entry.line.len());
            for label in entry.labels {
                assert!(label.len() <= LABEL_VALUE_BYTES_MAX && !label.contains('\u{FFFD}'));
            }
            let mut bytes = 0;
            for pair in entry.metadata {
                assert!(!pair.value.is_empty() && !pair.value.contains('\u{FFFD}'), "{pair:?}");
                bytes += pair.name.len() + pair.value.len();
            }
            assert!(entry.metadata.len() <= METADATA_PAIRS_MAX && bytes <= METADATA_BYTES_MAX);
        }
        format!("{verdict:?}")
    });
    parser.taken();
    seen.unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever rules do with whatever lines: what is sent is within Loki's limits, and nothing of
    /// one line shows in the next.
    #[test]
    fn rules_stay_within_limits_and_forget(
        rules in prop::collection::vec(prop::sample::select(RULES.to_vec()), 0..7),
        format in prop::sample::select(vec!["auto", "json", "logfmt", "[cri, logfmt]", "text"]),
        lines in prop::collection::vec(any_line(), 1..5),
    ) {
        let named = |rule: &&str| format != "text" && !rule.is_empty();
        let rules: Vec<&str> = rules.into_iter().filter(named).collect();
        let plan = plan(&rules, format);
        let mut used = Parser::new(Arc::clone(&plan), true);
        used.set_origin(&Origin::default());
        let (mut stamp, mut twin) = (Stamp::default(), Stamp::default());
        for line in &lines {
            let seen = read(&mut used, line, &mut stamp);
            let mut fresh = Parser::new(Arc::clone(&plan), true);
            let expected = read(&mut fresh, line, &mut twin);
            prop_assert_eq!((seen, stamp), (expected, twin));
            prop_assert_eq!(used.flags(), fresh.flags());
        }
    }
}

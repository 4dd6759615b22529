//! Lines that a container runtime has split.

use std::sync::Arc;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Format, Line, NOW, Options, Parser, Plan, flags, options, write_verdict};
use crate::model::{Counts, FileKey, FileOffset, OUTPUTS, Stamp};
use crate::parse::{Join, Older, Piece};

struct File {
    plan: Arc<Plan>,
    parser: Parser,
    join: Join,
    stamp: Stamp,
    at: u64,
}

impl File {
    fn new(options: &Options) -> Self {
        let plan = Arc::new(Plan::compile(options));
        let parser = Parser::new(Arc::clone(&plan), true);
        Self { plan, parser, join: Join::default(), stamp: Stamp::default(), at: 0 }
    }

    /// Reads a line `times` times, as if it was not taken before; nothing when it is held.
    fn read(&mut self, bytes: &[u8], times: u32) -> Option<String> {
        let before = self.stamp;
        let len = bytes.len() as u64 + 1;
        let input = Counts { lines: 1, bytes: len };
        let line = Line { bytes, truncated_from: None };
        let piece = Piece { line, input, at: FileOffset(self.at) };
        let mut out = String::new();
        for _ in 0..times {
            (self.stamp, out) = (before, String::new());
            self.parser.piece(piece, &mut self.join, &mut self.stamp, NOW, |verdict| {
                write_verdict(&mut out, &self.plan, verdict);
            })?;
        }
        self.join.end();
        self.at += len;
        Some(self.flagged(out))
    }

    fn unfinished(&mut self, out: usize) -> Option<String> {
        let mut text = String::new();
        self.parser.unfinished(out, &mut self.join, &mut self.stamp, NOW, |verdict| {
            write_verdict(&mut text, &self.plan, verdict);
        })?;
        self.join.end();
        Some(self.flagged(text))
    }

    fn flagged(&self, mut text: String) -> String {
        if !self.parser.flags().is_empty() {
            text = format!("{text} !{}", flags(&self.parser));
        }
        text
    }
}

#[track_caller]
fn check(options: &Options, input: &[u8], expect: Expect) {
    let mut file = File::new(options);
    let mut seen = String::new();
    for line in input.split(|byte| *byte == b'\n') {
        let held = file.join.counts();
        match file.read(line, 1) {
            Some(text) => seen += &format!("{text}\n"),
            None => assert_eq!(file.join.counts().lines, held.lines + 1),
        }
    }
    for out in 0..OUTPUTS {
        seen.extend(file.unfinished(out).map(|text| text + "\n"));
    }
    assert_eq!(file.join.counts(), Counts::default());
    expect.assert_eq(&seen);
}

#[test]
fn parts_are_joined_by_output() {
    check(
        &options(Format::CRI),
        b"2026-11-22T10:20:01Z stdout P {\"level\":\n\
          2026-11-22T10:20:02Z stderr P half a \xc3\n\
          2026-11-22T10:20:03Z stdout P:x \"info\",\n\
          2026-11-22T10:20:04Z stderr F \xa9 line\r\n\
          2026-11-22T10:20:05Z stdout F \"user_id\":1}\n\
          2026-11-22T10:20:06Z stdout F whole\n\
          2026-11-22T10:20:07Z stdout P only\r\n\
          2026-11-22T10:20:08Z stdout P the beginning\n\
          2026-11-22T10:20:09Z stderr F",
        expect![[r#"
            2026-11-22T10:20:02Z {} [] "half a é line"
            2026-11-22T10:20:01Z {level="info"} [user_id="1"] "{\"level\":\"info\",\"user_id\":1}"
            2026-11-22T10:20:06Z {} [] "whole"
            2026-11-22T10:20:09Z {} [] ""
            2026-11-22T10:20:07Z {} [] "only\rthe beginning" !unfinished
        "#]],
    );
}

#[test]
fn docker_ends_a_line_with_its_newline() {
    check(
        &options(Format::AUTO),
        concat!(
            r#"{"log":"a \"part\" ","stream":"stdout","time":"2026-11-22T10:20:01Z"}"#,
            "\n",
            r#"{"log":"other\n","stream":"stderr","time":"2026-11-22T10:20:02Z"}"#,
            "\n",
            r#"{"log":"and \u00e9\r\n","stream":"stdout","time":"2026-11-22T10:20:03Z"}"#,
            "\n",
            r#"{"log":"no output","stream":"x","time":"2026-11-22T10:20:04Z"}"#,
            "\n",
            "2026-11-22T10:20:05Z plain P text",
        )
        .as_bytes(),
        expect![[r#"
            2026-11-22T10:20:02Z {} [] "other"
            2026-11-22T10:20:01Z {} [] "a \"part\" and é"
            2026-11-22T10:20:04Z {} [] "no output"
            2026-11-22T10:20:04.000000001Z {} [] "2026-11-22T10:20:05Z plain P text" !no_timestamp
        "#]],
    );
}

#[test]
fn a_joined_line_is_cut_at_a_character() {
    let part =
        |tag: &str, len: usize| format!("2026-11-22T10:20:01Z stdout {tag} {}", "é".repeat(len));
    let (long, short) = (part("P", 9), part("P", 2));
    let cut = Options { line_bytes: 60, ..options(Format::CRI) };
    // The content fits, the third time with its CR; then it does not.
    let lines = [&long, &long, &part("F", 12), &short, &part("F", 28), &long, &part("F", 21)];
    let lines = lines.map(String::as_str).join("\n")
        + "\r\n"
        + &[long.as_str(), &part("F", 21), &part("P", 40), &part("F", 1)].join("\n");
    check(
        &cut,
        lines.as_bytes(),
        expect![[r#"
        2026-11-22T10:20:01Z {} [] "éééééééééééééééééééééééééééééé"
        2026-11-22T10:20:01.000000001Z {} [] "éééééééééééééééééééééééééééééé"
        2026-11-22T10:20:01.000000002Z {} [] "éééééééééééééééééééééééééééééé"
        2026-11-22T10:20:01.000000003Z {} [] "éééééééééééééééééééééééééééééé"
        2026-11-22T10:20:01.000000004Z {} [truncated_from="82"] "éééééééééééééééééééééééééééééé" !truncated
    "#]],
    );
}

#[test]
fn a_successor_goes_on_where_the_older_file_ended() {
    let mut file = File::new(&options(Format::CRI));
    assert!(file.read(b"2026-11-22T10:20:01Z stderr F whole", 1).is_some());
    assert_eq!(file.read(b"2026-11-22T10:20:01Z stdout P a", 1), None);
    assert_eq!(file.read(b"2026-11-22T10:20:02Z stderr P b", 1), None);
    assert_eq!(file.join.held(), [Some(FileOffset(36)), Some(FileOffset(36))]);
    let mut next = File::new(&options(Format::CRI));
    next.join.inherit(&mut file.join, FileKey(7), [true, false]);
    assert_eq!(file.join.counts().lines, 1, "stderr's part stays");
    assert_eq!(next.join.held(), [Some(FileOffset(0)), None]);
    next.join.give_up(FileOffset(100), 100);
    assert_eq!(next.join.given_up(), None);
    let entry = next.read(b"2026-11-22T10:20:03Z stdout F c", 2).unwrap();
    assert_eq!(entry, "2026-11-22T10:20:01Z {} [] \"ac\"");
    assert_eq!(next.join.freed(), [Older { file: FileKey(7), out: 0, at: FileOffset(36) }]);
    file.join.give_up(FileOffset(200), 100);
    assert_eq!(file.join.given_up(), Some(1));
}

/// How a line of some output comes: its content, and where it is split.
fn any_content() -> impl Strategy<Value = (usize, Vec<u8>, Vec<prop::sample::Index>)> {
    let text = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        ".{0,30}".prop_map(String::into_bytes),
        Just(br#"{"level":"info","user_id":"\u00e9"}"#.to_vec()),
    ];
    let text = text.prop_map(|mut text| {
        text.retain(|byte| *byte != b'\n');
        text
    });
    (0..OUTPUTS, text, prop::collection::vec(any::<prop::sample::Index>(), 0..4))
}

/// The parts of one line in CRI's wrapper, in order.
fn parts(out: usize, text: &[u8], cuts: &[prop::sample::Index], second: usize) -> Vec<Vec<u8>> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([text.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let tags = (0..=cuts.len()).map(|idx| if idx == cuts.len() { "F" } else { "P" });
    let wrap = |((start, end), tag)| {
        let name = ["stdout", "stderr"][out];
        let head = format!("2026-11-22T10:19:{second:02}.5Z {name} {tag} ");
        [head.as_bytes(), &text[start..end]].concat()
    };
    starts.zip(ends).zip(tags).map(wrap).collect()
}

proptest! {
    /// A line in parts, however they lie between those of the other output, gives what the line
    /// gives that was not split; whether a piece is taken at once or comes twice.
    #[test]
    fn joined_is_as_never_split(
        contents in prop::collection::vec(any_content(), 1..12),
        seed: u64,
    ) {
        for format in [Format::AUTO, Format::CRI] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut todo: [Vec<Vec<u8>>; OUTPUTS] = Default::default();
            let mut expected: [Vec<String>; OUTPUTS] = Default::default();
            for (second, (out, text, cuts)) in contents.iter().enumerate() {
                todo[*out].extend(parts(*out, text, cuts, second));
                let whole = parts(*out, text, &[], second).remove(0);
                expected[*out].push(File::new(&options(format.clone())).read(&whole, 1).unwrap());
            }
            let mut file = File::new(&options(format.clone()));
            let mut seen: [Vec<String>; OUTPUTS] = Default::default();
            while todo.iter().any(|lines| !lines.is_empty()) {
                let out = rng.usize(0..OUTPUTS);
                if !todo[out].is_empty() {
                    let line = todo[out].remove(0);
                    seen[out].extend(file.read(&line, rng.u32(1..3)));
                }
            }
            prop_assert_eq!(&seen, &expected);
            prop_assert!(file.join.is_empty());
        }
    }
}

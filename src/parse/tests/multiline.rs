//! Lines that are one entry. The traces of Python 3.11, Java 17 and Node 20 are what these have
//! printed; those of Go are as its documentation has them.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use regex::Regex;

use super::{Format, Line, NOW, Options, Parser, Plan, flags, options};
use crate::model::{Counts, FileOffset, Now, OUTPUTS, Stamp};
use crate::parse::{Grouping, Join, Multiline, Piece, Trace, Verdict};

fn multiline(format: Format, how: Grouping) -> Options {
    let wait = Duration::from_secs(1);
    Options { multiline: Some(Multiline { how, wait, lines_max: 8 }), ..options(format) }
}

fn traces(trace: Trace) -> Options {
    let how = Grouping::Traces(vec![trace]);
    let wait = Duration::from_secs(1);
    Options { multiline: Some(Multiline { how, wait, lines_max: 500 }), ..options(Format::AUTO) }
}

fn first(pattern: &str) -> Grouping {
    Grouping::First(Regex::new(pattern).unwrap())
}

struct File {
    parser: Parser,
    join: Join,
    stamp: Stamp,
    at: u64,
    seen: Vec<String>,
}

impl File {
    fn new(options: &Options) -> Self {
        let parser = Parser::new(Arc::new(Plan::compile(options)), true);
        let (join, stamp) = (Join::default(), Stamp::default());
        Self { parser, join, stamp, at: 0, seen: vec![] }
    }

    /// Takes what has begun on `out`.
    fn end(&mut self, out: usize) {
        let text = self.parser.unfinished(out, &mut self.join, &mut self.stamp, NOW, text_of);
        if let Some(mut text) = text {
            let flags = flags(&self.parser).replace("no_timestamp", "");
            if !flags.is_empty() {
                text = format!("{text} !{}", flags.trim());
            }
            self.seen.push(text);
        }
        self.join.end();
    }

    fn read(&mut self, bytes: &[u8], second: u64) {
        let mono = Duration::from_secs(second);
        let now = Now { mono, ..NOW };
        let input = Counts { lines: 1, bytes: bytes.len() as u64 + 1 };
        let line = Line { bytes, truncated_from: None };
        let piece = Piece { line, input, at: FileOffset(self.at) };
        for _ in 0..2 {
            let (join, stamp) = (&mut self.join, &mut self.stamp);
            assert_eq!(self.parser.piece(piece, join, stamp, now, text_of), None);
            let Some(out) = self.join.ended() else { break };
            self.end(out);
        }
        assert_eq!(self.join.ended(), None);
        self.at += input.bytes;
    }

    fn finish(mut self) -> Vec<String> {
        (0..OUTPUTS).for_each(|out| self.end(out));
        assert!(self.join.is_empty());
        self.seen
    }
}

fn text_of(verdict: Verdict<'_>) -> String {
    match verdict {
        Verdict::Emit(entry) => entry.line.to_owned(),
        verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
    }
}

fn entries(options: &Options, input: &str) -> Vec<String> {
    let mut file = File::new(options);
    input.lines().for_each(|line| file.read(line.as_bytes(), 0));
    file.finish()
}

/// The first line of each entry, and how many it has.
#[track_caller]
fn check(trace: Trace, name: &str, expect: &Expect) {
    let path = format!("{}/tests/golden/traces/{name}", env!("CARGO_MANIFEST_DIR"));
    let input = fs_err::read_to_string(path).unwrap();
    let entries = entries(&traces(trace), &input);
    assert_eq!(entries.join("\n") + "\n", input, "no byte is lost");
    let heads = entries.iter().map(|entry| {
        format!("[{}] {}\n", entry.lines().count(), entry.lines().next().unwrap_or_default())
    });
    expect.assert_eq(&heads.collect::<String>());
}

#[test]
fn tracebacks_of_python() {
    check(
        Trace::Python,
        "python.txt",
        &expect![[r#"
            [16] 2026-11-26 16:58:25,947 ERROR request failed
            [1] value
            [14] 2026-11-26 16:58:25,948 WARNING next
            [10] 2026-11-26 16:58:25,948 ERROR group
            [5] 2026-11-26 16:58:25,948 ERROR end
            [1] a note
        "#]],
    );
}

#[test]
fn stack_traces_of_java() {
    check(
        Trace::Java,
        "java.txt",
        &expect![[r#"
            [1] 2026-11-26 10:00:00 INFO started
            [16] 2026-11-26 10:00:01 ERROR failed
            [1] 2026-11-26 10:00:02 INFO next
            [3] Exception in thread "main" java.lang.IllegalStateException: inner
        "#]],
    );
}

#[test]
fn panics_of_go() {
    check(
        Trace::Go,
        "go.txt",
        &expect![[r#"
            [1] 2026/11/26 10:00:00 listening
            [12] 2026/11/26 10:00:01 http: panic serving 127.0.0.1:50314: boom
            [1] 2026/11/26 10:00:02 next
            [9] panic: runtime error: index out of range [5] with length 3 [recovered]
            [1] {"level":"info","msg":"started again"}
            [3] goroutine 7 [running]:
        "#]],
    );
}

#[test]
fn stacks_of_node() {
    check(
        Trace::Node,
        "node.txt",
        &expect![[r#"
            [1] started
            [15] request failed Error: outer
            [1] next
            [9] Error: outer
            [10] TypeError: with code
            [1] last
            [21] /srv/a.js:1
        "#]],
    );
}

#[test]
fn a_first_line_begins_an_entry() {
    let options = multiline(Format::TEXT, first("^[0-9]"));
    assert_eq!(entries(&options, "x\n1 a\n\n  b\n2 c\n"), ["x", "1 a\n\n  b", "2 c"]);
    let options = multiline(Format::TEXT, Grouping::Continuation(Regex::new(r"^\s").unwrap()));
    assert_eq!(entries(&options, " x\n1 a\n  b\n\tc\n2"), [" x", "1 a\n  b\n\tc", "2"]);
}

#[test]
fn an_entry_is_bounded() {
    let mut options = multiline(Format::TEXT, first("^[0-9]"));
    assert_eq!(entries(&options, &"x\n".repeat(10)), ["x\nx\nx\nx\nx\nx\nx\nx", "x\nx"]);
    options.line_bytes = 5;
    let mut file = File::new(&options);
    for line in [&b"1 a\r"[..], b"b \xff\r", b"c", b"1"] {
        file.read(line, 0);
    }
    assert_eq!(file.finish(), ["1 a\nb !truncated", "1"]);
}

#[test]
fn outputs_have_entries_of_their_own() {
    let options = multiline(Format::CRI, first("^[0-9]"));
    let lines = [
        "2026-11-22T10:20:01Z stdout F 1 a",
        "2026-11-22T10:20:01Z stderr F 1 A",
        "2026-11-22T10:20:01Z stdout P b",
        "2026-11-22T10:20:01Z stderr F 2 B",
        "2026-11-22T10:20:01Z stdout P 2",
        "2026-11-22T10:20:01Z stdout F 3",
        "2026-11-22T10:20:01Z stdout F 4",
        "2026-11-22T10:20:01Z stderr P C",
    ];
    let seen = entries(&options, &lines.join("\n"));
    assert_eq!(seen, ["1 A", "1 a\nb23", "4", "2 B\nC !unfinished"]);
}

#[test]
fn what_rests_is_given_up() {
    let wait = Duration::from_secs(1);
    let at = |second| Now { mono: Duration::from_secs(second), ..NOW };
    let mut file = File::new(&multiline(Format::CRI, first("^[0-9]")));
    file.read(b"2026-11-22T10:20:01Z stdout F 1", 5);
    assert_eq!(file.join.rests_until(wait), Some(at(6).mono));
    assert!(!file.join.rest(wait, at(5)));
    file.read(b"2026-11-22T10:20:01Z stdout F x", 7);
    assert_eq!(file.join.rests_until(wait), Some(at(8).mono));
    file.read(b"2026-11-22T10:20:01Z stdout P x", 9);
    assert_eq!(file.join.rests_until(wait), None, "a part has to be followed by another one");
    assert!(!file.join.rest(wait, at(99)));
    file.read(b"2026-11-22T10:20:01Z stdout F y", 9);
    assert!(file.join.rest(wait, at(10)));
    assert_eq!(file.join.given_up(), Some(0));
}

#[test]
fn a_later_run_goes_on_with_what_was_held() {
    let lines = ["1 a", "b", "2 c", "d", "e"];
    let options = multiline(Format::TEXT, first("^[0-9]"));
    let mut file = File::new(&options);
    lines[..4].iter().for_each(|line| file.read(line.as_bytes(), 0));
    assert_eq!(file.seen, ["1 a\nb"]);
    let held = file.join.held();
    assert_eq!(held[0], Some(FileOffset(6)));

    let again = |options: &Options| {
        let mut file = File::new(options);
        let mut was_held = vec![];
        for bytes in lines[..4].iter().map(|line| line.as_bytes()) {
            let input = Counts { lines: 1, bytes: bytes.len() as u64 + 1 };
            let line = Line { bytes, truncated_from: None };
            let piece = Piece { line, input, at: FileOffset(file.at) };
            was_held.push(file.parser.hold_again(piece, &mut file.join, held, NOW));
            file.at += input.bytes;
        }
        assert_eq!(was_held, [false, false, true, true]);
        assert_eq!(file.join.held(), held);
        file
    };
    let mut file = again(&options);
    file.read(b"e", 0);
    assert_eq!(file.finish(), ["2 c\nd\ne"]);
    // The configuration was changed meanwhile: nothing is lost.
    let other = again(&super::options(Format::TEXT));
    assert_eq!(other.join.given_up(), Some(0));
    assert_eq!(other.finish(), ["2 c\nd"]);
}

proptest! {
    /// Whatever the lines are, and however they are grouped: no byte is lost, and none is moved.
    #[test]
    fn nothing_is_lost(
        lines in prop::collection::vec(
            prop::sample::select(vec![
                "", " x", "Traceback (most recent call last):", "  File \"a\"", "E: x", "{}", "1 a",
                "Exception in thread \"m\" x", "\tat a.b(C)", "goroutine 1 [running]:", "panic: x",
                "/a.js:1", "Error: x", "    at x", "}", "Caused by: x",
            ]),
            1..40,
        ),
    ) {
        let all = vec![Trace::Python, Trace::Java, Trace::Go, Trace::Node];
        for how in [Grouping::Traces(all), first("^[0-9]")] {
            let input = lines.join("\n");
            let mut file = File::new(&multiline(Format::TEXT, how));
            lines.iter().for_each(|line| file.read(line.as_bytes(), 0));
            prop_assert_eq!(file.finish().join("\n"), input);
        }
    }
}

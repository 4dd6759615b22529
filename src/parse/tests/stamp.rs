//! Line times: equal stamps, missing ones, those outside the window.

use std::time::Duration;

use expect_test::{Expect, expect};

use super::{Format, Line, NOW, Parser, Plan, Verdict, first, flags, options, render};
use crate::model::{Now, Stamp, UnixNanos};
use crate::parse::stamp::{LineTime, Missing, advance};

/// Gives `raws` (nanoseconds from now; `None` is no stamp) to one stamp, one after the other.
fn check(missing: Missing, raws: &[Option<i64>], expected: &[i64]) {
    let mut stamp = Stamp::default();
    let mut times = Vec::new();
    for raw in raws {
        let raw = raw.map(|raw| UnixNanos(NOW.wall.0 + raw));
        times.push(advance(&mut stamp, raw, UnixNanos(i64::MIN), missing, NOW).time.0 - NOW.wall.0);
    }
    assert_eq!(times, expected, "{raws:?} {missing:?}");
}

const FOLLOWS: Missing = Missing::Follows;
const READ_TIME: Missing = Missing::ReadTime;

#[test]
fn lines_stay_distinct() {
    check(FOLLOWS, &[Some(-9), Some(-9), Some(-9), Some(-5), Some(-9)], &[-9, -8, -7, -5, -9]);
    check(FOLLOWS, &[Some(-9), None, None, Some(-9), Some(-3), None], &[-9, -8, -7, -6, -3, -2]);
    check(FOLLOWS, &[None, None, Some(-9)], &[0, 1, -9]);
    check(READ_TIME, &[None, None, None], &[0, 1, 2]);
    check(READ_TIME, &[Some(-9), None, None, Some(-9)], &[-9, 0, 1, -9]);
}

const MINUTE: i64 = 60_000_000_000;

#[test]
fn the_future_is_now() {
    let far = 9 * MINUTE + 1;
    check(FOLLOWS, &[Some(far - 1), Some(far), Some(far + 7), None], &[far - 1, 0, 1, 2]);
    check(READ_TIME, &[Some(far), None, Some(i64::MAX - NOW.wall.0), Some(-1)], &[0, 1, 2, -1]);

    let mut stamp = Stamp { last_raw: Some(UnixNanos(NOW.wall.0 + far)).into(), repeats: 3 };
    let LineTime { time, moved_from } =
        advance(&mut stamp, None, UnixNanos(i64::MIN), FOLLOWS, NOW);
    assert_eq!((time, moved_from), (NOW.wall, Some(UnixNanos(NOW.wall.0 + far))));
}

#[test]
fn the_ends_of_time_do_not_wrap() {
    let last = UnixNanos(i64::MAX);
    let now = Now { mono: Duration::ZERO, wall: last };
    let mut stamp = Stamp { last_raw: Some(last).into(), repeats: u32::MAX };
    assert_eq!(advance(&mut stamp, Some(last), UnixNanos(i64::MIN), FOLLOWS, now).time, last);
    assert_eq!(stamp.repeats, u32::MAX);
}

fn check_lines(input: &str, expect: Expect) {
    expect.assert_eq(&render(&options(Format::AUTO), input.as_bytes()));
}

#[test]
fn times_of_lines() {
    check_lines(
        concat!(
            "{\"ts\":\"1970-01-01T00:00:00Z\"}\n",
            "{\"ts\":\"2026-11-15T10:20:04Z\"}\n",
            "follows what is too old\n",
            "{\"ts\":\"2026-11-15T10:20:05Z\"}\n",
            "{\"ts\":\"2026-11-29T10:20:05Z\"}\n",
            "{\"ts\":\"2262-04-11T23:47:16Z\"}\n",
            "{\"ts\":\"9999-01-01T00:00:00Z\"}\n",
            "{\"time\":\"nonsense\",\"ts\":\"2026-11-22T10:20:05Z\"}\n",
            "{\"time\":0.25}",
        ),
        expect![[r#"
            too_old
            too_old
            too_old !no_timestamp
            2026-11-15T10:20:05Z {} [] "{\"ts\":\"2026-11-15T10:20:05Z\"}"
            2026-11-22T10:20:05Z {} [original_timestamp="2026-11-29T10:20:05Z"] "{\"ts\":\"2026-11-29T10:20:05Z\"}" !moved_into_window
            2026-11-22T10:20:05.000000001Z {} [original_timestamp="2262-04-11T23:47:16Z"] "{\"ts\":\"2262-04-11T23:47:16Z\"}" !moved_into_window
            2026-11-22T10:20:05.000000002Z {} [original_timestamp="2262-04-11T23:47:16.854775807Z"] "{\"ts\":\"9999-01-01T00:00:00Z\"}" !timestamp_clamped moved_into_window
            2026-11-22T10:20:05.000000003Z {} [] "{\"time\":\"nonsense\",\"ts\":\"2026-11-22T10:20:05Z\"}"
            2026-11-22T10:20:05.000000004Z {} [] "{\"time\":0.25}" !no_timestamp
        "#]],
    );
}

/// A checkpoint between any two lines: what follows gets the times it had.
#[test]
fn a_replay_repeats_the_times() {
    let lines: Vec<_> = ["T10:20:01Z", "T10:20:01Z", "", "T10:20:02Z", "T10:20:02.000Z", "", ""]
        .map(|time| format!("{{\"ts\":\"2026-11-22{time}\"}}"))
        .into();
    let plan = std::sync::Arc::new(Plan::compile(&options(Format::JSON)));
    let read = |parser: &mut Parser, stamp: &mut Stamp, line: &str, now: Now| {
        let line = Line { bytes: line.as_bytes(), truncated_from: None };
        parser.line(line, stamp, now, |verdict| match verdict {
            Verdict::Emit(entry) => entry.time,
            verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
        })
    };
    let mut stamps = vec![Stamp::default()];
    let mut times = Vec::new();
    let mut parser = Parser::new(std::sync::Arc::clone(&plan), true);
    for line in &lines {
        let mut stamp = stamps[times.len()];
        times.push(read(&mut parser, &mut stamp, line, NOW));
        stamps.push(stamp);
    }
    let later = Now { mono: Duration::ZERO, wall: NOW.wall.plus(Duration::from_secs(99)) };
    for (from, stamp) in stamps.iter().enumerate().take(lines.len()) {
        let mut parser = Parser::new(std::sync::Arc::clone(&plan), true);
        let mut stamp = *stamp;
        for (line, time) in lines.iter().zip(&times).skip(from) {
            assert_eq!(read(&mut parser, &mut stamp, line, later), *time, "{line} from {from}");
        }
    }
}

#[test]
fn standard_input_takes_the_read_time() {
    let mut parser = Parser::new(std::sync::Arc::new(Plan::compile(&options(Format::AUTO))), false);
    let mut stamp = Stamp::default();
    let mut times = Vec::new();
    for bytes in [&b"{\"ts\":\"2026-11-22T10:20:01Z\"}"[..], b"a", b"b"] {
        let line = Line { bytes, truncated_from: None };
        parser.line(line, &mut stamp, NOW, |verdict| match verdict {
            Verdict::Emit(entry) => times.push(entry.time.to_string()),
            verdict @ (Verdict::Drop(_) | Verdict::NotBefore(_)) => panic!("{verdict:?}"),
        });
    }
    let expected =
        ["2026-11-22T10:20:01Z", "2026-11-22T10:20:05Z", "2026-11-22T10:20:05.000000001Z"];
    assert_eq!(times, expected);
    assert_eq!(flags(&parser), "no_timestamp");
}

#[test]
fn an_explicit_format_is_obeyed() {
    let mut options = options(Format::JSON);
    options.rules = vec![
        super::timestamp(&["a"], &[super::TimeFormat::UnixMs]),
        super::timestamp(&["b.c"], &[]),
    ];
    for (line, expected) in [
        (r#"{"a":1795342801000,"b":{"c":1795342802}}"#, "2026-11-22T10:20:01Z"),
        (r#"{"a":"2026-11-22T10:20:01Z","b":{"c":1795342802}}"#, "2026-11-22T10:20:02Z"),
        (r#"{"a":{},"b":{"c":"1795342802.5"}}"#, "2026-11-22T10:20:02.5Z"),
    ] {
        let (time, _) = first(&options, line.as_bytes(), |entry| entry.time.to_string());
        assert_eq!(time, expected, "{line}");
    }
}

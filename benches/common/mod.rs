//! What the benches share: the log that ships and made-up ones, read with the default rules, at
//! their own time.
#![allow(dead_code, clippy::allow_attributes, reason = "each bench uses a part")]

pub(crate) mod corpus;
pub(crate) mod turns;
mod words;

use std::time::Duration;

use skald::config::Config;
use skald::model::{Now, UnixNanos};
use skald::parse::Options;

use self::corpus::{Corpus, Shape, Times};

/// Just after the last line of the log.
pub(crate) const NOW: Now =
    Now { mono: Duration::from_secs(1), wall: UnixNanos(1_768_471_200_000_000_000) };

/// The log that ships, and made-up ones of `LINES` each.
pub(crate) fn logs() -> Vec<(&'static str, Vec<u8>)> {
    let made = MADE.map(|(name, shape)| (name, made(shape, LINES)));
    [("veogen", log())].into_iter().chain(made).collect()
}

/// The made-up logs by name.
pub(crate) const MADE: [(&str, Shape); 6] = [
    ("file400", Shape::File400),
    ("file220", Shape::File220),
    ("cri", Shape::Cri),
    ("nested", Shape::Nested),
    ("escapes", Shape::Escapes),
    ("shuffled", Shape::Shuffled),
];

const LINES: usize = 2000;

/// So many lines of a made-up log; always the same ones.
pub(crate) fn made(shape: Shape, lines: usize) -> Vec<u8> {
    let times = Times { start: NOW.wall.0 - 3_600_000_000_000, unit_micros: 1, units_max: 2000 };
    let mut corpus = Corpus::new(shape, 1, times);
    let lines = (0..lines).map(|_| corpus.line().bytes);
    lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

/// The JSON lines of the log that ships.
pub(crate) fn log() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/veogen.log");
    let log: Vec<u8> = fs_err::read(path)
        .expect("a readable file system")
        .split_inclusive(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{"))
        .flatten()
        .copied()
        .collect();
    assert!(log.ends_with(b"\n"), "whole lines");
    log
}

/// The default rules.
pub(crate) fn options() -> Options {
    Config::defaults("http://loki:3100/loki/api/v1/push").parse_defaults("veogen")
}

/// Ids that do not repeat.
pub(crate) fn ids(lines: usize) -> Vec<[String; 3]> {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut id = |_| {
        let mut hex = || format!("{:016x}{:016x}", rng.u64(..), rng.u64(..));
        [hex(), hex()[..8].to_owned(), hex()]
    };
    (0..lines).map(&mut id).collect()
}

/// The text of a field of a line as our generators write them, empty if it is not there.
pub(crate) fn field<'a>(line: &'a [u8], key: &str) -> &'a str {
    let line = std::str::from_utf8(line).expect("UTF-8");
    let Some((_, rest)) = line.split_once(&format!("\"{key}\": \"")) else { return "" };
    rest.split_once('"').map_or("", |(value, _)| value)
}

/// Lines of about 220 bytes, with ids of their own.
pub(crate) fn short_lines(lines: usize) -> Vec<Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(2);
    let line = |number| {
        let stamp = stamp(number, &mut rng);
        let level = ["INFO", "INFO", "WARN"][rng.usize(..3)];
        let event = ["start", "end", "step"][rng.usize(..3)];
        let ids = id_fields(&mut rng);
        let ms = rng.u32(..5_000);
        let head = format!(r#""ts": "{stamp}", "level": "{level}", "event_type": "{event}""#);
        format!(r#"{{{head}, {ids}, "ms": {ms}}}"#).into_bytes()
    };
    (0..lines).map(line).collect()
}

/// Lines of about 430 bytes in 15 fields, with ids of their own and messages of words in any order.
pub(crate) fn long_lines(lines: usize) -> Vec<Vec<u8>> {
    const WORDS: &str = "cache video render queue model request worker upload token frame storage \
        retry batch session quota webhook thumbnail failed finished started waiting for with after";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut rng = fastrand::Rng::with_seed(3);
    let line = |number| {
        let stamp = stamp(number, &mut rng);
        let level = ["INFO", "INFO", "INFO", "DEBUG", "WARNING"][rng.usize(..5)];
        let event = ["request_end", "render_step", "queue_wait", "db_query"][rng.usize(..4)];
        let mut message = format!("{} of {}", rng.u32(..100_000), words[rng.usize(..words.len())]);
        for _ in 0..rng.usize(1..5) {
            message = format!("{message} {}", words[rng.usize(..words.len())]);
        }
        let ids = id_fields(&mut rng);
        let (host, thread, status) = (rng.u8(..6), rng.u8(..32), [200, 404, 500][rng.usize(..3)]);
        let (took, bytes) = (rng.f32() * 3_000.0, rng.u32(100..1_000_000));
        let head = format!(
            r#""timestamp": "{stamp}", "level": "{level}", "logger": "app.services.queue""#
        );
        let what = format!(r#""message": "{message}", "event_type": "{event}""#);
        let place = format!(
            r#""service": "veogen-api", "host": "veogen-api-{host}", "thread": "worker-{thread}""#
        );
        let end = format!(r#""status": {status}, "duration_ms": {took:.2}, "bytes": {bytes}"#);
        format!("{{{head}, {what}, {ids}, {place}, {end}}}").into_bytes()
    };
    (0..lines).map(line).collect()
}

fn stamp(number: usize, rng: &mut fastrand::Rng) -> String {
    let micros = number as u64 * 2_000 + rng.u64(..2_000);
    let (minute, second) = (micros / 60_000_000, micros / 1_000_000 % 60);
    format!("2026-01-15T09:{minute:02}:{second:02}.{:06}+00:00", micros % 1_000_000)
}

fn id_fields(rng: &mut fastrand::Rng) -> String {
    let (a, b, user) = (rng.u64(..), rng.u64(..), rng.u32(..50_000));
    let request = format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        a & 0xfff,
        b >> 50 | 0x8000,
        b & 0xffff_ffff_ffff,
    );
    let trace = format!("{:016x}{:016x}", rng.u64(..), rng.u64(..));
    format!(r#""request_id": "{request}", "trace_id": "{trace}", "user_id": "user_{user:05}""#)
}

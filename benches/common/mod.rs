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

/// The default rules and one more, in YAML.
pub(crate) fn options_with(rule: &str) -> Options {
    let text = format!(
        "loki: {{url: http://loki}}\nsources:\n  - files: /var/log/a.log\n    rules:\n      \
         - label: [level, event_type]\n      - metadata: [request_id, user_id, trace_id]\n      \
         - timestamp: [timestamp, time, ts, \"@timestamp\"]\n      - {rule}\n"
    );
    let loaded = skald::config::load(text.as_bytes(), "the bench", &|_| None);
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.report.render(false)));
    Options { source: "veogen".to_owned(), ..config.sources[0].parse.clone() }
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

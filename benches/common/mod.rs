//! What the benches share: the log that ships, read with the default rules, at its own time.
#![allow(dead_code, clippy::allow_attributes, reason = "each bench uses a part")]

use std::time::Duration;

use skald::config::Config;
use skald::model::{Now, UnixNanos};
use skald::parse::Options;

/// Just after the last line of the log.
pub(crate) const NOW: Now =
    Now { mono: Duration::from_secs(1), wall: UnixNanos(1_768_471_200_000_000_000) };

/// The JSON lines of the log.
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

//! The faults by which log agents lose lines, each with its proof that it happened, an exact count
//! of what became of every line, and a fresh line that arrives afterwards.
//!
//! What needs the rights of root, strace or a mount asks [`needs`] first. Where that is missing the
//! test says so and counts as skipped; with `SKALD_FAULTS=all` in the environment, as in CI, it
//! fails.

mod acks;
mod budget;
mod bytes;
mod composite;
mod cri;
mod deleted;
mod dns;
mod exit;
mod host;
mod identity;
mod kill;
mod limits;
mod loki;
mod network;
mod order;
mod rotation;
mod stdin;
mod storage;
mod time;
mod tls;
mod tools;
mod truncate;
mod unseen;

use std::io::Write as _;

/// Whether what a test needs is there. If not, says so on a line that `.ci/run` counts.
pub(crate) fn needs(what: &str, is_there: bool) -> bool {
    let must = std::env::var_os("SKALD_FAULTS").is_some_and(|value| value == "all");
    assert!(is_there || !must, "this machine has no {what}, and SKALD_FAULTS=all wants it");
    if !is_there {
        // Not captured by the test harness, so that it can be counted.
        let _ = writeln!(std::io::stderr(), "skipped: this machine has no {what}");
    }
    is_there
}

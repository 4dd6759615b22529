//! What must hold for all bytes: one function a target. libFuzzer drives them (`fuzz/bin`), and
//! `tests/fuzz.rs` replays their seeds with mutations.

pub(crate) mod bytes;
mod reading;
mod times;

mod accepted;
mod checkpoint;
mod config;
mod cutter;
mod encoder;
mod json;
mod labels;
mod logfmt;
mod query;
mod snappy;
mod tail;
mod timestamp;
mod wrapper;

/// A law and the name of its folder below `fuzz/seeds`.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Panics when the law is broken.
    pub(crate) check: fn(&[u8]),
}

/// All of them.
pub(crate) const ALL: [Target; 14] = [
    Target { name: "accepted", check: accepted::check },
    Target { name: "checkpoint", check: checkpoint::any_bytes },
    Target { name: "checkpoint_damage", check: checkpoint::damage },
    Target { name: "config", check: config::check },
    Target { name: "cutter", check: cutter::check },
    Target { name: "encoder", check: encoder::check },
    Target { name: "json", check: json::check },
    Target { name: "labels", check: labels::check },
    Target { name: "logfmt", check: logfmt::check },
    Target { name: "query", check: query::check },
    Target { name: "snappy", check: snappy::check },
    Target { name: "tail", check: tail::check },
    Target { name: "timestamp", check: timestamp::check },
    Target { name: "wrapper", check: wrapper::check },
];

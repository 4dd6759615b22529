//! Turns the bytes of one line into an entry for Loki.
//!
//! May touch: its arguments. Must not: do I/O, read a clock, use async, fail.

mod options;

pub use self::options::{Field, Format, Options, Path, Rule, TimeFormat};

//! Turns the bytes of one line into an entry for Loki.
//!
//! May touch: its arguments. Must not: do I/O, read a clock, use async, fail.
//! Start at [`Parser::line`]; the steps are in the order of the `mod` lines.

mod options;
mod plan;

mod parser;

mod text;
mod wrapper;

mod join;

mod escape;
mod fields;
mod habits;
mod json;
mod logfmt;
mod scan;

mod stamp;
mod timestamp;

mod flags;
mod values;

mod guard;

#[cfg(test)]
mod tests;

pub use self::flags::Flags;
pub use self::guard::{Admit, Demotion, Guard};
pub use self::join::{Join, Older, Piece};
pub use self::options::{Field, Format, Options, Path, Rule, TimeFormat};
pub use self::parser::{Line, Parser, Verdict};
pub use self::plan::{Plan, Warning};
pub use self::values::TRUNCATED_FROM;

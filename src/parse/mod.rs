//! Turns the bytes of one line into an entry for Loki.
//!
//! May touch: its arguments. Must not: do I/O, read a clock, use async, fail.
//! Start at [`Parser::line`]; the steps are in the order of the `mod` lines.

mod options;
mod plan;
mod rule;
mod warning;

mod parser;

mod finder;
mod maker;

mod ansi;
mod text;
mod wrapper;

mod join;
mod multiline;

mod escape;
mod fields;
mod habits;
mod json;
mod logfmt;
mod scan;

mod level;
mod redact;

mod stamp;
mod timestamp;
mod written;

mod flags;
mod values;

mod steps;

mod guard;

#[cfg(test)]
mod tests;

pub use self::flags::Flags;
pub use self::guard::{Admit, Demotion, Guard};
pub use self::join::{Join, Older, Piece};
pub use self::options::{
    Content, Field, Format, Missing, Options, Path, Rule, TimeFormat, TimeRules, Wrapper,
};
pub use self::parser::{Line, Parser, Verdict};
pub use self::plan::Plan;
pub use self::rule::{
    Condition, Grouping, Level, Limit, LineForm, Members, Metric, Multiline, Numbers, Order, Part,
    Private, Redact, Replace, Sample, Template, Tenant, Test, Trace,
};
pub use self::steps::level_fields;
pub use self::values::TRUNCATED_FROM;
pub use self::warning::Warning;

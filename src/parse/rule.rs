//! What rules beyond labels, metadata and time are made of.

use std::time::Duration;

use regex::Regex;
use secrecy::SecretString;

use super::options::Path;
use crate::model::LineMetric;

/// Lines that are sent as one entry.
#[derive(Debug, Clone)]
pub struct Multiline {
    /// Which.
    pub how: Grouping,
    /// How long a line waits for the next one of its entry.
    pub wait: Duration,
    /// How many lines an entry has at most; the next one begins another.
    pub lines_max: u32,
}

/// What says that a line belongs to the one before.
#[derive(Debug, Clone)]
pub enum Grouping {
    /// It does unless this is found in it.
    First(Regex),
    /// It does when this is found in it.
    Continuation(Regex),
    /// It does when it is of the trace of an error, in one of these languages.
    Traces(Vec<Trace>),
}

/// Whose traces are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Python.
    Python,
    /// Java, and what runs with it.
    Java,
    /// Go.
    Go,
    /// JavaScript in Node.
    Node,
}

/// All members of an object whose names begin and end so: what `context.user_*` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The object; empty is the line itself.
    pub of: Vec<String>,
    /// How their names begin.
    pub prefix: String,
    /// How their names end.
    pub suffix: String,
}

/// A text with places for fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A piece of a [`Template`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What is written as it is.
    Text(String),
    /// The value of a field.
    Field {
        /// Candidates, in order.
        from: Vec<Path>,
        /// What is written when all of them are missing.
        default: Option<String>,
    },
}

/// What is sent in place of the line as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineForm {
    /// A text made of fields; the line stays as it is when none of them is there.
    Template(Template),
    /// The members of a JSON object as `key=value` pairs; a line that is none stays as it is.
    Logfmt,
}

/// What a part of a field is written as.
#[derive(Debug, Clone)]
pub struct Replace {
    /// The field.
    pub field: Path,
    /// What is looked for, as often as it is there.
    pub pattern: Regex,
    /// What is put in its place; `$1` or `${name}` is a group of the pattern.
    pub with: String,
}

/// Which lines.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Those for which all hold.
    All(Vec<Condition>),
    /// Those for which one holds.
    Any(Vec<Condition>),
    /// Those for which it does not hold.
    Not(Box<Condition>),
    /// Those whose field is so.
    Field(Path, Test),
}

/// What is asked of a field. Of one that is missing, null or empty all is false but
/// `Exists(false)`.
#[derive(Debug, Clone)]
pub enum Test {
    /// Whether it is there.
    Exists(bool),
    /// Whether it is written like one of these.
    Is(Vec<String>),
    /// Whether it is a number, and how it compares: `$age` in seconds, `$length` in bytes.
    Compares(Order, f64),
    /// Whether the pattern is found in it.
    Matches(Regex),
    /// Whether it has this in it.
    Contains(String),
    /// Whether it is a level, and no less than this.
    AtLeast(Level),
}

/// How a number compares to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A share of the lines.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Between 0 and 1.
    pub rate: f64,
    /// Lines in which this field is alike are sent or dropped together. `None`, and lines without
    /// it: each by itself.
    pub by: Option<Path>,
    /// Lines that are always sent; `None` is errors, by the usual fields for a level.
    pub always: Option<Condition>,
}

/// Whose a line is, if not the source's tenant's. The tenants are all named: each has memory of
/// its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The field that says it.
    pub from: Option<Path>,
    /// Its values and their tenants.
    pub map: Vec<(String, String)>,
    /// The tenant of all other lines.
    pub default: Option<String>,
}

/// What is taken out of a line.
#[derive(Debug, Clone)]
pub struct Redact {
    /// What is looked for.
    pub what: Vec<Private>,
    /// What is written in its place, between `<` and `>`; `None` is what it was.
    pub with: Option<String>,
    /// The fields; none is all that leaves: the line, and every field.
    pub places: Vec<Path>,
    /// The key of a hash that is written there as well.
    pub hash: Option<SecretString>,
}

/// What should not be stored.
#[derive(Debug, Clone)]
pub enum Private {
    /// Addresses of e-mail.
    Email,
    /// Tokens after `Bearer` and `Basic`, and JSON web tokens.
    Bearer,
    /// Numbers of payment cards with the right checksum.
    Card,
    /// Addresses of IP, version 4 and 6.
    Ip,
    /// The first group of a pattern that matches, or the whole match.
    Pattern(Regex),
}

/// How severe a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// For those who look for a mistake.
    Debug,
    /// What happens.
    Info,
    /// What may become an error.
    Warn,
    /// What went wrong.
    Error,
    /// What needs somebody now.
    Critical,
    /// The end.
    Fatal,
}

/// What numbers of levels mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// 0 to 7 as syslog, from 10 on as pino.
    Auto,
    /// RFC 5424: 0 is an emergency, 7 is debug.
    Syslog,
    /// pino and bunyan: 10 is trace, 60 is fatal.
    Pino,
    /// Python: 10 is debug, 50 is critical.
    Python,
    /// OpenTelemetry: 1 is trace, 24 is fatal.
    Otel,
}

/// A metric that is made of lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What it is.
    pub metric: LineMetric,
    /// The field that says how much; `None` is one for each line.
    pub value: Option<Path>,
    /// The fields that its labels have the values of.
    pub by: Vec<Path>,
}

/// A pace.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Lines a second, on average; over 0.
    pub lines_per_second: f64,
    /// How many lines may come at once; at least 1, and with `wait` at least those of 100 ms.
    pub burst: u32,
    /// Each value of this field has a pace of its own. `None`: all lines of the source together.
    pub by: Option<Path>,
    /// What is over is read later and not dropped.
    pub wait: bool,
}

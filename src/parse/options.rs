//! What a source's configuration says about its lines.

use std::time::Duration;

use regex::Regex;

/// How the lines of one source are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source's name, for messages.
    pub source: String,
    /// How the bytes of a line are understood.
    pub format: Format,
    /// Labels that every stream of the source has: the global ones, with the source's own over
    /// them. Names are valid, values are not empty.
    pub labels: Vec<(String, String)>,
    /// The rules, from top to bottom.
    pub rules: Vec<Rule>,
    /// Longest line in bytes; the rest is cut.
    pub line_bytes: u32,
    /// Lines whose own time is older than this are dropped as `too_old`.
    pub age: Duration,
    /// Most distinct values of one label within `guard_per`; 0 is no guard.
    pub guard_values: u32,
    /// The time over which distinct values are counted.
    pub guard_per: Duration,
}

/// The format of a source's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// CRI, docker, JSON or text, recognised line by line.
    Auto,
    /// A JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// The container runtime interface: `<time> <stream> <P|F>[:tags] <line>`.
    Cri,
    /// Docker's json-file driver: `{"log":…,"stream":…,"time":…}`.
    Docker,
    /// No fields.
    Text,
}

/// One rule.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Fields that become labels of the stream.
    Label(Vec<Field>),
    /// Fields that become structured metadata of the entry.
    Metadata(Vec<Field>),
    /// Where the line's own time is. The first that is there and can be read is taken.
    Timestamp {
        /// Candidates, in order.
        from: Vec<Path>,
        /// Accepted formats; empty is all.
        formats: Vec<TimeFormat>,
    },
}

/// A result with a name, and where it comes from.
#[derive(Debug, Clone)]
pub struct Field {
    /// The name of the label or metadata pair, valid for Loki.
    pub name: String,
    /// Candidates, in order; missing, null and empty ones are passed over.
    pub from: Vec<Path>,
    /// Takes the group named like the field, else the first named group, else the first group,
    /// else the whole match. No match counts as missing.
    pub regex: Option<Regex>,
    /// Exact replacements, after `regex`.
    pub map: Vec<(String, String)>,
    /// The value when all candidates are missing.
    pub default: Option<String>,
}

/// A place in a JSON object: `level`, `severity.text`, `a."b.c"`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<String>);

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 and what services really write near it.
    Rfc3339,
    /// Seconds since 1970, with or without a fraction, as a number or string.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// Microseconds since 1970.
    UnixUs,
    /// Nanoseconds since 1970.
    UnixNs,
}

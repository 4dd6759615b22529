//! What a source's configuration says about its lines.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use regex::Regex;

use super::rule::{
    Condition, Limit, LineForm, Members, Metric, Multiline, Numbers, Redact, Replace, Sample,
    Template, Tenant,
};

/// How the lines of one source are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The source's name, for messages.
    pub source: String,
    /// How the bytes of a line are understood.
    pub format: Format,
    /// Colours and other commands to a terminal are taken out of lines.
    pub strip_ansi: bool,
    /// Labels that every stream of the source has: the global ones, with the source's own over
    /// them. Names are valid, values are not empty.
    pub labels: Vec<(String, String)>,
    /// What is done about their times.
    pub times: TimeRules,
    /// Which lines are one entry.
    pub multiline: Option<Multiline>,
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

impl Options {
    /// The tenants that the rules name.
    #[must_use]
    pub fn tenants(&self) -> Vec<&str> {
        fn add<'o>(rules: &'o [Rule], tenants: &mut Vec<&'o str>) {
            for rule in rules {
                if let Rule::Tenant(rule) = rule {
                    let named = rule.map.iter().map(|(_, tenant)| tenant).chain(&rule.default);
                    tenants.extend(named.map(String::as_str));
                } else if let Rule::When { then, otherwise, .. } = rule {
                    add(then, tenants);
                    add(otherwise, tenants);
                }
            }
        }
        let mut tenants = Vec::new();
        add(&self.rules, &mut tenants);
        tenants
    }
}

/// The format of a source's lines: what they are wrapped in, and what is inside.
#[derive(Debug, Clone)]
pub struct Format {
    /// What a container runtime has put around each line.
    pub wrapper: Wrapper,
    /// How the service's own line is written.
    pub content: Content,
}

/// What a container runtime puts around a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapper {
    /// Nothing.
    None,
    /// CRI, docker or nothing, recognised line by line.
    Auto,
    /// The container runtime interface: `<time> <stream> <P|F>[:tags] <line>`.
    Cri,
    /// Docker's json-file driver: `{"log":…,"stream":…,"time":…}`.
    Docker,
}

/// How a service writes its lines.
#[derive(Debug, Clone)]
pub enum Content {
    /// JSON or text, recognised line by line.
    Auto,
    /// A JSON object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// No fields.
    Text,
    /// The named groups of a regular expression are the fields.
    Regex(Regex),
}

impl Format {
    /// CRI, docker, JSON or text, recognised line by line.
    pub const AUTO: Self = Self { wrapper: Wrapper::Auto, content: Content::Auto };
    /// A JSON object a line.
    pub const JSON: Self = Self { wrapper: Wrapper::None, content: Content::Json };
    /// `key=value` pairs.
    pub const LOGFMT: Self = Self { wrapper: Wrapper::None, content: Content::Logfmt };
    /// The container runtime interface, around JSON or text.
    pub const CRI: Self = Self { wrapper: Wrapper::Cri, content: Content::Auto };
    /// Docker's json-file driver, around JSON or text.
    pub const DOCKER: Self = Self { wrapper: Wrapper::Docker, content: Content::Auto };
    /// No fields.
    pub const TEXT: Self = Self { wrapper: Wrapper::None, content: Content::Text };
}

/// One rule.
#[derive(Debug, Clone)]
pub enum Rule {
    /// Fields that become labels of the stream.
    Label(Vec<Field>),
    /// Fields that become structured metadata of the entry.
    Metadata(Vec<Field>),
    /// Members of an object that become structured metadata.
    Members(Vec<Members>),
    /// Where the line's own time is. The first that is there and can be read is taken.
    Timestamp {
        /// Candidates, in order.
        from: Vec<Path>,
        /// Accepted formats; empty is all.
        formats: Vec<TimeFormat>,
    },
    /// Fields that are made of others.
    Set(Vec<(Path, Template)>),
    /// Exact replacements of the values of fields; others stay.
    Map(Vec<(Path, Vec<(String, String)>)>),
    /// Fields that are written in small letters.
    Lowercase(Vec<Path>),
    /// The field `level` is made of the first of some that says one.
    Level {
        /// Candidates, in order.
        from: Vec<Path>,
        /// What numbers mean.
        numbers: Numbers,
    },
    /// What is taken out of lines.
    Redact(Redact),
    /// Patterns whose named groups become fields, by the field that is looked through.
    Regex(Vec<(Path, Regex)>),
    /// Parts of fields that are written anew.
    Replace(Vec<Replace>),
    /// What is sent as the line.
    Line(LineForm),
    /// Lines that are not sent.
    Drop(Condition),
    /// The only lines that are sent.
    Keep(Condition),
    /// A share of the lines is sent.
    Sample(Sample),
    /// No more than some lines a second are sent.
    Limit(Limit),
    /// Whose lines they are.
    Tenant(Tenant),
    /// What lines say to metrics.
    Metrics(Vec<Metric>),
    /// Rules for some lines only.
    When {
        /// Which lines.
        test: Condition,
        /// The rules for them.
        then: Vec<Rule>,
        /// The rules for all others.
        otherwise: Vec<Rule>,
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

/// A place in a JSON object: `level`, `severity.text`, `items.0.id`, `a."b.c"`. Never empty. One
/// name that begins with `$` is no field of the line: see [`Path::origin`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path(pub Vec<String>);

impl Path {
    /// The name behind the `$`, if this is where a line comes from (`$filename`, `$pod`), or what
    /// it is as a whole (`$line`, `$length`, `$age`). A field whose own name begins with `$` is
    /// written with two.
    #[must_use]
    pub fn origin(&self) -> Option<&str> {
        match &*self.0 {
            [name] => name.strip_prefix('$').filter(|name| !name.starts_with('$')),
            _ => None,
        }
    }

    /// The path as a person writes it.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.0.join(".")
    }
}

/// What is done about the times of lines.
#[derive(Debug, Clone, Default)]
pub struct TimeRules {
    /// The zone of times that say none; `None` is UTC.
    pub zone: Option<TimeZone>,
    /// What a line without a time gets. `None`: the time of the line before; on standard input the
    /// read time.
    pub missing: Option<Missing>,
    /// A line that is older than [`Options::age`] gets the read time, and is not dropped.
    pub move_old: bool,
    /// A line of the future is dropped, and does not get the read time.
    pub drop_future: bool,
}

/// What a line without a time of its own gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The time of the line before, and before any the read time.
    Previous,
    /// The time when it is read.
    ReadTime,
    /// Nothing: it is dropped.
    Drop,
}

/// How a timestamp is written.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// RFC 2822, as in mail: `Sun, 22 Nov 2026 10:20:05 +0100`.
    Rfc2822,
    /// In the manner of `strptime`, see [`TimeFormat::strptime`]. Where it says no year, the one
    /// that is nearest to now.
    Strptime(Arc<str>),
}

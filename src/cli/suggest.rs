//! `skald suggest`: reads a sample of a log and writes a configuration for it, with the reasons.

mod fields;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use regex::Regex;
use serde_json::{Map, Value};

use self::fields::{Column, Columns};
use super::args::Suggest;
use crate::app::{Clock, Outcome, Rehearsal};
use crate::config::Config;
use crate::model::{Flag, Now, Origin};
use crate::parse::{
    Content, Field, Format, Grouping, Multiline, Options, Rule, TimeFormat, Trace, Wrapper,
};

/// What is read of the sample at most.
const LINES_MAX: usize = 10_000;
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The share of lines that have to be so for it to be said of all.
const MOST: f64 = 0.8;

pub(super) fn suggest(args: &Suggest, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let file = fs_err::File::open(&args.file)?;
    let lines: Vec<Vec<u8>> = BufReader::new(file.take(BYTES_MAX))
        .split(b'\n')
        .take(LINES_MAX)
        .collect::<Result<_, _>>()?;
    if lines.iter().all(Vec::is_empty) {
        bail!("{} has no lines to learn from", args.file.display());
    }
    let now = Clock::start().now();
    let path = std::path::absolute(&args.file)?;
    write!(out, "{}", Sample::new(&lines, now).configuration(&path))?;
    Ok(ExitCode::SUCCESS)
}

/// What the lines are.
struct Sample {
    /// How many lines, container parts joined.
    lines: usize,
    wrapper: Option<&'static str>,
    content: Kind,
    /// How many are of that kind.
    of_kind: usize,
    multiline: Option<Many>,
    columns: Columns,
    now: Now,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Logfmt,
    /// Text of which a pattern makes fields.
    Pattern(&'static str),
    Text,
}

/// How lines of text often begin.
const PATTERNS: [&str; 3] = [
    r#"^(?P<client>\S+) \S+ (?P<user>\S+) \[(?P<time>[^]]+)\] "(?P<method>[A-Z]+) (?P<path>\S+)[^"]*" (?P<status>[0-9]{3})"#,
    r"^(?P<time>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}) (?P<host>\S+) (?P<program>[^:\[ ]+)(?:\[[0-9]+\])?: ",
    r"^(?P<time>[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[ T][0-9:]{8}\S*)(?: \[?(?P<level>[A-Z]{4,8})\]?:?)? ",
];

impl Sample {
    fn new(lines: &[Vec<u8>], now: Now) -> Self {
        let (inner, wrapped) = unwrapped(lines, None, now);
        let is_wrapped = share(wrapped, inner.len()) >= MOST;
        let multiline = multiline(&inner);
        let inner = match &multiline {
            Some(multiline) => unwrapped(lines, Some(multiline.rule()), now).0,
            None => inner,
        };
        let objects: Vec<Map<String, Value>> =
            inner.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let logfmt: Vec<Map<String, Value>> =
            inner.iter().filter_map(|line| logfmt(line)).collect();
        let most = |rows: &[Map<String, Value>]| share(rows.len(), inner.len()) >= MOST;
        let (content, rows) = if most(&objects) {
            (Kind::Json, objects)
        } else if most(&logfmt) {
            (Kind::Logfmt, logfmt)
        } else {
            let found =
                PATTERNS.iter().map(|pattern| (Kind::Pattern(pattern), groups(pattern, &inner)));
            found.into_iter().find(|(_, rows)| most(rows)).unwrap_or((Kind::Text, vec![]))
        };
        let of_kind = if content == Kind::Text { inner.len() } else { rows.len() };
        let is_docker = lines.iter().any(|line| line.starts_with(b"{\"log\":\""));
        let wrapper = is_wrapped.then_some(if is_docker { "docker" } else { "cri" });
        let columns = Columns::new(&rows);
        Self { lines: inner.len(), wrapper, content, of_kind, multiline, columns, now }
    }

    fn configuration(&self, path: &Path) -> String {
        let mut text = format!(
            "# Suggested from {} lines of {}. Look it through: `skald check`, `skald try`.\n\
             loki:\n  url: http://loki:3100              # where your Loki is\n\nsources:\n  - files: {}\n",
            self.lines,
            path.display(),
            Value::from(path.display().to_string()),
        );
        self.format(&mut text);
        text.push_str("    rules:\n");
        let timestamp = self.timestamp();
        if let Some((column, format)) = &timestamp {
            let format = format.map(|name| format!("from: {}, format: {name}", column.path()));
            let rule = format.map_or_else(|| column.path(), |format| format!("{{{format}}}"));
            let _ =
                writeln!(text, "      # The time, in {} of {} lines.", column.count, self.lines);
            let _ = writeln!(text, "      - timestamp: {rule}");
        } else if self.wrapper.is_none() {
            text.push_str(
                "      # No field holds a time: lines get the time when they are read.\n",
            );
        }
        let time = timestamp.as_ref().map(|(column, _)| column.path());
        let is_time = |column: &&Column| Some(column.path()) == time;
        let labels: Vec<&Column> =
            self.columns.labels(self.lines).into_iter().filter(|column| !is_time(column)).collect();
        if let Some(level) = labels.iter().find(|column| column.is_odd_level()) {
            text.push_str("      # Severity in one spelling.\n");
            let _ = writeln!(text, "      - level: {}", level.path());
        }
        list(&mut text, "label", "Few values: labels of the stream.", &labels);
        let ids: Vec<&Column> = self
            .columns
            .ids()
            .into_iter()
            .filter(|column| {
                !is_time(column) && !labels.iter().any(|label| label.path() == column.path())
            })
            .collect();
        list(&mut text, "metadata", "Many values that one looks for: structured metadata.", &ids);
        if timestamp.is_none() && labels.is_empty() && ids.is_empty() {
            text.truncate(text.rfind("    rules:\n").unwrap_or(text.len()));
            text.push_str("    rules: []                      # there are no fields\n");
        }
        text
    }

    fn format(&self, text: &mut String) {
        let (kind, content) = match self.content {
            Kind::Json if self.of_kind < self.lines => ("json", "auto".to_owned()),
            Kind::Json => ("json", "json".to_owned()),
            Kind::Logfmt => ("logfmt", "logfmt".to_owned()),
            Kind::Pattern(pattern) => {
                ("text that begins alike", format!("{{regex: '{}'}}", pattern.replace('\'', "''")))
            }
            Kind::Text => ("text", "text".to_owned()),
        };
        let format = match self.wrapper {
            Some(wrapper) if content == "auto" => wrapper.to_owned(),
            Some(wrapper) => format!("[{wrapper}, {content}]"),
            None => content,
        };
        let _ = writeln!(
            text,
            "    # {} of {} lines are {kind}{}.",
            self.of_kind,
            self.lines,
            self.wrapper.map(|wrapper| format!(", inside of {wrapper}")).unwrap_or_default(),
        );
        let _ = writeln!(text, "    format: {format}");
        if let Some(many) = &self.multiline {
            let _ =
                writeln!(text, "    # {} lines are indented: they go on with others.", many.lines);
            let _ = writeln!(text, "    multiline: {}", many.written());
        }
    }

    /// The field that holds the time, and the name of its format where it has to be said.
    fn timestamp(&self) -> Option<(&Column, Option<&'static str>)> {
        const FORMATS: [(&str, Option<&str>); 5] = [
            ("", None),
            ("%d/%b/%Y:%H:%M:%S %z", Some("nginx")),
            ("%b %e %H:%M:%S", Some("syslog")),
            ("%Y/%m/%d %H:%M:%S", Some("go")),
            ("rfc2822", Some("rfc2822")),
        ];
        let reads = |column: &Column, format: &str| {
            let formats = match format {
                "" => vec![],
                "rfc2822" => vec![TimeFormat::Rfc2822],
                format => vec![TimeFormat::strptime(format).expect("BUG: a format of ours")],
            };
            let field = crate::parse::Path(vec!["t".to_owned()]);
            let options =
                options(Format::JSON, vec![Rule::Timestamp { from: vec![field], formats }]);
            let mut rehearsal = Rehearsal::new(&options, &Origin::default(), true);
            let is_read = |value: &Value| {
                let line = serde_json::json!({ "t": value }).to_string();
                let outcomes = rehearsal.line(line.as_bytes(), self.now);
                outcomes.iter().all(|(_, flags)| !flags.contains(&Flag::NoTimestamp))
            };
            !column.samples.is_empty() && column.samples.iter().all(is_read)
        };
        let candidates = self.columns.times(self.lines);
        candidates.into_iter().find_map(|column| {
            FORMATS
                .iter()
                .find(|(format, _)| reads(column, format))
                .map(|(_, name)| (column, *name))
        })
    }
}

fn list(text: &mut String, verb: &str, why: &str, columns: &[&Column]) {
    if columns.is_empty() {
        return;
    }
    let _ = writeln!(text, "      # {why}");
    let _ = writeln!(text, "      - {verb}:");
    for column in columns {
        let _ = writeln!(text, "          - {:<28} # {}", column.path(), column.figures());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of few lines")]
fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

fn options(format: Format, rules: Vec<Rule>) -> Options {
    Options {
        format,
        rules,
        age: std::time::Duration::MAX,
        ..Config::defaults("").parse_defaults("sample")
    }
}

/// The services' own lines, and how many a container runtime has wrapped.
fn unwrapped(lines: &[Vec<u8>], multiline: Option<Multiline>, now: Now) -> (Vec<String>, usize) {
    let stream = Field {
        name: "stream".to_owned(),
        from: vec![crate::parse::Path(vec!["$stream".to_owned()])],
        regex: None,
        map: vec![],
        default: None,
    };
    let format = Format { wrapper: Wrapper::Auto, content: Content::Text };
    let options = Options { multiline, ..options(format, vec![Rule::Metadata(vec![stream])]) };
    let mut rehearsal = Rehearsal::new(&options, &Origin::default(), true);
    let mut outcomes: Vec<_> = lines.iter().flat_map(|line| rehearsal.line(line, now)).collect();
    outcomes.extend(rehearsal.end(now));
    let (mut inner, mut wrapped) = (vec![], 0);
    for (outcome, _) in outcomes {
        if let Outcome::Sent(sent) = outcome {
            wrapped += usize::from(!sent.metadata.is_empty());
            inner.push(sent.line);
        }
    }
    (inner, wrapped)
}

/// What a pattern makes of the lines that it matches.
fn groups(pattern: &str, lines: &[String]) -> Vec<Map<String, Value>> {
    let regex = Regex::new(pattern).expect("BUG: a pattern of ours is wrong");
    let row = |line: &String| -> Option<Map<String, Value>> {
        let captures = regex.captures(line)?;
        let named = regex.capture_names().flatten();
        let values = named.filter_map(|name| Some((name, captures.name(name)?.as_str())));
        Some(values.map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
    };
    lines.iter().filter_map(row).collect()
}

/// The pairs of a line that has at least two, and little else.
fn logfmt(line: &str) -> Option<Map<String, Value>> {
    let is_key = |key: &str| {
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let mut pairs = Map::new();
    let mut rest = line.trim();
    while let Some((key, after)) = rest.split_once('=') {
        if !is_key(key) {
            return None;
        }
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        pairs.insert(key.to_owned(), Value::from(value));
        rest = left.trim_start();
    }
    (rest.is_empty() && 2 <= pairs.len()).then_some(pairs)
}

/// Entries of many lines.
struct Many {
    traces: Vec<(&'static str, Trace)>,
    /// How many lines are indented.
    lines: usize,
}

/// What marks the traces of a language.
const TRACES: [(&str, Trace, &[&str]); 4] = [
    ("python", Trace::Python, &["Traceback (most recent call last):", "  File \""]),
    ("java", Trace::Java, &["\tat ", "Caused by: "]),
    ("go", Trace::Go, &["goroutine ", "created by "]),
    ("node", Trace::Node, &["    at "]),
];

/// The pattern of lines that go on with the one before, where no language is known.
const INDENTED: &str = r"^\s";

/// What makes entries of many lines, if there are some.
fn multiline(lines: &[String]) -> Option<Many> {
    let is_indented = |line: &&String| line.starts_with([' ', '\t']) && !line.trim().is_empty();
    let count = lines.iter().filter(is_indented).count();
    let is_there =
        |marks: &[&str]| marks.iter().all(|mark| lines.iter().any(|line| line.starts_with(mark)));
    let found = TRACES.iter().filter(|(_, _, marks)| is_there(marks));
    let traces = found.map(|(name, trace, _)| (*name, *trace)).collect();
    (count != 0).then_some(Many { traces, lines: count })
}

impl Many {
    fn rule(&self) -> Multiline {
        let how = match &*self.traces {
            [] => Grouping::Continuation(Regex::new(INDENTED).expect("BUG: a pattern of ours")),
            traces => Grouping::Traces(traces.iter().map(|(_, trace)| *trace).collect()),
        };
        Multiline { how, wait: std::time::Duration::from_secs(1), lines_max: 500 }
    }

    /// As a configuration has it.
    fn written(&self) -> String {
        let names: Vec<&str> = self.traces.iter().map(|(name, _)| *name).collect();
        match &*names {
            [] => format!("{{continuation: '{INDENTED}'}}"),
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        }
    }
}

//! A line through the parser, which is the way to all that is below it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skald::model::{Now, Stamp, UnixNanos};
use skald::parse::{Field, Flags, Format, Line, Options, Parser, Path, Plan, Rule, Verdict};

/// No stamp is ahead of this, so that none is moved.
pub(crate) const NOW: Now = Now { mono: Duration::ZERO, wall: UnixNanos(i64::MAX) };

/// What became of a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) time: UnixNanos,
    pub(crate) line: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) flags: Flags,
}

pub(crate) fn options(format: Format, rules: Vec<Rule>) -> Options {
    Options {
        source: "fuzz".to_owned(),
        format,
        labels: Vec::new(),
        multiline: None,
        times: skald::parse::TimeRules::default(),
        strip_ansi: false,
        rules,
        line_bytes: u32::MAX,
        age: Duration::MAX,
        guard_values: 0,
        guard_per: Duration::ZERO,
    }
}

/// The field at `path`, under the name `name`.
pub(crate) fn field(name: &str, path: &[&str]) -> Field {
    let path = Path(path.iter().map(|&key| key.to_owned()).collect());
    let (regex, map, default) = (None, Vec::new(), None);
    Field { name: name.to_owned(), from: vec![path], regex, map, default }
}

/// Reads `bytes` as the first line of all.
pub(crate) fn read(options: &Options, bytes: &[u8]) -> Reading {
    Reader::new(&Arc::new(Plan::compile(options))).read(bytes)
}

/// A parser that has seen lines before.
pub(crate) struct Reader {
    plan: Arc<Plan>,
    parser: Parser,
}

impl Reader {
    pub(crate) fn new(plan: &Arc<Plan>) -> Self {
        Self { plan: Arc::clone(plan), parser: Parser::new(Arc::clone(plan), true) }
    }

    /// Reads `bytes` as the first line of a file.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Reading {
        let line = Line { bytes, truncated_from: None };
        let names = self.plan.label_names();
        let mut reading = self.parser.line(line, &mut Stamp::default(), NOW, |verdict| {
            let Verdict::Emit(entry) = verdict else { panic!("dropped: {verdict:?}") };
            let labels = names.iter().zip(entry.labels).filter(|(_, value)| !value.is_empty());
            let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            Reading {
                time: entry.time,
                line: entry.line.to_owned(),
                labels: labels.map(|(name, value)| owned(name, value)).collect(),
                metadata: entry.metadata.iter().map(|pair| owned(pair.name, pair.value)).collect(),
                flags: Flags::default(),
            }
        });
        reading.flags = self.parser.flags();
        reading
    }
}

/// As Loki takes values: without U+FFFD.
pub(crate) fn clean(text: &str) -> String {
    text.replace('\u{FFFD}', " ")
}

//! The fields of a sample: how many values each has, and what they look like.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

/// Values that are told apart; a field with more has many.
const DISTINCT_MAX: usize = 2_000;

/// Values of which the time is tried.
const SAMPLES: usize = 20;

/// More values than these are too many for a label.
const LABEL_VALUES_MAX: usize = 20;

/// Most labels and ids that are suggested.
const LABELS_MAX: usize = 5;
const IDS_MAX: usize = 10;

/// How deep fields inside of fields are looked at.
const DEPTH_MAX: usize = 3;

/// Where a level and a time usually are, the likeliest first.
const LEVELS: [&str; 5] = ["level", "severity", "levelname", "lvl", "severity_text"];
const TIMES: [&str; 10] = [
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "datetime",
    "date",
    "asctime",
    "t",
    "at",
    "eventTime",
];

/// One field.
#[derive(Debug, Default)]
pub(super) struct Column {
    names: Vec<String>,
    /// How many lines have it.
    pub(super) count: usize,
    distinct: HashSet<String>,
    longest: usize,
    spaces: usize,
    numbers: usize,
    ids: usize,
    /// Some of its values.
    pub(super) samples: Vec<Value>,
}

impl Column {
    /// As a rule names it.
    pub(super) fn path(&self) -> String {
        let quoted = |name: &String| match name.contains(['.', '"', '\\']) || name.starts_with('$')
        {
            true => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
            false => name.clone(),
        };
        let path = self.names.iter().map(quoted).collect::<Vec<_>>().join(".");
        let is_plain = path.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if is_plain { path } else { format!("'{}'", path.replace('\'', "''")) }
    }

    /// What was measured.
    pub(super) fn figures(&self) -> String {
        let more = if self.distinct.len() == DISTINCT_MAX { "over " } else { "" };
        format!("{more}{} values in {} lines", self.distinct.len(), self.count)
    }

    fn name(&self) -> &str {
        self.names.last().map_or("", String::as_str)
    }

    fn add(&mut self, value: &Value) {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return,
        };
        if text.is_empty() {
            return;
        }
        self.count += 1;
        self.longest = self.longest.max(text.len());
        self.spaces += usize::from(text.contains(char::is_whitespace));
        self.numbers += usize::from(text.parse::<f64>().is_ok());
        self.ids += usize::from(is_id(&text));
        if self.samples.len() < SAMPLES {
            self.samples.push(value.clone());
        }
        if self.distinct.len() < DISTINCT_MAX {
            self.distinct.insert(text);
        }
    }

    /// Few values that are words, in at least half of the lines; how surely, the least first.
    fn label_rank(&self, lines: usize) -> Option<usize> {
        let is_level = LEVELS.contains(&&*self.names.join("."));
        let values = self.distinct.len();
        let few = values <= LABEL_VALUES_MAX && (values * 10 <= lines || lines < 50);
        let is_word = self.longest <= 40 && self.spaces == 0 && self.numbers == 0 && self.ids == 0;
        if is_level && values <= LABEL_VALUES_MAX {
            return Some(0);
        }
        (few && is_word && lines <= self.count * 2).then_some(values)
    }

    /// Values that name one request, user or thing.
    fn is_id(&self) -> bool {
        let name = self.name().to_ascii_lowercase();
        let named = ["id", "uuid", "trace", "span", "request", "session"]
            .iter()
            .any(|end| name == *end || name.ends_with(&format!("_{end}")))
            || self.name().ends_with("Id")
            || self.name().ends_with("ID");
        let is_short = self.longest <= 128 && self.spaces == 0;
        is_short && (named || self.count <= self.ids * 2)
    }

    /// A level in spellings that Grafana does not know.
    pub(super) fn is_odd_level(&self) -> bool {
        const KNOWN: [&str; 7] = ["trace", "debug", "info", "warn", "error", "critical", "fatal"];
        LEVELS.contains(&&*self.names.join("."))
            && self.distinct.iter().any(|value| !KNOWN.contains(&&**value))
    }
}

/// A UUID, or a long number in hex.
fn is_id(text: &str) -> bool {
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = text.bytes().filter(|byte| *byte == b'-').count();
    16 <= hex && hex + dashes == text.len() && text.bytes().any(|byte| byte.is_ascii_digit())
}

/// All fields, by path.
pub(super) struct Columns(BTreeMap<Vec<String>, Column>);

impl Columns {
    pub(super) fn new(rows: &[Map<String, Value>]) -> Self {
        let mut columns = Self(BTreeMap::new());
        for row in rows {
            columns.add(&mut vec![], row);
        }
        columns
    }

    fn add(&mut self, path: &mut Vec<String>, row: &Map<String, Value>) {
        for (name, value) in row {
            path.push(name.clone());
            if let Value::Object(inner) = value
                && path.len() < DEPTH_MAX
            {
                self.add(path, inner);
            } else {
                let column = self.0.entry(path.clone()).or_default();
                column.names.clone_from(path);
                column.add(value);
            }
            path.pop();
        }
    }

    /// The best labels, the surest first.
    pub(super) fn labels(&self, lines: usize) -> Vec<&Column> {
        let mut ranked: Vec<_> = (self.0.values())
            .filter_map(|column| Some((column.label_rank(lines)?, column)))
            .filter(|(_, column)| !column.distinct.is_empty() && !column.is_id())
            .collect();
        ranked.sort_by_key(|(rank, column)| (*rank, column.names.clone()));
        ranked.into_iter().take(LABELS_MAX).map(|(_, column)| column).collect()
    }

    /// What one looks for.
    pub(super) fn ids(&self) -> Vec<&Column> {
        self.0.values().filter(|column| 0 < column.count && column.is_id()).take(IDS_MAX).collect()
    }

    /// Fields that may hold the time, those with a usual name first.
    pub(super) fn times(&self, lines: usize) -> Vec<&Column> {
        let rank = |column: &&Column| {
            TIMES.iter().position(|name| column.names.join(".") == *name).unwrap_or(TIMES.len())
        };
        let mut times: Vec<&Column> =
            self.0.values().filter(|column| lines <= column.count * 2).collect();
        times.sort_by_key(rank);
        times
    }
}

//! The rules of a source: labels, metadata and the time of its lines.

use std::collections::HashMap;
use std::ops::Range;

use regex::Regex;

use super::names::{self, field_path, is_name, sanitised};
use super::raw::{Key, Node, Value};
use super::report::Problem;
use super::section::Section;
use super::values::{any_text, choice, list, short, shown, string, text, wrong};
use crate::parse::{Field, Path, Rule, TimeFormat};

type Problems = Vec<Problem>;

/// `fixed` are the labels that the source's streams have anyway.
pub(super) fn read(problems: &mut Problems, node: &Node, fixed: &[&str]) -> Option<Vec<Rule>> {
    let mut named = Named { fixed, labels: HashMap::new(), metadata: HashMap::new(), time: None };
    let nodes = list(problems, node);
    Some(nodes.iter().filter_map(|node| rule(problems, node, &mut named)).collect())
}

/// The names that rules gave already, with their places: each can have one rule.
struct Named<'n> {
    fixed: &'n [&'n str],
    labels: HashMap<String, Range<usize>>,
    metadata: HashMap<String, Range<usize>>,
    time: Option<Range<usize>>,
}

/// What a rule makes of its fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Label,
    Metadata,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Metadata => "metadata pair",
        }
    }
}

impl Named<'_> {
    /// Whether `name` is new for its kind.
    fn add(
        &mut self,
        problems: &mut Problems,
        kind: Kind,
        name: &str,
        shown: &str,
        span: &Range<usize>,
    ) -> bool {
        let (same, other) = match kind {
            Kind::Label => (&mut self.labels, &self.metadata),
            Kind::Metadata => (&mut self.metadata, &self.labels),
        };
        if let Some(first) = same.get(name) {
            problems.push(
                Problem::error(format!("`{shown}` has two rules"))
                    .at(span, "again here")
                    .also(first, "first here")
                    .hint("one rule takes the first of many fields: `{name: {from: [a, b]}}`"),
            );
            return false;
        }
        same.insert(name.to_owned(), span.clone());
        let both = Problem::warning(format!("`{shown}` is both label and metadata"))
            .at(span, "one name, two places")
            .hint("it will be a label only");
        if let Some(first) = other.get(name) {
            problems.push(both.also(first, "first here"));
        } else if kind == Kind::Metadata && self.fixed.contains(&name) {
            problems.push(both);
        }
        true
    }
}

fn rule(problems: &mut Problems, node: &Node, named: &mut Named<'_>) -> Option<Rule> {
    let section = Section::open(problems, "rules", &node.span, node)?;
    if let [_, (second, _), ..] = section.entries() {
        problems.push(
            Problem::error("two rules in one item")
                .at(&second.span, "a second rule")
                .hint(format!("begin it with a dash of its own: `- {}: …`", short(&second.name))),
        );
        return None;
    }
    if let Some(node) = section.get("label") {
        return Some(Rule::Label(fields(problems, node, Kind::Label, named)));
    }
    if let Some(node) = section.get("metadata") {
        return Some(Rule::Metadata(fields(problems, node, Kind::Metadata, named)));
    }
    let (key, node) = section.entry("timestamp")?;
    if let Some(first) = named.time.replace(key.span.clone()) {
        problems.push(
            Problem::error("two `timestamp` rules")
                .at(&key.span, "again here")
                .also(&first, "first here")
                .hint("one rule can name many fields: `timestamp: [time, ts]`"),
        );
    }
    timestamp(problems, &key.span, node)
}

fn fields(problems: &mut Problems, node: &Node, kind: Kind, named: &mut Named<'_>) -> Vec<Field> {
    let mut fields = vec![];
    for item in list(problems, node) {
        let found: Vec<_> = match &item.value {
            Value::Map(entries) => (entries.iter())
                .map(|entry| (long(problems, entry, kind), short(&entry.0.name), &entry.0.span))
                .collect(),
            Value::Null | Value::Text(_) | Value::List(_) | Value::Broken => {
                vec![(short_form(problems, item, kind), shown_path(item), &item.span)]
            }
        };
        for (field, shown, span) in found {
            let Some(field) = field else { continue };
            if named.add(problems, kind, &field.name, &shown, span) {
                fields.push(field);
            }
        }
    }
    fields
}

/// A path alone: the field of that path, under its path with `_` for all that a name cannot have
/// (`severity.text` becomes `severity_text`).
fn short_form(problems: &mut Problems, node: &Node, kind: Kind) -> Option<Field> {
    let path = field_path(problems, node)?;
    let name = sanitised(&path.0.join("_"));
    if !is_name(problems, &name, &shown_path(node), &node.span, kind.name()) {
        return None;
    }
    Some(Field { name, from: vec![path], regex: None, map: vec![], default: None })
}

fn shown_path(node: &Node) -> String {
    match &node.value {
        Value::Text(text) => shown(text),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => String::new(),
    }
}

/// A name, and where its value comes from; `from` is the field of that name if it is left out.
fn long(problems: &mut Problems, (key, node): &(Key, Node), kind: Kind) -> Option<Field> {
    let is_name = is_name(problems, &key.name, &short(&key.name), &key.span, kind.name());
    if !matches!(node.value, Value::Map(_) | Value::Broken) {
        let span = if node.span.is_empty() { &key.span } else { &node.span };
        problems.push(
            Problem::error(format!("`{}` does not say where it comes from", short(&key.name)))
                .at(span, "not a map with `from`")
                .hint(format!("write `{}: {{from: [a, b.c]}}`", short(&key.name))),
        );
        return None;
    }
    let section = Section::open(problems, "field", &key.span, node)?;
    let mut from = vec![Path(vec![key.name.clone()])];
    section.read(problems, "from", &mut from, paths);
    let mut regex = None;
    section.read(problems, "regex", &mut regex, |problems, node| pattern(problems, node).map(Some));
    let mut map = vec![];
    section.read(problems, "map", &mut map, replacements);
    let mut default = None;
    section
        .read(problems, "default", &mut default, |problems, node| string(problems, node).map(Some));
    is_name.then(|| Field { name: key.name.clone(), from, regex, map, default })
}

/// At least one path.
fn paths(problems: &mut Problems, node: &Node) -> Option<Vec<Path>> {
    let nodes = list(problems, node);
    if nodes.is_empty() && matches!(node.value, Value::List(_)) {
        let hint = "name at least one field";
        return wrong(problems, node, "an empty list of fields".into(), "empty", hint);
    }
    Some(nodes.iter().filter_map(|node| field_path(problems, node)).collect())
}

fn replacements(problems: &mut Problems, node: &Node) -> Option<Vec<(String, String)>> {
    let entries = names::map(problems, node)?;
    let replacement = |(key, node): &(Key, Node)| {
        Some((key.name.clone(), any_text(problems, node)?.text.clone()))
    };
    Some(entries.iter().filter_map(replacement).collect())
}

fn pattern(problems: &mut Problems, node: &Node) -> Option<Regex> {
    let text = text(problems, node)?;
    let err = match Regex::new(&text.text) {
        Ok(regex) => return Some(regex),
        Err(err) => err.to_string(),
    };
    let label = err.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let inside = text.verbatim.and_then(|start| Some(start + caret(&err, &text.text)?));
    let span = inside.map_or_else(|| node.span.clone(), |at| at..at + 1);
    let message = format!("`{}` is not a regular expression", shown(text));
    problems.push(Problem::error(message).at(&span, label));
    None
}

/// Where in a one-line pattern the regex crate's message puts its caret, in bytes.
fn caret(message: &str, pattern: &str) -> Option<usize> {
    let mut lines = message.lines().skip_while(|line| line.trim() != pattern.trim());
    let shown = lines.next()?;
    let column = lines.next()?.find('^')?.checked_sub(shown.find(pattern)?)?;
    let (at, found) = pattern.char_indices().nth(column)?;
    (found.len_utf8() == 1).then_some(at)
}

fn timestamp(problems: &mut Problems, head: &Range<usize>, node: &Node) -> Option<Rule> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(Rule::Timestamp { from: paths(problems, node)?, formats: vec![] });
    }
    let section = Section::open(problems, "timestamp", head, node)?;
    if section.get("from").is_none() {
        let problem = Problem::error("`timestamp` without `from`").at(head, "from which field?");
        problems.push(problem.hint("write `timestamp: {from: [time], format: rfc3339}`"));
    }
    let (mut from, mut formats) = (vec![], vec![]);
    section.read(problems, "from", &mut from, paths);
    section.read(problems, "format", &mut formats, |problems, node| {
        let nodes = list(problems, node);
        Some(nodes.iter().filter_map(|node| time_format(problems, node)).collect())
    });
    Some(Rule::Timestamp { from, formats })
}

fn time_format(problems: &mut Problems, node: &Node) -> Option<TimeFormat> {
    let words = [
        ("rfc3339", TimeFormat::Rfc3339),
        ("unix", TimeFormat::Unix),
        ("unix_ms", TimeFormat::UnixMs),
        ("unix_us", TimeFormat::UnixUs),
        ("unix_ns", TimeFormat::UnixNs),
    ];
    choice(problems, node, &words)
}

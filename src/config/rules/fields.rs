//! What becomes a label or structured metadata.

use std::ops::Range;

use super::super::names::{self, is_name, sanitised};
use super::super::patterns::pattern;
use super::super::raw::{Key, Node, Value};
use super::super::report::Problem;
use super::super::section::Section;
use super::super::values::{any_text, list, short, shown, string};
use super::{Named, Use, parse_path};
use crate::parse::{Field, Members, Path, Rule};

type Problems = Vec<Problem>;

/// What a rule makes of its fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
        } else if kind == Kind::Metadata && self.place.labels.contains(&name) {
            problems.push(both);
        }
        true
    }
}

/// Fields that become labels, or metadata.
pub(super) fn read(
    problems: &mut Problems,
    node: &Node,
    kind: Kind,
    named: &mut Named<'_>,
) -> Vec<Field> {
    let mut fields = vec![];
    for item in list(problems, node) {
        let found: Vec<_> = match &item.value {
            Value::Map(entries) => (entries.iter())
                .map(|entry| {
                    let field = long(problems, entry, kind, named);
                    (field, short(&entry.0.name), &entry.0.span)
                })
                .collect(),
            Value::Null | Value::Text(_) | Value::List(_) | Value::Broken => {
                vec![(short_form(problems, item, kind, named), shown_path(item), &item.span)]
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
fn short_form(
    problems: &mut Problems,
    node: &Node,
    kind: Kind,
    named: &mut Named<'_>,
) -> Option<Field> {
    if kind == Kind::Label && pattern_of(node).is_some() {
        let problem = Problem::error(format!("`{}` names no single field", shown_path(node)));
        let hint = "only `metadata` takes all members of an object; labels are listed";
        problems.push(problem.at(&node.span, "a pattern").hint(hint));
        return None;
    }
    let path = named.path(problems, node, Use::Value)?;
    let name = path.origin().map_or_else(|| path.0.join("_"), str::to_owned);
    let name = sanitised(&name);
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
fn long(
    problems: &mut Problems,
    (key, node): &(Key, Node),
    kind: Kind,
    named: &mut Named<'_>,
) -> Option<Field> {
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
    if section.get("from").is_none() {
        named.check(problems, &from[0], &key.span, Use::Value);
    }
    section.read(problems, "from", &mut from, |problems, node| {
        named.paths(problems, node, Use::Value)
    });
    let mut regex = None;
    section.read(problems, "regex", &mut regex, |problems, node| pattern(problems, node).map(Some));
    let mut map = vec![];
    section.read(problems, "map", &mut map, replacements);
    let mut default = None;
    section
        .read(problems, "default", &mut default, |problems, node| string(problems, node).map(Some));
    is_name.then(|| Field { name: key.name.clone(), from, regex, map, default })
}

pub(super) fn replacements(problems: &mut Problems, node: &Node) -> Option<Vec<(String, String)>> {
    let entries = names::map(problems, node)?;
    let replacement = |(key, node): &(Key, Node)| {
        Some((key.name.clone(), any_text(problems, node)?.text.clone()))
    };
    Some(entries.iter().filter_map(replacement).collect())
}

/// A `metadata` rule: fields, or members of objects (`context.*`).
pub(super) fn metadata(
    problems: &mut Problems,
    node: &Node,
    named: &mut Named<'_>,
) -> Option<Rule> {
    let nodes = list(problems, node);
    let patterns: Vec<_> =
        nodes.iter().filter_map(|node| Some((node, pattern_of(node)?))).collect();
    if patterns.is_empty() {
        return Some(Rule::Metadata(read(problems, node, Kind::Metadata, named)));
    }
    if let Some(other) = nodes.iter().find(|node| pattern_of(node).is_none()) {
        let problem = Problem::error("fields and patterns in one `metadata` rule");
        problems.push(
            problem.at(&other.span, "a field").also(&patterns[0].0.span, "a pattern").hint(
                "make two rules of it: `- metadata: user_id` and `- metadata: \"context.*\"`",
            ),
        );
        return None;
    }
    let members = patterns.into_iter().filter_map(|(node, text)| members(problems, node, text));
    Some(Rule::Members(members.collect()))
}

/// The text of a path whose last name has a `*` outside quotes.
fn pattern_of(node: &Node) -> Option<&str> {
    let Value::Text(text) = &node.value else { return None };
    let last = text.text.rsplit('.').next()?;
    (last.contains('*') && !last.ends_with('"')).then_some(&text.text)
}

fn members(problems: &mut Problems, node: &Node, text: &str) -> Option<Members> {
    let path = match parse_path(text) {
        Ok(Path(path)) => path,
        Err(label) => {
            let problem = Problem::error(format!("`{}` is not a pattern of fields", short(text)));
            problems.push(problem.at(&node.span, label).hint("write `context.*` or `ctx_*`"));
            return None;
        }
    };
    let (last, of) = path.split_last()?;
    match &*last.split('*').collect::<Vec<_>>() {
        [prefix, suffix] if !of.iter().any(|name| name.contains('*')) => {
            let (prefix, suffix) = ((*prefix).to_owned(), (*suffix).to_owned());
            Some(Members { of: of.to_vec(), prefix, suffix })
        }
        _ => {
            let problem = Problem::error(format!("`{}` has more than one `*`", short(text)));
            problems
                .push(problem.at(&node.span, "one, in the last name").hint("write `context.*`"));
            None
        }
    }
}

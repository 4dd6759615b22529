//! One map of the file with the keys it may have.

use std::ops::Range;

use super::keys::{self, Known};
use super::raw::{Key, Node, Value};
use super::report::Problem;

/// A map whose unknown keys are reported.
#[derive(Clone, Copy)]
pub(super) struct Section<'n> {
    known: &'static Known,
    /// Where the section begins: its key, or its first line.
    head: &'n Range<usize>,
    entries: &'n [(Key, Node)],
}

impl<'n> Section<'n> {
    /// `None`, with the problem, if `node` is not a map.
    pub(super) fn open(
        problems: &mut Vec<Problem>,
        name: &str,
        head: &'n Range<usize>,
        node: &'n Node,
    ) -> Option<Self> {
        let known = keys::section(name);
        let found = match &node.value {
            Value::Map(entries) => {
                unknown_keys(problems, known, entries);
                return Some(Self { known, head, entries });
            }
            Value::Broken => return None,
            Value::Null => "nothing",
            Value::Text(_) => "one value",
            Value::List(_) => "a list",
        };
        let span = if node.span.is_empty() { head } else { &node.span };
        let problem = Problem::error(format!("{} is a map, not {found}", known.title));
        let mut hint = format!("its keys: {}", known.keys.join(", "));
        if let Value::Text(text) = &node.value
            && known.keys.iter().any(|key| text.text.starts_with(&format!("{key}:")))
        {
            "is the space after the colon missing?".clone_into(&mut hint);
        }
        problems.push(problem.at(span, "`key: value` pairs belong here").hint(hint));
        None
    }

    /// The section under `key`, if there is one.
    pub(super) fn section(
        &self,
        problems: &mut Vec<Problem>,
        key: &'static str,
        name: &str,
    ) -> Option<Section<'n>> {
        let (key, node) = self.entry(key)?;
        Section::open(problems, name, &key.span, node)
    }

    /// The section under `key`, if it is one; its problems were reported when it was read.
    pub(super) fn inside(&self, key: &'static str) -> Option<Section<'n>> {
        self.section(&mut vec![], key, key)
    }

    /// Puts the value of `key`, if it is there and right, into `slot`.
    pub(super) fn read<T>(
        &self,
        problems: &mut Vec<Problem>,
        key: &'static str,
        slot: &mut T,
        reader: impl FnOnce(&mut Vec<Problem>, &'n Node) -> Option<T>,
    ) {
        if let Some(value) = self.get(key).and_then(|node| reader(problems, node)) {
            *slot = value;
        }
    }

    pub(super) fn get(&self, key: &'static str) -> Option<&'n Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(super) fn entry(&self, key: &'static str) -> Option<&'n (Key, Node)> {
        assert!(self.known.keys.contains(&key), "BUG: `{key}` is not in the table of keys");
        self.entries.iter().find(|(found, _)| found.name == key)
    }

    /// The place of a key's value, if it is there.
    pub(super) fn span(&self, key: &'static str) -> Option<&'n Range<usize>> {
        self.get(key).map(|node| &node.span)
    }

    /// The place of a key's name, or else of the section's beginning.
    pub(super) fn head(&self, key: &'static str) -> &'n Range<usize> {
        self.entry(key).map_or(self.head, |(key, _)| &key.span)
    }

    pub(super) fn entries(&self) -> &'n [(Key, Node)] {
        self.entries
    }
}

fn unknown_keys(problems: &mut Vec<Problem>, known: &Known, entries: &[(Key, Node)]) {
    for (key, _) in entries.iter().filter(|(key, _)| !known.keys.contains(&&*key.name)) {
        let name = super::values::short(&key.name);
        problems.push(
            Problem::error(format!("unknown key `{name}`"))
                .at(&key.span, format!("not a key of {}", known.title))
                .hint(keys::hint(known, &key.name)),
        );
    }
}

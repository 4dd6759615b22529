//! Which fields of a line are wanted, and where they were found.

use std::ops::Range;

use super::options::Path;

/// The buffer a value lies in. Values are kept as places, so that the scratch buffers can grow
/// while values are collected, and live from line to line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The text of the line (of the inner line, when it was wrapped).
    Text,
    /// [`Picked::unescaped`].
    Unescaped,
    /// Values that had to be changed before Loki takes them, and numbers written out.
    Cleaned,
    /// The plan's own words: targets of `map`, and defaults.
    Words,
}

/// A value: bytes `start..end` of a buffer, on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) place: Place,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn new(place: Place, range: Range<usize>) -> Self {
        Self { place, start: range.start, end: range.end }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A field that the line has and that is not null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) span: Span,
    /// The value is an object or array, and the span its raw JSON text.
    pub(super) nested: bool,
}

/// What a picker found in one line.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// By slot, see [`Wanted::slot`].
    pub(super) found: Vec<Option<Found>>,
    /// Values that were written with escapes.
    pub(super) unescaped: String,
}

impl Picked {
    /// Forgets the line before; keeps the memory.
    pub(super) fn clear(&mut self, slots: usize) {
        self.found.clear();
        self.found.resize(slots, None);
        self.unescaped.clear();
    }

    /// The text of `span`, which is in `text` or in `unescaped`.
    pub(super) fn get<'a>(&'a self, span: Span, text: &'a str) -> &'a str {
        match span.place {
            Place::Text => &text[span.range()],
            Place::Unescaped => &self.unescaped[span.range()],
            Place::Cleaned | Place::Words => {
                unreachable!("BUG: pickers know two buffers, not {:?}", span.place)
            }
        }
    }

    /// The text of the scalar in `slot`, if there is one.
    pub(super) fn scalar<'a>(&'a self, slot: usize, text: &'a str) -> Option<&'a str> {
        let found = self.found[slot].filter(|found| !found.nested)?;
        Some(self.get(found.span, text))
    }
}

/// The wanted paths as a tree: an object of the line is entered only where a path leads.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Never empty; `nodes[0]` is the line itself.
    nodes: Vec<Node>,
    slots: usize,
}

/// The wanted keys of one object.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// A bit for the [`signature`] of every key: most keys of a line are not wanted, and this
    /// says so without comparing text.
    signatures: u64,
    keys: Vec<Key>,
}

/// A wanted key.
#[derive(Debug)]
pub(super) struct Key {
    name: Box<str>,
    /// Where its value goes; `None` when only something inside is wanted.
    pub(super) slot: Option<usize>,
    /// The node of the object below it, when something inside is wanted.
    pub(super) child: Option<usize>,
    /// All slots below this key: they are forgotten when the key comes again (last wins).
    pub(super) below: Vec<usize>,
}

impl Wanted {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], slots: 0 }
    }

    /// The slot of `path`, new or the one it has already.
    pub(super) fn slot(&mut self, path: &Path) -> usize {
        let slot = self.find_slot(path).unwrap_or(self.slots);
        let mut node = 0;
        for (depth, name) in path.0.iter().enumerate() {
            let key_idx = self.nodes[node].insert(name);
            let nodes_len = self.nodes.len();
            let key = &mut self.nodes[node].keys[key_idx];
            if depth + 1 == path.0.len() {
                key.slot = Some(slot);
            } else {
                if !key.below.contains(&slot) {
                    key.below.push(slot);
                }
                node = *key.child.get_or_insert(nodes_len);
                if node == nodes_len {
                    self.nodes.push(Node::default());
                }
            }
        }
        self.slots = self.slots.max(slot + 1);
        slot
    }

    fn find_slot(&self, path: &Path) -> Option<usize> {
        let (last, parents) = path.0.split_last()?;
        let mut node = 0;
        for name in parents {
            node = self.nodes[node].find(name.as_bytes())?.child?;
        }
        self.nodes[node].find(last.as_bytes())?.slot
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// The wanted keys of the object `node`; 0 is the line itself.
    pub(super) fn node(&self, node: usize) -> &Node {
        &self.nodes[node]
    }
}

impl Node {
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<&Key> {
        if self.signatures & signature(name) == 0 {
            return None;
        }
        self.keys.iter().find(|key| key.name.as_bytes() == name)
    }

    fn insert(&mut self, name: &str) -> usize {
        self.signatures |= signature(name.as_bytes());
        if let Some(idx) = self.keys.iter().position(|key| &*key.name == name) {
            return idx;
        }
        self.keys.push(Key { name: name.into(), slot: None, child: None, below: Vec::new() });
        self.keys.len() - 1
    }
}

/// One of 64 bits, from the length and the two ends of a key.
#[inline]
fn signature(name: &[u8]) -> u64 {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return 1 };
    1 << (((name.len() * 5) ^ usize::from(first) ^ (usize::from(last) << 2)) & 63)
}

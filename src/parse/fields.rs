//! Which fields of a line are wanted, and where they were found.

use std::ops::Range;

use super::options::Path;

/// The buffer a value lies in. Values are kept as places, so that the scratch buffer can grow
/// while values are collected, and live from line to line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The text of the line (of the inner line, when it was wrapped).
    Text,
    /// [`Picked::made`].
    Made,
}

/// A field that the line has and that is not null: bytes `start..end` of a buffer, on character
/// boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) place: Place,
    pub(super) start: usize,
    pub(super) end: usize,
    /// The value is an object or array, and this its raw JSON text.
    pub(super) nested: bool,
    /// It has surely no byte that is not ASCII.
    pub(super) ascii: bool,
}

impl Found {
    /// All of a line, or of another text that is its own buffer.
    pub(super) fn whole(text: &str) -> Self {
        Self { place: Place::Text, start: 0, end: text.len(), nested: false, ascii: false }
    }

    /// The bytes `inside` of it.
    pub(super) fn part(self, inside: Range<usize>) -> Self {
        Self { start: self.start + inside.start, end: self.start + inside.end, ..self }
    }
}

/// What a picker found in one line.
#[derive(Debug, Default)]
pub(super) struct Picked {
    /// By slot, see [`Wanted::slot`].
    pub(super) found: Vec<Option<Found>>,
    /// Values that are not in the line as they are: written with escapes, or made by rules.
    pub(super) made: String,
}

impl Picked {
    /// Forgets the line before; keeps the memory.
    pub(super) fn clear(&mut self, slots: usize) {
        if self.found.len() == slots {
            self.found.fill(None);
        } else {
            self.found = vec![None; slots];
        }
        self.made.clear();
    }

    /// The text of `found`, a field of the line `text`.
    #[inline]
    pub(super) fn get<'a>(&'a self, found: Found, text: &'a str) -> &'a str {
        let buffer = match found.place {
            Place::Text => text,
            Place::Made => &self.made,
        };
        &buffer[found.start..found.end]
    }

    /// Adds a value that is not in the line. To be put into a slot.
    pub(super) fn make(&mut self, text: &str) -> Found {
        let start = self.made.len();
        self.made.push_str(text);
        Found { place: Place::Made, start, end: self.made.len(), nested: false, ascii: false }
    }

    /// The text of the scalar in `slot`, if there is one.
    #[inline]
    pub(super) fn scalar<'a>(&'a self, slot: usize, text: &'a str) -> Option<&'a str> {
        let found = self.found[slot].filter(|found| !found.nested)?;
        Some(self.get(found, text))
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

/// Where the value of a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// It is not wanted.
    Nowhere,
    /// All that is wanted is this value.
    Slot(usize),
    /// Something inside it is wanted: see [`Node::key`].
    Key(usize),
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

    /// A slot for what is not picked.
    pub(super) fn more(&mut self) -> usize {
        self.slots += 1;
        self.slots - 1
    }

    fn find_slot(&self, path: &Path) -> Option<usize> {
        let (last, parents) = path.0.split_last()?;
        let mut node = &self.nodes[0];
        for name in parents {
            node = &self.nodes[node.key(node.find(name.as_bytes())?).child?];
        }
        node.key(node.find(last.as_bytes())?).slot
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
    /// Where the value of the key `name` goes.
    #[inline]
    pub(super) fn target(&self, name: &[u8]) -> Target {
        let Some(idx) = self.find(name) else { return Target::Nowhere };
        match self.keys[idx] {
            Key { slot: Some(slot), child: None, .. } => Target::Slot(slot),
            Key { .. } => Target::Key(idx),
        }
    }

    /// The number of the wanted key `name`, if it is one.
    #[inline]
    fn find(&self, name: &[u8]) -> Option<usize> {
        if self.signatures & signature(name) == 0 {
            return None;
        }
        self.keys.iter().position(|key| key.name.as_bytes() == name)
    }

    /// Where the element number `idx` of an array goes.
    pub(super) fn element(&self, idx: usize) -> Target {
        let mut digits = itoa::Buffer::new();
        self.target(digits.format(idx).as_bytes())
    }

    #[inline]
    pub(super) fn key(&self, key: usize) -> &Key {
        &self.keys[key]
    }

    fn insert(&mut self, name: &str) -> usize {
        if let Some(idx) = self.find(name.as_bytes()) {
            return idx;
        }
        self.signatures |= signature(name.as_bytes());
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

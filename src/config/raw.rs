//! YAML as a tree of nodes with places. The only file that names the YAML crate.
//!
//! The crate gives events with places; the tree is built here without recursion, so that depth,
//! aliases and keys that stand twice are ours to decide.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use super::report::Problem;
use super::syntax;
use super::values::short;

/// Deepest nesting. The deepest key of ours is at 8.
const DEPTH_MAX: usize = 32;

/// Most nodes after aliases are resolved: far more than any real file has, few enough to hold.
const NODES_MAX: usize = 100_000;

/// A value with the bytes of the file that it was written with.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar. What kind it is, is for the reader of the key to say.
    Text(Text),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. A key that stands twice was reported.
    Map(Vec<(Key, Node)>),
    /// Something that was reported already and is passed over in silence.
    Broken,
}

/// A scalar.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    /// Where `text` stands in the file letter by letter; `None` if it is escaped or folded there.
    pub(super) verbatim: Option<usize>,
    /// What was written, if `text` came out of an expansion and may be a secret.
    pub(super) written: Option<String>,
}

/// The name of an entry.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) span: Range<usize>,
}

impl Node {
    /// A scalar that stands in the file as it is.
    pub(super) fn text(text: &str, span: Range<usize>) -> Self {
        let (text, verbatim) = (text.to_owned(), Some(span.start));
        Self { value: Value::Text(Text { text, verbatim, written: None }), span }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) | Value::Broken => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, value)| value.size()).sum(),
        }
    }
}

/// Reads one document. `None` if the file is not YAML, or empty; keys that stand twice are
/// reported.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut builder = Builder { places: Places::new(text), ..Builder::new(text) };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, marks)) => {
                let span = builder.places.byte(marks.start)..builder.places.byte(marks.end);
                builder.step(event, span)
            }
            Err(err) => {
                let at = builder.places.byte(*err.marker());
                Err(syntax::explain(text, at, err.info()).into())
            }
        };
        if let Err(problem) = step {
            problems.append(&mut builder.problems);
            problems.push(*problem);
            return None;
        }
    }
    problems.append(&mut builder.problems);
    builder.root
}

/// The way from the crate's places, counted in characters, to bytes.
struct Places(Option<Vec<usize>>, usize);

impl Places {
    fn new(text: &str) -> Self {
        let starts = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self(starts, text.len())
    }

    fn byte(&self, mark: Marker) -> usize {
        let byte = match &self.0 {
            None => mark.index(),
            Some(starts) => starts.get(mark.index()).copied().unwrap_or(self.1),
        };
        byte.min(self.1)
    }
}

struct Builder<'t> {
    text: &'t str,
    places: Places,
    root: Option<Node>,
    /// The collections that are open, outermost first.
    open: Vec<Open>,
    /// Finished nodes that have an anchor, with their sizes.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<Problem>,
}

struct Open {
    start: usize,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, seen: HashMap<String, Range<usize>>, key: Option<Key> },
}

impl<'t> Builder<'t> {
    fn new(text: &'t str) -> Self {
        let (places, anchors) = (Places(None, 0), HashMap::new());
        Self { text, places, root: None, open: vec![], anchors, nodes: 0, problems: vec![] }
    }

    fn step(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), Box<Problem>> {
        match event {
            Event::Scalar(_, _, _, Some(tag))
            | Event::SequenceStart(_, Some(tag))
            | Event::MappingStart(_, Some(tag)) => {
                let problem = Problem::error(format!("tag `{tag}`")).at(&span, "no tags here");
                Err(problem.hint("a value that starts with `!` must be quoted").into())
            }
            Event::Scalar(text, style, anchor, None) => {
                let node = self.scalar(&text, style, span);
                self.finish(node, anchor)
            }
            Event::SequenceStart(anchor, None) => self.start(Items::List(vec![]), anchor, &span),
            Event::MappingStart(anchor, None) => {
                let items = Items::Map { entries: vec![], seen: HashMap::new(), key: None };
                self.start(items, anchor, &span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().expect("BUG: a collection ended that never began");
                let value = match open.items {
                    Items::List(items) => Value::List(items),
                    Items::Map { entries, .. } => Value::Map(entries),
                };
                self.finish(Node { value, span: open.start..span.end.max(open.start) }, open.anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, &span),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Problem::error("more than one document")
                    .at(&span, "the second begins here")
                    .into())
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, span: Range<usize>) -> Node {
        let plain = style == ScalarStyle::Plain;
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Node { value: Value::Null, span };
        }
        let start = if plain { span.start } else { span.start + 1 };
        let is_same = self.text.get(start..start + text.len()) == Some(text);
        let verbatim = (is_same && !text.contains(['\n', '\r'])).then_some(start);
        // A block scalar's place ends at the next key; the caret stays on what is written.
        let written = self.text.get(span.clone()).unwrap_or("").trim_end();
        let span = span.start..span.start + written.len();
        Node { value: Value::Text(Text { text: text.to_owned(), verbatim, written: None }), span }
    }

    fn start(
        &mut self,
        items: Items,
        anchor: usize,
        span: &Range<usize>,
    ) -> Result<(), Box<Problem>> {
        if self.open.len() == DEPTH_MAX {
            return Err(syntax::too_deep(span, DEPTH_MAX).into());
        }
        self.open.push(Open { start: span.start, anchor, items });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, span: &Range<usize>) -> Result<(), Box<Problem>> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Problem::error("alias of a value inside itself")
                .at(span, "never ends")
                .into());
        };
        if NODES_MAX < self.nodes + size {
            let problem = Problem::error("aliases that make too large a file");
            return Err(problem.at(span, format!("over {NODES_MAX} values")).into());
        }
        self.nodes += size;
        let node = node.clone();
        self.finish(node, 0)
    }

    /// Puts a node where it belongs. `anchor` is 0 for none.
    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Box<Problem>> {
        self.nodes += 1;
        if NODES_MAX < self.nodes {
            let problem = Problem::error("too large a file");
            return Err(problem.at(&node.span, format!("over {NODES_MAX} values")).into());
        }
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(items)) => items.push(node),
            Some(Items::Map { entries, seen, key }) => match key.take() {
                None => *key = Some(as_key(node)?),
                Some(named) => {
                    match seen.get(&named.name) {
                        None => {
                            seen.insert(named.name.clone(), named.span.clone());
                        }
                        Some(first) => self.problems.push(
                            Problem::error(format!(
                                "key `{}` twice in one map",
                                short(&named.name)
                            ))
                            .at(&named.span, "again here")
                            .also(first, "first here")
                            .hint("one of them would be ignored: remove it, or join them"),
                        ),
                    }
                    // The second stays in the tree too: it may be a secret.
                    entries.push((named, node));
                }
            },
        }
        Ok(())
    }
}

fn as_key(node: Node) -> Result<Key, Box<Problem>> {
    match node.value {
        Value::Text(text) if text.text == "<<" => {
            let problem = Problem::error("merge key `<<`").at(&node.span, "not known here");
            Err(problem.hint("an alias can stand for a whole value: `rules: *rules`").into())
        }
        Value::Text(text) => Ok(Key { name: text.text, span: node.span }),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Broken => {
            let problem = Problem::error("a key that is not a name").at(&node.span, "not a name");
            Err(problem.hint("a value that starts with `{`, `[` or `?` must be quoted").into())
        }
    }
}

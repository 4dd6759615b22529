//! Which lines belong to one entry: an error and its traceback, a query over many lines.

use regex::Regex;

use super::rule::{Grouping, Multiline, Trace};

/// Where the entry that has begun stands. The numbers are those of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    /// A trace may follow.
    #[default]
    Open,
    /// It is a JSON object: all is said.
    Whole,
    /// The head of a trace has come; the next line is of it, whatever it is.
    Head(usize),
    /// In a trace.
    Inside(usize),
    /// The last line of a trace has come. Another one may follow from it.
    Behind,
}

/// A compiled `rule::Multiline`. Each parser has its own: threads that share a regular expression
/// wait for its caches.
#[derive(Debug)]
pub(super) struct Grouper {
    how: How,
    lines_max: u32,
}

#[derive(Debug)]
enum How {
    First(Regex),
    Continuation(Regex),
    Traces(Vec<Shape>),
}

impl Grouper {
    pub(super) fn new(multiline: Multiline) -> Self {
        let how = match multiline.how {
            Grouping::First(regex) => How::First(regex),
            Grouping::Continuation(regex) => How::Continuation(regex),
            Grouping::Traces(traces) => How::Traces(
                traces.into_iter().flat_map(|trace| shapes(trace).iter().map(Shape::new)).collect(),
            ),
        };
        Self { how, lines_max: multiline.lines_max }
    }

    pub(super) fn lines_max(&self) -> u32 {
        self.lines_max
    }

    /// Where the entry stands with `line`, if it goes on with it.
    pub(super) fn continues(&self, state: State, line: &str) -> Option<State> {
        match &self.how {
            How::First(first) => (!first.is_match(line)).then_some(state),
            How::Continuation(more) => more.is_match(line).then_some(state),
            How::Traces(shapes) => continues(shapes, state, line),
        }
    }

    /// Where an entry stands that begins with `line`.
    pub(super) fn begins(&self, line: &str) -> State {
        let How::Traces(shapes) = &self.how else { return State::Open };
        if line.starts_with('{') && line.ends_with('}') {
            return State::Whole;
        }
        let head = shapes.iter().position(|shape| shape.is_head(line)).map(State::Head);
        head.or_else(|| opens(shapes, line)).unwrap_or_default()
    }

    /// Where an entry stands with `line`, which is of it.
    pub(super) fn goes_on(&self, state: State, line: &str) -> State {
        self.continues(state, line).unwrap_or_else(|| self.begins(line))
    }
}

fn continues(shapes: &[Shape], state: State, line: &str) -> Option<State> {
    match state {
        State::Whole => return None,
        State::Head(idx) => return Some(State::Inside(idx)),
        State::Inside(idx) if shapes[idx].inside.is_match(line) => return Some(state),
        State::Behind if line.is_empty() => return Some(state),
        State::Open | State::Inside(_) | State::Behind => {}
    }
    if shapes.iter().any(|shape| shape.is_head(line)) {
        return None;
    }
    if let State::Inside(idx) = state
        && shapes[idx].has_last
    {
        return Some(State::Behind);
    }
    opens(shapes, line)
}

fn opens(shapes: &[Shape], line: &str) -> Option<State> {
    let opens = |shape: &Shape| shape.opens.as_ref().is_some_and(|opens| opens.is_match(line));
    shapes.iter().position(opens).map(State::Inside)
}

/// How a trace is written.
#[derive(Debug)]
struct Shape<R = Regex> {
    /// It begins, and with it an entry.
    head: Option<R>,
    /// It begins, and belongs to the line before.
    opens: Option<R>,
    /// It goes on.
    inside: R,
    /// The first line that is not inside is still of it.
    has_last: bool,
}

impl Shape {
    fn new(shape: &Shape<&str>) -> Self {
        let compiled =
            |pattern: &str| Regex::new(pattern).expect("BUG: a pattern of ours is wrong");
        Self {
            head: shape.head.map(compiled),
            opens: shape.opens.map(compiled),
            inside: compiled(shape.inside),
            has_last: shape.has_last,
        }
    }

    fn is_head(&self, line: &str) -> bool {
        self.head.as_ref().is_some_and(|head| head.is_match(line))
    }
}

/// What the runtimes of a language print; the tests hold the shapes to real output.
fn shapes(trace: Trace) -> &'static [Shape<&'static str>] {
    match trace {
        Trace::Python => &[
            Shape {
                head: None,
                opens: Some(r"^\s*\+ Exception Group Traceback "),
                inside: r"^\s",
                has_last: false,
            },
            Shape {
                head: None,
                opens: Some(
                    r"^Traceback \(most recent call last\):|^During handling of the above |^The above exception was ",
                ),
                inside: r"^\s|^$|^Traceback \(most ",
                has_last: true,
            },
        ],
        Trace::Java => &[Shape {
            head: Some(r"^Exception in thread "),
            opens: Some(
                r"^\s+at |^\s*(?:Caused by|Suppressed): |^(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable)\b",
            ),
            inside: r"^\s+(?:at |\.\.\. \d)|^\s*(?:Caused by|Suppressed): ",
            has_last: false,
        }],
        Trace::Go => &[Shape {
            head: Some(r"^(?:panic|fatal error): "),
            opens: Some(r"^goroutine \d+ \["),
            inside: r"^\s|^$|^goroutine \d+ |^created by |^\[signal |^exit status \d|^\S+\(.*\)$|^\.\.\.",
            has_last: false,
        }],
        Trace::Node => &[
            Shape {
                head: Some(r"^(?:file://)?/\S+:\d+$|^node:\S+:\d+$"),
                opens: None,
                inside: r"^\s|^$|^\}|^(?:[A-Z]\w*)?(?:Error|Exception)\b|^Node\.js v\d",
                has_last: false,
            },
            Shape { head: None, opens: Some(r"^\s+at "), inside: r"^\s|^\}", has_last: false },
        ],
    }
}

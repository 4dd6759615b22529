//! Picks the wanted fields of a JSON object in one pass, without a tree and without a copy.
//!
//! serde_json is the meaning: on every line it accepts as an object, the fields are the same
//! (the last of duplicate keys wins, null is missing). Inside what is not wanted only strings
//! and brackets are looked at, so a fault there can be missed. Every field found is a whole
//! token, also on a line that is broken further on.
//!
//! The functions take what is left of the line, and give what is left behind what they have read;
//! `None` is a fault.

use super::escape::unescape;
use super::fields::{Found, Node, Picked, Place, Target, Wanted};
use super::habits::{Habits, START, State};
use super::scan::{Seen, quote_or_backslash, quote_or_bracket};

/// Picks the fields of the lines of one source.
#[derive(Debug)]
pub(super) struct Picker {
    habits: Habits,
}

impl Picker {
    pub(super) fn new() -> Self {
        Self { habits: Habits::new() }
    }

    /// Fills `picked` from `text`. `wanted` is the same each time. False when `text` is not a JSON
    /// object; `picked` then has the fields before the fault.
    pub(super) fn pick(&mut self, text: &str, wanted: &Wanted, picked: &mut Picked) -> bool {
        picked.clear(wanted.slots());
        let mut walk = Walk { text, wanted, picked };
        let rest = match self.habits.begin() {
            true => walk.line(&mut self.habits),
            false => walk.line_without_habits(),
        };
        rest.is_some_and(|rest| skip_space(rest).is_empty())
    }
}

/// Whether `text` could be a JSON object: a `{` after white space.
pub(super) fn looks_like_object(text: &str) -> bool {
    skip_space(text.as_bytes()).first() == Some(&b'{')
}

/// What is left of the line.
type Rest<'a> = &'a [u8];

struct Walk<'a> {
    text: &'a str,
    wanted: &'a Wanted,
    picked: &'a mut Picked,
}

/// What is between two values.
enum Next<'a> {
    /// A key, and the value that follows.
    Value(Target, Rest<'a>),
    /// The end of the object, and what follows.
    End(Rest<'a>),
}

impl<'a> Walk<'a> {
    fn line(&mut self, habits: &mut Habits) -> Option<Rest<'a>> {
        let node = self.wanted.node(0);
        let (mut rest, mut state) = (self.text.as_bytes(), START);
        loop {
            let target;
            if let Some(next) = habits.next(state, rest) {
                let habit = habits.get(next);
                (state, target, rest) = (next, habit.target, &rest[habit.len()..]);
            } else {
                match self.learn(habits, state, rest)? {
                    (next, Next::Value(learned, value)) => {
                        (state, target, rest) = (next, learned, value);
                    }
                    (_, Next::End(rest)) => return Some(rest),
                }
            }
            rest = match rest {
                [b'"', rest @ ..] => self.string(node, target, rest)?,
                _ => self.no_string(node, target, rest)?,
            };
            if let [b'}', rest @ ..] = rest {
                return Some(rest);
            }
        }
    }

    #[cold]
    fn learn(
        &mut self,
        habits: &mut Habits,
        state: State,
        rest: Rest<'a>,
    ) -> Option<(State, Next<'a>)> {
        let is_first = rest.len() == self.text.len();
        let inside = if is_first { self.open()? } else { rest };
        let next = self.next(self.wanted.node(0), inside, is_first)?;
        let state = match next {
            Next::Value(target, value) => {
                habits.learn(state, &rest[..rest.len() - value.len()], target)
            }
            Next::End(_) => state,
        };
        Some((state, next))
    }

    fn line_without_habits(&mut self) -> Option<Rest<'a>> {
        let inside = self.open()?;
        self.object(self.wanted.node(0), inside)
    }

    fn open(&self) -> Option<Rest<'a>> {
        expect(skip_space(self.text.as_bytes()), b'{')
    }

    /// An object, from behind its `{`. Recursion is as deep as the longest wanted path.
    fn object(&mut self, node: &'a Node, mut rest: Rest<'a>) -> Option<Rest<'a>> {
        let mut is_first = true;
        loop {
            rest = match self.next(node, rest, is_first)? {
                Next::Value(target, rest) => self.value(node, target, rest)?,
                Next::End(rest) => return Some(rest),
            };
            is_first = false;
        }
    }

    /// An array, from behind its `[`; its elements have their numbers for keys.
    #[inline(never)]
    fn array(&mut self, node: &'a Node, rest: Rest<'a>) -> Option<Rest<'a>> {
        let mut rest = skip_space(rest);
        if let [b']', rest @ ..] = rest {
            return Some(rest);
        }
        for idx in 0.. {
            rest = skip_space(self.value(node, node.element(idx), rest)?);
            match rest {
                [b']', rest @ ..] => return Some(rest),
                [b',', behind @ ..] => rest = skip_space(behind),
                _ => return None,
            }
        }
        None
    }

    /// From behind a value, or the `{`, to the next value.
    #[inline]
    fn next(&mut self, node: &Node, rest: Rest<'a>, is_first: bool) -> Option<Next<'a>> {
        let rest = match skip_space(rest) {
            [b'}', rest @ ..] => return Some(Next::End(rest)),
            [b'"', rest @ ..] if is_first => rest,
            [b',', rest @ ..] if !is_first => expect(skip_space(rest), b'"')?,
            _ => return None,
        };
        let (name, rest) = string(rest)?;
        let value = skip_space(expect(skip_space(rest), b':')?);
        let target = match name.escaped {
            true => self.target_of_escaped(node, name.inside)?,
            false => node.target(name.inside),
        };
        Some(Next::Value(target, value))
    }

    #[cold]
    fn target_of_escaped(&mut self, node: &Node, name: &[u8]) -> Option<Target> {
        let scratch = &mut self.picked.made;
        let before = scratch.len();
        unescape(str::from_utf8(name).ok()?, scratch)?;
        let target = node.target(&scratch.as_bytes()[before..]);
        scratch.truncate(before);
        Some(target)
    }

    #[inline(never)]
    fn value(&mut self, node: &'a Node, target: Target, rest: Rest<'a>) -> Option<Rest<'a>> {
        match rest {
            [b'"', rest @ ..] => self.string(node, target, rest),
            _ => self.no_string(node, target, rest),
        }
    }

    /// A value that is a string, from behind its opening quote.
    #[inline(always)]
    fn string(&mut self, node: &'a Node, target: Target, rest: Rest<'a>) -> Option<Rest<'a>> {
        let start = self.text.len() - rest.len();
        let (quoted, rest) = string(rest)?;
        let slot = match target {
            Target::Nowhere => return Some(rest),
            Target::Slot(slot) => Some(slot),
            Target::Key(key) => self.forget_below(node, key),
        };
        if let Some(slot) = slot {
            let end = start + quoted.inside.len();
            self.picked.found[slot] = Some(match quoted.escaped {
                true => self.unescaped(start, end)?,
                false => {
                    let ascii = quoted.seen.is_ascii();
                    Found { place: Place::Text, start, end, nested: false, ascii }
                }
            });
        }
        Some(rest)
    }

    /// What was below `key` has gone, as the key comes again. Its own slot, if it has one.
    #[cold]
    fn forget_below(&mut self, node: &Node, key: usize) -> Option<usize> {
        let key = node.key(key);
        for &slot in &key.below {
            self.picked.found[slot] = None;
        }
        key.slot
    }

    #[cold]
    fn unescaped(&mut self, start: usize, end: usize) -> Option<Found> {
        let scratch = &mut self.picked.made;
        let before = scratch.len();
        unescape(&self.text[start..end], scratch)?;
        let (place, end) = (Place::Made, scratch.len());
        Some(Found { place, start: before, end, nested: false, ascii: false })
    }

    #[inline(never)]
    fn no_string(&mut self, node: &'a Node, target: Target, rest: Rest<'a>) -> Option<Rest<'a>> {
        // A habit may end where more of it was space.
        let rest = skip_space(rest);
        let (slot, child) = match target {
            Target::Nowhere => (None, None),
            Target::Slot(slot) => (Some(slot), None),
            Target::Key(key) => (self.forget_below(node, key), node.key(key).child),
        };
        let first = *rest.first()?;
        let nested = matches!(first, b'{' | b'[');
        let behind = match child {
            _ if first == b'"' => return self.value(node, target, rest),
            Some(child) if first == b'{' => self.object(self.wanted.node(child), &rest[1..])?,
            Some(child) if first == b'[' => self.array(self.wanted.node(child), &rest[1..])?,
            _ if nested => skip_nested(rest)?,
            _ => skip_scalar(rest)?,
        };
        if let Some(slot) = slot {
            let [start, end] = [rest, behind].map(|rest| self.text.len() - rest.len());
            let found = Found { place: Place::Text, start, end, nested, ascii: !nested };
            self.picked.found[slot] = Some(found).filter(|_| first != b'n');
        }
        Some(behind)
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// With its escapes.
    pub(super) name: &'a str,
    /// The inside of a string, with its escapes; all else as it is written.
    pub(super) value: &'a str,
    pub(super) is_string: bool,
}

/// Gives the members of `object`, in their order. False at a fault; those before it were given.
pub(super) fn members<'a>(object: &'a str, then: impl FnMut(Member<'a>)) -> bool {
    each_member(object, then).is_some()
}

fn each_member<'a>(object: &'a str, mut then: impl FnMut(Member<'a>)) -> Option<()> {
    let at = |rest: Rest<'_>| object.len() - rest.len();
    let mut rest = skip_space(expect(skip_space(object.as_bytes()), b'{')?);
    while !matches!(rest, [b'}', ..]) {
        let inside = expect(rest, b'"')?;
        let (name, behind) = string(inside)?;
        let name = &object[at(inside)..at(inside) + name.inside.len()];
        let value = skip_space(expect(skip_space(behind), b':')?);
        let is_string = value.first() == Some(&b'"');
        let (range, behind) = match value.first()? {
            b'"' => {
                let start = at(value) + 1;
                let (quoted, behind) = string(&value[1..])?;
                (start..start + quoted.inside.len(), behind)
            }
            b'{' | b'[' => (at(value)..at(skip_nested(value)?), skip_nested(value)?),
            _ => (at(value)..at(skip_scalar(value)?), skip_scalar(value)?),
        };
        then(Member { name, value: &object[range], is_string });
        rest = match skip_space(behind) {
            [b',', rest @ ..] => skip_space(rest),
            rest @ [b'}', ..] => rest,
            _ => return None,
        };
    }
    Some(())
}

/// The inside of a string.
struct Quoted<'a> {
    inside: &'a [u8],
    escaped: bool,
    seen: Seen,
}

/// A string, from behind its opening quote.
#[inline]
fn string(rest: Rest<'_>) -> Option<(Quoted<'_>, Rest<'_>)> {
    let (len, seen) = quote_or_backslash(rest)?;
    let (inside, behind) = rest.split_at_checked(len)?;
    match behind {
        [b'"', behind @ ..] => Some((Quoted { inside, escaped: false, seen }, behind)),
        _ => {
            let (inside, behind) = rest.split_at_checked(end_of_escaped(rest, len)?)?;
            Some((Quoted { inside, escaped: true, seen }, &behind[1..]))
        }
    }
}

/// The length of a string that has a backslash at `at`.
#[inline(never)]
fn end_of_escaped(rest: Rest<'_>, mut at: usize) -> Option<usize> {
    while rest[at] == b'\\' {
        at += 2;
        at += quote_or_backslash(rest.get(at..)?)?.0;
    }
    Some(at)
}

/// Skips an object or array by counting brackets, so that depth costs no stack.
fn skip_nested(mut rest: Rest<'_>) -> Option<Rest<'_>> {
    let mut depth = 0_usize;
    loop {
        let (&bracket, behind) = rest[quote_or_bracket(rest)?..].split_first()?;
        rest = behind;
        match bracket {
            b'"' => (_, rest) = string(rest)?,
            b'{' | b'[' => depth += 1,
            _ => depth -= 1,
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

/// Skips a number, `true`, `false` or `null`. It must be seen to end: what stands at the very end
/// of the line may have been cut off.
fn skip_scalar(rest: Rest<'_>) -> Option<Rest<'_>> {
    let rest = match rest {
        [b'-' | b'0'..=b'9', digits @ ..] => {
            &digits[digits.iter().position(|&byte| !is_numeric(byte))?..]
        }
        [b't', b'r', b'u', b'e', rest @ ..] | [b'n', b'u', b'l', b'l', rest @ ..] => rest,
        [b'f', b'a', b'l', b's', b'e', rest @ ..] => rest,
        _ => return None,
    };
    rest.first().is_some_and(|&byte| ends_scalar(byte)).then_some(rest)
}

#[inline]
fn skip_space(mut rest: Rest<'_>) -> Rest<'_> {
    while let [b' ' | b'\t' | b'\n' | b'\r', behind @ ..] = rest {
        rest = behind;
    }
    rest
}

#[inline]
fn expect(rest: Rest<'_>, byte: u8) -> Option<Rest<'_>> {
    rest.split_first().filter(|(first, _)| **first == byte).map(|(_, rest)| rest)
}

#[inline]
fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r')
}

#[inline]
fn is_numeric(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

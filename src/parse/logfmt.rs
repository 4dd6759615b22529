//! Picks the wanted fields of a logfmt line: `key=value key2="quoted \" value" bare`.

use std::ops::Range;

use super::escape::unescape;
use super::fields::{Found, Picked, Place, Target, Wanted};
use super::scan::quote_or_backslash;

/// Fills `picked` from `text`; names are compared whole, dots included, and the last of equal
/// names wins. A bare key is no pair. False when `text` has no pair, a pair without a name, or a
/// quote that does not end (or, in a wanted value, an unknown escape); `picked` then has what was
/// before.
pub(super) fn pick(text: &str, wanted: &Wanted, picked: &mut Picked) -> bool {
    picked.clear(wanted.slots());
    let mut pairs = 0_usize;
    let mut at = 0;
    loop {
        at = skip(text, at, is_space);
        if at == text.len() {
            return pairs > 0;
        }
        let name_end = skip(text, at, |byte| !is_space(byte) && byte != b'=');
        let name = &text[at..name_end];
        if text.as_bytes().get(name_end) != Some(&b'=') {
            at = name_end;
            continue;
        }
        let Some(value) = value(text, name_end + 1).filter(|_| !name.is_empty()) else {
            return false;
        };
        pairs += 1;
        at = value.next;
        if let Target::Slot(slot) = wanted.node(0).target(name.as_bytes()) {
            let Some(found) = value.found(text, &mut picked.made) else { return false };
            picked.found[slot] = Some(found);
        }
    }
}

/// A value without its quotes.
struct Value {
    inside: Range<usize>,
    escaped: bool,
    /// The first byte behind it.
    next: usize,
}

/// The value that starts at `start`, with or without quotes.
fn value(text: &str, start: usize) -> Option<Value> {
    let bytes = text.as_bytes();
    if bytes.get(start) != Some(&b'"') {
        let end = skip(text, start, |byte| !is_space(byte));
        return Some(Value { inside: start..end, escaped: false, next: end });
    }
    let start = start + 1;
    let next = |from: usize| Some(from + quote_or_backslash(bytes.get(from..)?)?.0);
    let first = next(start)?;
    let mut end = first;
    while bytes[end] == b'\\' {
        end = next(end + 2)?;
    }
    Some(Value { inside: start..end, escaped: end != first, next: end + 1 })
}

impl Value {
    fn found(&self, text: &str, scratch: &mut String) -> Option<Found> {
        let (mut place, Range { mut start, mut end }) = (Place::Text, self.inside.clone());
        if self.escaped {
            (place, start) = (Place::Made, scratch.len());
            unescape(&text[self.inside.clone()], scratch)?;
            end = scratch.len();
        }
        Some(Found { place, start, end, nested: false, ascii: false })
    }
}

/// The first byte at or behind `from` that is not `wanted`; all these tests are about ASCII, so
/// it is on a character boundary.
fn skip(text: &str, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
    let rest = &text.as_bytes()[from..];
    from + rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len())
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

//! Picks the wanted fields of a JSON object in one pass, without a tree and without a copy.
//!
//! serde_json is the meaning: on every line it accepts as an object, the fields are the same
//! (the last of duplicate keys wins, null is missing). Inside what is not wanted only strings
//! and brackets are looked at, so a fault there can be missed. Every field found is a whole
//! token, also on a line that is broken further on.

use memchr::memchr2;

use super::escape::unescape;
use super::fields::{Found, Key, Node, Picked, Place, Span, Wanted};

/// Fills `picked` from `text`. False when `text` is not a JSON object; `picked` then has the
/// fields before the fault.
pub(super) fn pick(text: &str, wanted: &Wanted, picked: &mut Picked) -> bool {
    picked.clear(wanted.slots());
    let mut picker = Picker { text, bytes: text.as_bytes(), at: 0, wanted, picked };
    picker.line().is_ok()
}

/// Whether `text` could be a JSON object: a `{` after white space.
pub(super) fn looks_like_object(text: &str) -> bool {
    text.bytes().find(|byte| !is_space(*byte)) == Some(b'{')
}

/// The line is not JSON.
struct Fault;

struct Picker<'a> {
    text: &'a str,
    /// The same as `text`.
    bytes: &'a [u8],
    /// The next byte to look at.
    at: usize,
    wanted: &'a Wanted,
    picked: &'a mut Picked,
}

/// The inside of a string, and whether it has escapes.
#[derive(Clone, Copy)]
struct Quoted {
    start: usize,
    end: usize,
    escaped: bool,
}

impl<'a> Picker<'a> {
    fn line(&mut self) -> Result<(), Fault> {
        self.skip_space();
        self.expect(b'{')?;
        self.object(self.wanted.node(0))?;
        self.skip_space();
        if self.at == self.bytes.len() { Ok(()) } else { Err(Fault) }
    }

    /// Reads an object from behind its `{`. Recursion is as deep as the longest wanted path.
    fn object(&mut self, node: &'a Node) -> Result<(), Fault> {
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.expect(b'"')?;
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            match self.key(node, name)? {
                Some(key) => self.value(key)?,
                None => self.skip_value()?,
            }
            self.skip_space();
            match self.next()? {
                b',' => self.skip_space(),
                b'}' => return Ok(()),
                _ => return Err(Fault),
            }
        }
    }

    #[inline]
    fn key(&mut self, node: &'a Node, name: Quoted) -> Result<Option<&'a Key>, Fault> {
        if !name.escaped {
            return Ok(node.find(&self.bytes[name.start..name.end]));
        }
        let scratch = &mut self.picked.unescaped;
        let before = scratch.len();
        unescape(&self.text[name.start..name.end], scratch).ok_or(Fault)?;
        let key = node.find(&scratch.as_bytes()[before..]);
        scratch.truncate(before);
        Ok(key)
    }

    fn value(&mut self, key: &'a Key) -> Result<(), Fault> {
        for &slot in &key.below {
            self.picked.found[slot] = None;
        }
        let found = self.found(key)?;
        if let Some(slot) = key.slot {
            self.picked.found[slot] = found;
        }
        Ok(())
    }

    fn found(&mut self, key: &'a Key) -> Result<Option<Found>, Fault> {
        let start = self.at;
        let first = self.peek().ok_or(Fault)?;
        match (first, key.child) {
            (b'"', _) => {
                self.at += 1;
                let quoted = self.string()?;
                return if key.slot.is_some() { self.text_of(quoted).map(Some) } else { Ok(None) };
            }
            (b'{', Some(child)) => {
                self.at += 1;
                self.object(self.wanted.node(child))?;
            }
            (b'{' | b'[', _) => self.skip_nested()?,
            (_, _) => self.skip_scalar()?,
        }
        if first == b'n' {
            return Ok(None);
        }
        let span = Span::new(Place::Text, start..self.at);
        Ok(Some(Found { span, nested: matches!(first, b'{' | b'[') }))
    }

    fn text_of(&mut self, quoted: Quoted) -> Result<Found, Fault> {
        let inside = quoted.start..quoted.end;
        let span = if quoted.escaped {
            let scratch = &mut self.picked.unescaped;
            let before = scratch.len();
            unescape(&self.text[inside], scratch).ok_or(Fault)?;
            Span::new(Place::Unescaped, before..scratch.len())
        } else {
            Span::new(Place::Text, inside)
        };
        Ok(Found { span, nested: false })
    }

    #[inline]
    fn skip_value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string().map(drop)
            }
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// Reads a string from behind its opening quote to behind its closing one.
    #[inline]
    fn string(&mut self) -> Result<Quoted, Fault> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let at = quote_or_backslash(self.bytes, self.at).ok_or(Fault)?;
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(Quoted { start, end: at, escaped });
            }
            escaped = true;
            self.at = at + 2;
        }
    }

    /// Skips an object or array by counting brackets, so that depth costs no stack.
    fn skip_nested(&mut self) -> Result<(), Fault> {
        let mut depth = 0_usize;
        loop {
            self.at = quote_or_bracket(self.bytes, self.at).ok_or(Fault)?;
            match self.next()? {
                b'"' => drop(self.string()?),
                b'{' | b'[' => depth += 1,
                _ => depth -= 1,
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Skips a number, `true`, `false` or `null`. It must be seen to end: what stands at the very
    /// end of the bytes may have been cut off.
    fn skip_scalar(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| ends_scalar(byte)).ok_or(Fault)?;
        self.at += len;
        match &rest[..len] {
            b"true" | b"false" | b"null" => Ok(()),
            [b'-' | b'0'..=b'9', digits @ ..] if digits.iter().all(|&b| is_numeric(b)) => Ok(()),
            _ => Err(Fault),
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Result<u8, Fault> {
        let byte = self.peek().ok_or(Fault)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.next()? == byte { Ok(()) } else { Err(Fault) }
    }
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[inline]
fn ends_scalar(byte: u8) -> bool {
    matches!(byte, b',' | b'}' | b']') || is_space(byte)
}

#[inline]
fn is_numeric(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Words looked at inline before memchr is called, whose set-up costs more than a short string.
const WORDS_INLINE: usize = 4;

/// The first `"` or `\` at or behind `from`.
#[inline]
pub(super) fn quote_or_backslash(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    for (idx, word) in words(rest).take(WORDS_INLINE).enumerate() {
        let hits = equal(word, b'"') | equal(word, b'\\');
        if hits != 0 {
            return Some(from + idx * 8 + first_byte(hits));
        }
    }
    let skipped = (WORDS_INLINE * 8).min(rest.len() / 8 * 8);
    Some(from + skipped + memchr2(b'"', b'\\', &rest[skipped..])?)
}

/// The first of `"{}[]` at or behind `from`.
fn quote_or_bracket(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    for (idx, word) in words(rest).enumerate() {
        // Bit 5 is all that `[` and `{`, `]` and `}` differ in.
        let folded = word | ONES << 5;
        let hits = equal(word, b'"') | equal(folded, b'{') | equal(folded, b'}');
        if hits != 0 {
            return Some(from + idx * 8 + first_byte(hits));
        }
    }
    let skipped = rest.len() / 8 * 8;
    let tail = rest[skipped..].iter();
    let found = tail.copied().position(|b| matches!(b, b'"' | b'{' | b'}' | b'[' | b']'))?;
    Some(from + skipped + found)
}

#[inline]
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk))
}

/// The high bit of each byte of `word` that equals `byte`. Bytes above the lowest hit may be
/// marked wrongly (the subtraction borrows), so only the lowest means anything.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    let zero = word ^ (ONES * u64::from(byte));
    zero.wrapping_sub(ONES) & !zero & HIGHS
}

#[inline]
fn first_byte(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}

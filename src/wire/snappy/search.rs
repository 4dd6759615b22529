//! Finds what was written before, in bytes that look like log entries.
//!
//! Entries of one stream have the same keys in the same order, and values that differ. So where a
//! match ends, most of the time the bytes go on matching at the same distance behind a value of the
//! same length: sixteen bytes at once are compared there, and nothing is looked up. What is looked
//! up, in a small table, are only places where a match ended, which is where values begin (a value
//! that is repeated in the entry's metadata is found by that), and beginnings of words. The digits
//! of an id, which are a third of an entry and match nothing, cost next to nothing.
//!
//! What is measured, and what was tried and lost: `benches/README.md`.

use wide::{i8x16, u8x16};

use super::elements::{Elements, Space};

/// Where six bytes with that hash were last seen, 0 if nowhere. Small: it shares the cache of 32 KiB
/// with the entries.
pub(super) type Table = [u16; SLOTS];

pub(super) const SLOTS: usize = 1 << 12;

/// Bytes that are compared at once, and that must follow wherever something is looked for.
const WINDOW: u32 = 32;

/// How far ahead a window is searched: a run or a word that begins behind it is found by the next.
const STEP: u32 = 24;

/// Shortest match that is taken at a distance of its own, in bytes. Three bytes to write, and what
/// it costs in time is worth more than what is saved by shorter ones.
const NEW_MIN: u32 = 6;

/// Shortest match that is taken at the distance before the last one. It directly follows a match.
const OTHER_MIN: u32 = 4;

/// Bytes that were seen before.
#[derive(Debug, Clone, Copy)]
struct Match {
    start: u32,
    end: u32,
    /// `1..=start`
    offset: u32,
}

struct Search<'a> {
    input: &'a [u8],
    table: &'a mut Table,
    /// The distance of the last match.
    near: u32,
    /// The last one that was another: within an entry's metadata the two take turns.
    other: u32,
}

/// Elements that decode to `input`, at most `PIECE_BYTES_MAX` long, in `space`.
pub(super) fn compress<'a>(input: &[u8], table: &mut Table, space: &'a mut Space) -> &'a [u8] {
    table.fill(0);
    let len = u32::try_from(input.len()).expect("BUG: a piece is longer than 64 KiB");
    let mut search = Search { input, table, near: 1, other: 1 };
    let mut out = Elements::new(space);
    // All before is in `out`.
    let mut done = 0;
    let mut at = 1;
    while at + WINDOW <= len {
        let Some(found) = search.find(at, done) else { break };
        out.literal(input, done, found.start);
        out.copy(found.offset, found.end - found.start);
        (done, at) = (found.end, found.end);
    }
    out.any_literal(&input[done as usize..]);
    out.into_bytes()
}

impl Search<'_> {
    /// The next match that begins at or behind `at`, where the last one ended.
    #[inline]
    fn find(&mut self, at: u32, done: u32) -> Option<Match> {
        let found = match self.here(at) {
            Some(found) => found,
            None => self.ahead(at, done)?,
        };
        if found.offset != self.near {
            (self.near, self.other) = (found.offset, self.near);
        }
        Some(found)
    }

    /// A match at `at` or, at the last distance, within the window from there.
    #[inline]
    fn here(&mut self, at: u32) -> Option<Match> {
        let here = *self.bytes(at);
        let len = ones(equal_16(&here, self.bytes(at - self.other)));
        if OTHER_MIN <= len {
            return Some(self.to_its_end(self.other, at, at + len, at + 16));
        }
        let earlier = self.swap(at);
        let len = ones(equal_16(&here, self.bytes(earlier)));
        if NEW_MIN <= len {
            return Some(self.to_its_end(at - earlier, at, at + len, at + 16));
        }
        if let Some(found) = self.run(at) {
            return Some(found);
        }
        // The last match may have taken a byte too many, by chance the same as in another entry.
        let earlier = self.swap(at - 1) + 1;
        let len = ones(equal_16(&here, self.bytes(earlier)));
        if NEW_MIN <= len && earlier < at {
            return Some(self.to_its_end(at - earlier, at, at + len, at + 16));
        }
        None
    }

    /// The first match behind `at`: one at the last distance, or of a word in the table. Looks less
    /// closely the longer there is none.
    #[inline]
    fn ahead(&mut self, at: u32, done: u32) -> Option<Match> {
        let mut window = at;
        loop {
            // Nothing at or behind them is in the table: matches end behind all that was noted.
            let gaps = gaps_32(self.bytes(window));
            let mut words = (!gaps & gaps << 1) & ((1 << STEP) - 1);
            while words != 0 {
                let word = window + words.trailing_zeros();
                words &= words - 1;
                let earlier = self.swap(word);
                if self.six(word) == self.six(earlier) {
                    let end = word + NEW_MIN;
                    let found = self.to_its_end(word - earlier, word, end, end);
                    return Some(self.backwards(done, found));
                }
            }
            window += STEP * (1 + (window - at) / 256);
            if self.input.len() < (window + WINDOW) as usize {
                return None;
            }
            if let Some(found) = self.run(window) {
                return Some(self.backwards(done, found));
            }
        }
    }

    /// The first run of equal bytes at the last distance that begins in the window.
    #[inline]
    fn run(&self, window: u32) -> Option<Match> {
        let (a, b) = (self.bytes::<32>(window), self.bytes::<32>(window - self.near));
        let equal = equal_32(a, b);
        let pairs = equal & equal >> 1;
        let sixes = pairs & pairs >> 2 & pairs >> 4;
        if sixes == 0 {
            return None;
        }
        let skipped = sixes.trailing_zeros();
        let start = window + skipped;
        let end = start + ones(equal >> skipped);
        Some(self.to_its_end(self.near, start, end, window + WINDOW))
    }

    /// A match whose bytes are the same from `start` to `end`, of those before `compared`: if that
    /// is all of them, it may go on. `compared` is known before `end` is, so that the processor need
    /// not wait to begin with the rest.
    #[inline(always)]
    fn to_its_end(&self, offset: u32, start: u32, end: u32, compared: u32) -> Match {
        let end = if end == compared { end_of_match(self.input, offset, compared) } else { end };
        Match { start, end, offset }
    }

    /// Makes a match longer by equal bytes before it, not before `done`.
    #[inline]
    fn backwards(&self, done: u32, mut found: Match) -> Match {
        let byte = |at: u32| self.input[at as usize];
        while done.max(found.offset) < found.start
            && byte(found.start - 1) == byte(found.start - 1 - found.offset)
        {
            found.start -= 1;
        }
        found
    }

    /// Where the six bytes at `at` may have been before; notes that they are here.
    #[inline]
    fn swap(&mut self, at: u32) -> u32 {
        let [high, low, ..] = self.six(at).wrapping_mul(0x9e37_79b1_85eb_ca87).to_be_bytes();
        let slot = &mut self.table[usize::from(u16::from_be_bytes([high, low]) >> 4)];
        let [low, high, ..] = at.to_le_bytes();
        u32::from(std::mem::replace(slot, u16::from_le_bytes([low, high])))
    }

    /// Six bytes, as the upper ones of a number.
    #[inline]
    fn six(&self, at: u32) -> u64 {
        u64::from_le_bytes(*self.bytes(at)) << 16
    }

    #[inline]
    fn bytes<const N: usize>(&self, at: u32) -> &[u8; N] {
        let at = at as usize;
        self.input[at..at + N].first_chunk().expect("N bytes")
    }
}

/// Where the bytes from `at` on are no longer those at `offset` before.
#[inline(never)]
fn end_of_match(input: &[u8], offset: u32, mut at: u32) -> u32 {
    while (at + WINDOW) as usize <= input.len() {
        let equal = equal_32(bytes(input, at), bytes(input, at - offset));
        if equal != u32::MAX {
            return at + ones(equal);
        }
        at += WINDOW;
    }
    while (at as usize) < input.len() && input[at as usize] == input[(at - offset) as usize] {
        at += 1;
    }
    at
}

#[inline]
fn bytes<const N: usize>(input: &[u8], at: u32) -> &[u8; N] {
    let at = at as usize;
    input[at..at + N].first_chunk().expect("N bytes")
}

/// How many bits from the lowest on are set.
#[inline]
fn ones(mask: u32) -> u32 {
    // Of 64 bits there is always a zero, which spares a special case.
    (!u64::from(mask)).trailing_zeros()
}

/// Where two runs of bytes are equal: bit `i` is about byte `i`.
#[inline]
fn equal_32(a: &[u8; 32], b: &[u8; 32]) -> u32 {
    let ((a, c), (b, d)) = (halves(a), halves(b));
    equal_16(a, b) | equal_16(c, d) << 16
}

#[inline]
fn equal_16(a: &[u8; 16], b: &[u8; 16]) -> u32 {
    u8x16::new(*a).simd_eq(u8x16::new(*b)).to_bitmask()
}

/// Where bytes are neither digits nor letters, as far as one comparison tells: below `0`, or not
/// ASCII.
#[inline]
fn gaps_32(bytes: &[u8; 32]) -> u32 {
    let gaps = |bytes: &[u8; 16]| {
        i8x16::new(bytes.map(u8::cast_signed)).simd_lt(i8x16::splat(0x30)).to_bitmask()
    };
    let (low, high) = halves(bytes);
    gaps(low) | gaps(high) << 16
}

#[inline]
fn halves(bytes: &[u8; 32]) -> (&[u8; 16], &[u8; 16]) {
    (bytes.first_chunk().expect("16 of 32"), bytes.last_chunk().expect("16 of 32"))
}

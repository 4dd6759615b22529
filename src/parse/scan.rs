//! Finds bytes 32 at a time, in the vectors that every machine of a kind has (SSE2, NEON).

use wide::u8x16;

/// Bytes that are looked at in one step.
pub(super) const BLOCK: usize = 32;

pub(super) type Block = [u8; BLOCK];

/// Bytes that were looked at, folded together.
#[derive(Clone, Copy)]
pub(super) struct Seen(u8x16);

impl Seen {
    /// Whether all of them were ASCII.
    #[inline]
    pub(super) fn is_ascii(self) -> bool {
        self.0.to_bitmask() == 0
    }
}

/// Where the first `"` or `\` is, and the bytes before it with maybe some behind it.
#[inline]
pub(super) fn quote_or_backslash(bytes: &[u8]) -> Option<(usize, Seen)> {
    let (mut rest, mut seen) = (bytes, u8x16::splat(0));
    while let Some((block, behind)) = rest.split_first_chunk() {
        let [low, high] = halves(block);
        seen |= low | high;
        let hits = quotes_and_backslashes(block);
        if hits != 0 {
            return Some((bytes.len() - rest.len() + first(hits), Seen(seen)));
        }
        rest = behind;
    }
    let hit = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some((bytes.len() - rest.len() + hit, Seen(seen | u8x16::splat(0x80))))
}

/// A bit for each byte that is the same in both, the lowest for the first one.
#[inline]
pub(super) fn equal_bytes(a: &Block, b: &Block) -> u32 {
    let ([a_low, a_high], [b_low, b_high]) = (halves(a), halves(b));
    a_low.simd_eq(b_low).to_bitmask() | a_high.simd_eq(b_high).to_bitmask() << 16
}

/// Where the first of `"{}[]` is.
#[inline]
pub(super) fn quote_or_bracket(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        let hits = quotes_and_brackets(block);
        if hits != 0 {
            return Some(bytes.len() - rest.len() + first(hits));
        }
        rest = behind;
    }
    let hit = rest.iter().position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
    Some(bytes.len() - rest.len() + hit)
}

#[inline]
fn first(hits: u32) -> usize {
    hits.trailing_zeros() as usize
}

#[inline]
fn quotes_and_backslashes(block: &Block) -> u32 {
    marks(block, |half| equal(half, b'"') | equal(half, b'\\'))
}

#[inline]
fn quotes_and_brackets(block: &Block) -> u32 {
    marks(block, |half| {
        // Bit 5 is all that `[` and `{`, `]` and `}` differ in.
        let folded = half | u8x16::splat(0x20);
        equal(half, b'"') | equal(folded, b'{') | equal(folded, b'}')
    })
}

/// The highest bit of each byte, the lowest for the first one.
#[inline]
fn marks(block: &Block, of: impl Fn(u8x16) -> u8x16) -> u32 {
    let [low, high] = halves(block).map(|half| of(half).to_bitmask());
    low | high << 16
}

#[inline]
fn halves(block: &Block) -> [u8x16; 2] {
    let (halves, _) = block.as_chunks::<16>();
    [u8x16::new(halves[0]), u8x16::new(halves[1])]
}

#[inline]
fn equal(half: u8x16, byte: u8) -> u8x16 {
    half.simd_eq(u8x16::splat(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            40 => Just(b'a'),
            1 => any::<u8>(),
            1 => prop::sample::select(b"\"\\{}[]\x02\x21\x23\x5a\x7c\xdb\xfb\xa2".to_vec()),
        ];
        prop::collection::vec(byte, 0..150)
    }

    proptest! {
        #[test]
        fn finds_what_a_search_byte_by_byte_finds(bytes in any_bytes()) {
            let naive = |hits: &[u8]| bytes.iter().position(|byte| hits.contains(byte));
            let found = quote_or_backslash(&bytes);
            prop_assert_eq!(found.map(|(at, _)| at), naive(b"\"\\"));
            if let Some((at, seen)) = found {
                prop_assert!(bytes[..at].is_ascii() || !seen.is_ascii());
            }
            prop_assert_eq!(quote_or_bracket(&bytes), naive(b"\"{}[]"));
        }

        #[test]
        fn equal_bytes_are_marked(a in any::<Block>(), b in any::<Block>(), same in any::<u32>()) {
            let is_same = |idx: usize| same >> idx & 1 == 1;
            let b = std::array::from_fn(|idx| if is_same(idx) { a[idx] } else { b[idx] });
            let marks = (0..BLOCK).filter(|&idx| a[idx] == b[idx]).fold(0, |all, idx| all | 1 << idx);
            prop_assert_eq!(equal_bytes(&a, &b), marks);
        }
    }
}

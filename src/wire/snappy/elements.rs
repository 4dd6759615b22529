//! The elements of a block: literals and copies.

/// Longest run of bytes whose elements fit into the space, in bytes.
pub(super) const PIECE_BYTES_MAX: usize = 64 * 1024;

/// The worst case of a piece, and what is written beyond the end of a short literal.
pub(super) const SPACE_BYTES: usize = PIECE_BYTES_MAX + PIECE_BYTES_MAX / 64 + 128;

/// Room for the elements of one piece.
pub(super) type Space = [u8; SPACE_BYTES];

/// The elements of one piece.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    space: &'a mut Space,
    len: usize,
}

impl<'a> Elements<'a> {
    pub(super) fn new(space: &'a mut Space) -> Self {
        Self { space, len: 0 }
    }

    pub(super) fn into_bytes(self) -> &'a [u8] {
        &self.space[..self.len]
    }

    /// Adds `input[start..end]` as it is; nothing when that is empty. Short ones are written
    /// without a branch or a loop, with whatever follows, which is then written over.
    #[inline]
    pub(super) fn literal(&mut self, input: &[u8], start: u32, end: u32) {
        let (from, len) = (start as usize, (end - start) as usize);
        let [tag, ..] = (len.wrapping_sub(1) << 2).to_le_bytes();
        if len <= 16 && from + 16 <= input.len() {
            self.space[self.len] = tag;
            self.len += usize::from(len != 0);
            self.put::<16>(&input[from..from + 16]);
            self.len += len;
        } else if len <= 60 && from + 64 <= input.len() {
            self.space[self.len] = tag;
            self.len += 1;
            self.put::<64>(&input[from..from + 64]);
            self.len += len;
        } else {
            self.any_literal(&input[from..end as usize]);
        }
    }

    /// Adds `bytes` as they are.
    pub(super) fn any_literal(&mut self, bytes: &[u8]) {
        self.len = any_literal(self.space, self.len, bytes);
    }

    /// Adds the `len` bytes that begin `offset` before.
    #[inline]
    pub(super) fn copy(&mut self, offset: u32, mut len: u32) {
        debug_assert!((1..=0xffff).contains(&offset) && 4 <= len, "-{offset} {len}");
        let two_byte_offset = offset << 8 | 0b10;
        while 64 < len {
            self.put::<4>(&(two_byte_offset | 63 << 2).to_le_bytes());
            self.len += 3;
            len -= 64;
        }
        if offset < 2048 && (4..12).contains(&len) {
            let word = (offset >> 8) << 5 | (len - 4) << 2 | 0b01 | (offset & 0xff) << 8;
            self.put::<4>(&word.to_le_bytes());
            self.len += 2;
        } else {
            self.put::<4>(&(two_byte_offset | (len - 1) << 2).to_le_bytes());
            self.len += 3;
        }
    }

    /// Writes `bytes` behind the end, without moving it.
    #[inline]
    fn put<const N: usize>(&mut self, bytes: &[u8]) {
        self.space[self.len..self.len + N].copy_from_slice(bytes);
    }
}

/// Not a method: the length stays in a register.
#[inline(never)]
fn any_literal(space: &mut Space, len: usize, bytes: &[u8]) -> usize {
    let (tag, tag_len) = literal_tag(bytes.len());
    let space = &mut space[len..];
    space[..tag_len].copy_from_slice(&tag[..tag_len]);
    space[tag_len..][..bytes.len()].copy_from_slice(bytes);
    len + tag_len + bytes.len()
}

/// What goes before a literal of `len` bytes, at most [`PIECE_BYTES_MAX`], and how much of it:
/// nothing for none.
pub(super) fn literal_tag(len: usize) -> ([u8; 3], usize) {
    debug_assert!(len <= PIECE_BYTES_MAX, "{len}");
    let [low, high, ..] = len.wrapping_sub(1).to_le_bytes();
    match len {
        0 => ([0; 3], 0),
        1..=60 => ([low << 2, 0, 0], 1),
        61..=256 => ([60 << 2, low, 0], 2),
        _ => ([61 << 2, low, high], 3),
    }
}

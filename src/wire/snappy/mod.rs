//! Snappy's block format, the only one Loki's push endpoint takes for protobuf.
//!
//! A block is its length as a varint, then elements: literals, and copies of earlier bytes.

mod elements;
mod search;

use self::elements::{Space, literal_tag};
use self::search::Table;

/// Longest piece that [`Compressor::append`] takes, in bytes: copies in it reach back at most this
/// far.
pub const PIECE_BYTES_MAX: usize = elements::PIECE_BYTES_MAX;

/// Compresses requests, with its table and its output space kept between them.
#[derive(Debug)]
pub struct Compressor {
    table: Box<Table>,
    space: Box<Space>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { table: Box::new([0; search::SLOTS]), space: Box::new([0; elements::SPACE_BYTES]) }
    }
}

impl Compressor {
    /// Compresses `request` into a block that takes no more memory than it is long.
    ///
    /// # Panics
    /// If `request` is 4 GiB or more, far above any push.
    #[must_use]
    pub fn compress(&mut self, request: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        Self::append_len(request.len(), &mut block);
        for piece in request.chunks(PIECE_BYTES_MAX) {
            self.append(piece, &mut block);
        }
        block.shrink_to_fit();
        block
    }

    /// Appends to `out` elements that decode to `input`, a piece of a block; its copies never
    /// reach before it. At most `input.len() + input.len() / 64 + 3` bytes.
    ///
    /// # Panics
    /// If `input` is longer than [`PIECE_BYTES_MAX`].
    pub fn append(&mut self, input: &[u8], out: &mut Vec<u8>) {
        assert!(input.len() <= PIECE_BYTES_MAX, "BUG: a piece of {} bytes", input.len());
        out.extend_from_slice(search::compress(input, &mut self.table, &mut self.space));
    }

    /// Appends elements that decode to `bytes`, without looking for anything in them. At most three
    /// bytes more for each [`PIECE_BYTES_MAX`], begun or whole.
    pub fn append_literal(bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            let (tag, tag_len) = literal_tag(piece.len());
            out.extend_from_slice(&tag[..tag_len]);
            out.extend_from_slice(piece);
        }
    }

    /// Appends the beginning of a block: how many bytes its elements decode to.
    ///
    /// # Panics
    /// If `len` is 4 GiB or more, far above any push.
    pub fn append_len(len: usize, out: &mut Vec<u8>) {
        assert!(u32::try_from(len).is_ok(), "BUG: a block of {len} bytes");
        super::entry::append_varint(out, len as u64);
    }
}

#[cfg(test)]
mod tests;

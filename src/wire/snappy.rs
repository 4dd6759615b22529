//! Snappy's block format, the only one Loki's push endpoint takes for protobuf.
//!
//! A block is its length as a varint, then elements: literals, and copies of earlier bytes.

/// Longest piece that [`Compressor::append`] takes, in bytes: copies in it reach back at most this
/// far.
pub const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Something the caller knows of a piece: the bytes at `at` were written before, at `earlier`.
/// A hint that is wrong costs a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// Where in the piece, in ascending order.
    pub at: u32,
    /// A place before it.
    pub earlier: u32,
}

/// Compresses requests, with its table and its output space kept between them.
#[derive(Debug)]
pub struct Compressor {
    encoder: snap::raw::Encoder,
    /// Large enough for the worst case of the largest request so far.
    space: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { encoder: snap::raw::Encoder::new(), space: Vec::new() }
    }
}

impl Compressor {
    /// Compresses `request` into a block that takes no more memory than it is long.
    ///
    /// # Panics
    /// If `request` is 4 GiB or more, far above any push.
    #[must_use]
    pub fn compress(&mut self, request: &[u8]) -> Vec<u8> {
        self.space.resize(snap::raw::max_compress_len(request.len()).max(self.space.len()), 0);
        let len = self
            .encoder
            .compress(request, &mut self.space)
            .expect("BUG: the space is as large as snappy asks for");
        self.space[..len].to_vec()
    }

    /// Appends to `out` elements that decode to `input`, a piece of a block; its copies never
    /// reach before it. At most `input.len() + input.len() / 6 + 32` bytes.
    ///
    /// # Panics
    /// If `input` is longer than [`PIECE_BYTES_MAX`].
    pub fn append(&mut self, input: &[u8], _hints: &[Hint], out: &mut Vec<u8>) {
        assert!(input.len() <= PIECE_BYTES_MAX, "BUG: a piece of {} bytes", input.len());
        let block = self.compress(input);
        let preamble = block.iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        out.extend_from_slice(&block[preamble..]);
    }

    /// Appends elements that decode to `bytes`, without looking for anything in them. At most four
    /// bytes more for each [`PIECE_BYTES_MAX`], begun or whole.
    pub fn append_literal(bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            let [low, high, ..] = (piece.len() - 1).to_le_bytes();
            match (low, high) {
                (0..=59, 0) => out.push(low << 2),
                (_, 0) => out.extend_from_slice(&[60 << 2, low]),
                _ => out.extend_from_slice(&[61 << 2, low, high]),
            }
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
mod tests {
    use super::*;

    fn decoded(block: &[u8]) -> Vec<u8> {
        snap::raw::Decoder::new().decompress_vec(block).unwrap()
    }

    #[test]
    fn blocks_come_back_whole() {
        let mut compressor = Compressor::default();
        for size in [0, 1, 70_000, 3] {
            let request: Vec<u8> = (0..=250).cycle().take(size).collect();
            assert_eq!(decoded(&compressor.compress(&request)), request);
        }
    }

    #[test]
    fn a_block_can_be_made_of_pieces_and_literals() {
        let mut compressor = Compressor::default();
        let bytes: Vec<u8> = (0..=250).cycle().take(4 * PIECE_BYTES_MAX).collect();
        for literal in [0, 1, 60, 61, 256, 257, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1] {
            for piece in [0, 1, 1000, PIECE_BYTES_MAX] {
                let request = &bytes[..literal + 2 * piece];
                let (header, rest) = request.split_at(literal);
                let mut block = Vec::new();
                Compressor::append_len(request.len(), &mut block);
                Compressor::append_literal(header, &mut block);
                compressor.append(&rest[..piece], &[], &mut block);
                compressor.append(&rest[piece..], &[], &mut block);
                assert_eq!(decoded(&block), request, "{literal} {piece}");
            }
        }
    }
}

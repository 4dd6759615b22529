//! What the encoder makes of any bytes decodes to them, and hardly grows.

use skald::wire::{Compressor, PIECE_BYTES_MAX};

use super::bytes::Bytes;

/// Longer inputs find nothing that shorter ones do not, but take their time.
const REQUEST_BYTES_MAX: usize = 3 * PIECE_BYTES_MAX / 2;

pub(crate) fn check(data: &[u8]) {
    let request = request(&mut Bytes(data));
    let mut compressor = Compressor::default();
    let block = compressor.compress(&request);
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&block).as_ref(), Ok(&request));
    assert_eq!(compressor.compress(&request), block, "nothing is left of a request");

    let (header, rest) = request.split_at(request.len() / 3);
    let mut block = Vec::new();
    Compressor::append_len(request.len(), &mut block);
    Compressor::append_literal(header, &mut block);
    for piece in rest.chunks(PIECE_BYTES_MAX) {
        let before = block.len();
        compressor.append(piece, &mut block);
        assert!(block.len() - before <= piece.len() + piece.len() / 64 + 3);
    }
    assert_eq!(snap::raw::Decoder::new().decompress_vec(&block), Ok(request));
}

/// New bytes, and earlier ones again: with few bytes of the fuzzer's, long and far matches.
fn request(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let mut request = Vec::new();
    while !bytes.is_empty() && request.len() < REQUEST_BYTES_MAX {
        match bytes.below(4) {
            0 => request.extend_from_slice(bytes.piece()),
            // All that there is, with one byte changed: lines that are alike.
            1 => {
                let from = request.len().saturating_sub(1 + 4 * usize::from(bytes.byte()));
                let at = request.len() + usize::from(bytes.byte());
                request.extend_from_within(from..);
                if let Some(byte) = request.get_mut(at) {
                    *byte = bytes.byte();
                }
            }
            kind => {
                let unit = if kind == 2 { 1 } else { 251 };
                let back = 1 + unit * usize::from(bytes.byte());
                let from = request.len().saturating_sub(back);
                let len = usize::from(bytes.byte());
                let len = if from == request.len() { 0 } else { len };
                for at in from..from + len {
                    request.push(request[at]);
                }
            }
        }
    }
    request
}

//! A batch that takes no more entries, and how it is compressed: by a [`Packer`], on whatever
//! thread.

use super::Sealed;
use super::open::{PIECE_BYTES, Packed, Piece};
use crate::ledger::Receipt;
use crate::model::TenantId;
use crate::wire::{Compressor, PIECE_BYTES_MAX};

/// Streams whose entries are fewer bytes than this are compressed together with their neighbours,
/// which costs a copy of them.
const ALONE_BYTES: usize = 16 * 1024;

/// Most buffers of at most two pieces each that are kept for the next entries.
const SPARES_MAX: usize = 24;

/// What a batch held when it was closed. It needs nothing else to be sealed, so that the next one
/// can be opened at once.
#[derive(Debug)]
pub struct Closed {
    pub(super) tenant: TenantId,
    /// Its streams: those that Loki knows first, new ones last, so that its answer, which is about
    /// the last one, covers those that it may refuse.
    pub(super) parts: Vec<ClosedPart>,
    /// What stands before the entries of each stream, one behind the other.
    pub(super) heads: Vec<u8>,
    pub(super) entries: usize,
    /// Its permit stands for what the batch held open, until the body is made.
    pub(super) receipt: Receipt,
}

/// One stream's entries.
#[derive(Debug)]
pub(super) struct ClosedPart {
    /// How many bytes of `heads` are its own.
    pub(super) head_len: usize,
    /// The length of all entries, in bytes.
    pub(super) len: usize,
    /// The pieces that were filled.
    pub(super) packed: Vec<Packed>,
    /// The entries behind them.
    pub(super) bytes: Vec<u8>,
}

/// Compresses pieces and closed batches. One for each thread that does.
#[derive(Debug, Default)]
pub struct Packer {
    compressor: Compressor,
    /// Scratch of sealing: what is not compressed yet, and the body.
    rest: Vec<u8>,
    body: Vec<u8>,
}

impl Packer {
    /// Compresses a piece.
    pub fn pack(&mut self, piece: &Piece) {
        let mut packed = Vec::with_capacity(piece.bytes.len() / 2);
        pack(&piece.bytes, &mut self.compressor, &mut packed);
        packed.shrink_to_fit();
        let is_first = piece.packed.set(packed).is_ok();
        assert!(is_first, "BUG: a piece was compressed twice");
    }

    /// Makes the body, and shrinks the permit to it. Returns the buffers too, for the next entries.
    ///
    /// # Panics
    /// If a piece of it was not compressed.
    pub fn seal(&mut self, closed: Closed) -> (Sealed, Vec<Vec<u8>>) {
        let Closed { tenant, parts, heads, entries, mut receipt } = closed;
        let encoded_bytes = heads.len() + parts.iter().map(|part| part.len).sum::<usize>();
        self.body.clear();
        Compressor::append_len(encoded_bytes, &mut self.body);
        let mut heads = heads.as_slice();
        for part in &parts {
            let (head, more) = heads.split_at(part.head_len);
            heads = more;
            self.append(head, part);
        }
        self.flush();
        let body = self.body.as_slice().to_vec();
        receipt.permit.shrink_to(receipt.permit.bytes().min(body.len() as u64));
        let streams = parts.len();
        let mut spare = Vec::new();
        parts.into_iter().for_each(|part| keep(&mut spare, part.bytes));
        (Sealed { tenant, body, encoded_bytes, entries, streams, receipt }, spare)
    }

    fn append(&mut self, head: &[u8], part: &ClosedPart) {
        self.rest.extend_from_slice(head);
        if part.packed.is_empty() && part.bytes.len() < ALONE_BYTES {
            self.rest.extend_from_slice(&part.bytes);
            if PIECE_BYTES - ALONE_BYTES < self.rest.len() {
                self.flush();
            }
            return;
        }
        self.flush();
        for packed in &part.packed {
            self.body.extend_from_slice(packed.get().expect("BUG: a piece is not compressed"));
        }
        pack(&part.bytes, &mut self.compressor, &mut self.body);
    }

    fn flush(&mut self) {
        pack(&self.rest, &mut self.compressor, &mut self.body);
        self.rest.clear();
    }
}

/// Compresses `bytes` to the end of `out`.
fn pack(bytes: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) {
    for piece in bytes.chunks(PIECE_BYTES_MAX) {
        compressor.append(piece, out);
    }
}

/// Keeps the memory of `bytes` for the next batch, if it is not too much.
pub(super) fn keep(spare: &mut Vec<Vec<u8>>, mut bytes: Vec<u8>) {
    if bytes.capacity() != 0 && bytes.capacity() <= 2 * PIECE_BYTES && spare.len() < SPARES_MAX {
        bytes.clear();
        spare.push(bytes);
    }
}

//! A batch on its way to Loki.

use crate::ledger::Receipt;
use crate::model::TenantId;

/// A full push request, compressed, with the receipt for what is in it. The permit in the receipt
/// stands for `body`.
#[derive(Debug)]
pub struct Sealed {
    /// Whose entries they are.
    pub tenant: TenantId,
    /// A `logproto.PushRequest` as a snappy block.
    pub body: Vec<u8>,
    /// Size of the request before compression, in bytes.
    pub encoded_bytes: usize,
    /// Entries in the request; at least 1.
    pub entries: usize,
    /// Streams in the request; at least 1.
    pub streams: usize,
    /// What is settled when Loki has answered for all of it.
    pub receipt: Receipt,
}

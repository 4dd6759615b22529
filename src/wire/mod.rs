//! The bytes of Loki's push request: protobuf, label strings, snappy.
//!
//! May touch: its arguments. Must not: know files or HTTP.

mod entry;
mod labels;
/// prost's view of `proto/push.proto`: the reference for the hot encoder, and what cold paths use.
#[expect(clippy::doc_markdown, reason = "generated")]
#[expect(missing_docs, reason = "generated")]
pub mod push;
mod snappy;

pub use self::entry::{
    EntryLen, EntryParts, append_entry, append_stream, append_stream_head, entry_len, stream_len,
};
pub use self::labels::{label_pairs, label_string};
pub use self::snappy::{Compressor, PIECE_BYTES_MAX};

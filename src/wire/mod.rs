//! The bytes of Loki's push request: protobuf, label strings, snappy.
//!
//! May touch: its arguments. Must not: know files or HTTP.

/// prost's view of `proto/push.proto`: the reference for the hot encoder, and what cold paths use.
#[expect(missing_docs, clippy::doc_markdown, reason = "generated")]
pub mod push;

//! Brings sealed batches to Loki and says what became of them.
//!
//! May touch: the network, through `Transport`. Must not: know files, lines or labels; decide
//! what a batch holds.

mod options;

pub use self::options::{Auth, Options, Proxy, Retry, Secret, StructuredMetadata, Tls};

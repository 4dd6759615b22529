//! Brings sealed batches to Loki and says what became of them.
//!
//! May touch: the network, through `Transport`; files with credentials and certificates; the
//! dead-letter file. Must not: know log files or rules; decide what a batch holds.

mod options;

mod backoff;
mod behind;
mod limiter;
mod marks;
mod outcome;
mod parts;
mod sender;
mod work;

mod dead_letters;

mod client;
mod files;
mod transport;

#[cfg(test)]
mod tests;

pub use self::backoff::{Backoff, WAIT_MAX};
pub use self::client::{PushError, authorities};
pub use self::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, FILE_NAME};
pub use self::files::chain;
pub use self::options::{Auth, Options, Proxy, Retry, Secret, StructuredMetadata, Tls};
pub use self::outcome::{
    Answer, Facts, Failure, Outcome, SAME_429_MAX, SAME_500_MAX, StreamLimit, outcome,
};
pub use self::sender::{Health, METADATA_PROBE_AFTER, Sender, Step};
pub use self::transport::{CLIENT_AGE_MAX, FAILURES_MAX, HttpTransport, Transport};
pub use self::work::{Dropped, Relabel, Settled};

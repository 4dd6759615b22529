//! Brings sealed batches to Loki and says what became of them.
//!
//! May touch: the network, through `Transport`; files with credentials and certificates; the
//! dead-letter file. Must not: know log files or rules; decide what a batch holds.

mod backoff;
mod dead_letters;
mod limiter;
mod options;
mod outcome;
mod parts;
mod sender;
#[cfg(test)]
mod tests;
mod work;

pub use self::backoff::{Backoff, WAIT_MAX};
pub use self::dead_letters::{DeadLetter, DeadLetterError, DeadLetters, FILE_NAME};
pub use self::options::{Auth, Options, Proxy, Retry, Secret, StructuredMetadata, Tls};
pub use self::outcome::{Answer, Facts, Failure, Outcome, SAME_429_MAX, SAME_500_MAX, outcome};
pub use self::sender::{Health, METADATA_PROBE_AFTER, Sender, Step};
pub use self::work::{Dropped, Settled};

//! A small Loki-compatible receiver for tests, demos and newcomers.
//!
//! It answers pushes as Loki 3.4 does with default limits: what is refused, with which status and
//! text, and what is stored all the same. It keeps every copy that it received, numbered in order
//! of arrival, so that a test can count losses and duplicates exactly; queries show equal copies
//! once, as Loki's do. `/skald/answers` makes it fail on demand.
//!
//! Not there: gzip and deflate bodies, the token buckets of the rate limits (only the bursts),
//! sharding, `detected_level`, the clean-up of metadata names and values, OTLP, metric queries,
//! parser stages, deletion. Streams never become idle. Protobuf errors have prost's words. Label
//! values that are invalid only after unescaping are refused at once; Loki takes them and suffers.
//!
//! May touch: a listening socket, one file to append to. Must not: be used by the agent's own
//! rooms.

mod answers;
mod body;
mod check;
mod connection;
mod http;
mod labels;
mod logql;
mod options;
mod query;
mod scanner;
mod server;
mod store;
mod tenant;

#[cfg(test)]
mod tests;

pub use self::answers::{Answer, Answers, Reset};
pub use self::labels::Labels;
pub use self::logql::{Query, QueryError};
pub use self::options::{Clock, Options};
pub use self::scanner::ParseError;
pub use self::server::Receiver;
pub use self::store::{Direction, Received, Span, Stats, Store};

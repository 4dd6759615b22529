//! A small Loki-compatible receiver for tests, demos and newcomers.
//!
//! It answers pushes as Loki 3.4.6 does: what is refused, with which status and text, what is
//! stored all the same, and what is acknowledged and yet not stored. [`Options`] has Loki's limits.
//! It keeps every copy of an accepted entry, numbered in order of arrival, and says of each whether
//! Loki would have swallowed it, so that a test can count losses and duplicates exactly; queries
//! show equal copies once, as Loki's do. `/skald/answers` makes it fail on demand.
//!
//! A push goes through `body` (bytes), `check` and `detect` (the distributor), `bucket`, `shard`
//! and `weight` (what lies between) and `ingester`; `store` keeps what is left.
//!
//! Not there: OTLP, metric queries, parser stages, deletion, `increment_duplicate_timestamp`,
//! `max_line_size_truncate`, time sharding; chunks are cut by idleness only. Errors of protobuf and
//! JSON have other words. Labels whose escapes make invalid UTF-8 are refused at once; Loki takes
//! them and suffers. Metadata in JSON is unescaped.
//!
//! May touch: a listening socket, one file to append to. Must not: be used by the agent's own
//! rooms.

mod answers;
mod body;
mod bucket;
mod check;
mod connection;
mod detect;
mod http;
mod ingester;
mod labels;
mod logql;
mod message;
mod options;
mod query;
mod scanner;
mod server;
mod settings;
mod shard;
mod store;
mod tenant;
mod weight;

#[cfg(test)]
mod tests;

pub use self::answers::{Answer, Answers, Reset};
pub use self::labels::Labels;
pub use self::logql::{Query, QueryError};
pub use self::options::{Clock, Options, Tap};
pub use self::scanner::ParseError;
pub use self::server::Receiver;
pub use self::store::{Direction, Received, Span, Stats, Store};

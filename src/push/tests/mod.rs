//! Tests that need more than one file of the room, and what they share.

mod dead_letters;
mod model_loki;
mod outcome;
mod parts;
mod refusals;
mod sender;
mod server;
mod tls;
mod transport;

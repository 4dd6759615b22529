//! HTTP for people and probes: /metrics, /ready, /healthy, /files.
//!
//! May touch: a listening socket. Must not: change anything.

mod error;
mod probe;
mod server;

pub use self::error::AdminError;
pub use self::probe::probe;
pub use self::server::{Admin, Pages};

//! HTTP for people and probes: /metrics, /ready, /healthy, /files, and /reload.
//!
//! May touch: a listening socket. Must not: change anything itself.

mod error;
mod probe;
mod server;

pub use self::error::AdminError;
pub use self::probe::probe;
pub use self::server::{Admin, Pages, Reload};

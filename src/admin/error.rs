//! What can go wrong with the admin pages.

use std::io;
use std::net::SocketAddr;

/// Why the admin pages cannot be served or asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The port is in use, or the address is not this host's.
    #[error("cannot listen on {addr} for the admin pages")]
    Listen {
        /// The address of `admin.listen`.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// Serving ended by itself.
    #[error("the admin pages on {addr} stopped")]
    Serve {
        /// The address of `admin.listen`.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// No agent answers.
    #[error("no answer from {addr}")]
    Probe {
        /// The address that was asked.
        addr: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The agent answers, but is not ready.
    #[error("{addr} answers {status}: {text}")]
    NotReady {
        /// The address that was asked.
        addr: SocketAddr,
        /// The status line, e.g. `503 Service Unavailable`.
        status: String,
        /// The reasons, one a line.
        text: String,
    },
}

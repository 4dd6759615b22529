//! What keeps the agent from starting.

use std::io;

use crate::checkpoint::CheckpointError;
use crate::discover::DiscoverError;
use crate::push::PushError;

/// Why the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The state folder is locked, cannot be used, or holds what this version cannot read.
    #[error(transparent)]
    State(#[from] CheckpointError),
    /// The way to Loki can never work.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A glob cannot be understood.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// The operating system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

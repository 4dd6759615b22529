//! Builds the rooms, runs the shells, owns time, memory and shutdown.
//!
//! May touch: everything. Must not: contain logic that a room could own.

mod clock;
mod files;

pub use self::clock::Clock;
pub use self::files::Disk;

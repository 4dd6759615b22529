//! Reads and replaces the state file: versioned, checksummed, readable by people.
//!
//! May touch: the state folder, through `Files`. Must not: hold policy: when to save is app's.
//!
//! Start at [`load`] and [`save`]; `format.rs` has the file's layout. [`lock()`] keeps a second
//! agent out of the folder.

mod format;
mod lock;
mod state;
mod store;

#[cfg(test)]
mod tests;

pub use self::format::VERSION;
pub use self::lock::{Lock, lock};
pub use self::state::{Demoted, SavedFile, State};
pub use self::store::{CheckpointError, Loaded, load, save};

//! Which files exist: globs, with notify as a hint.
//!
//! May touch: directory reads, notify. Must not: open log files; decide offsets.
//!
//! Start at [`Scanner::changes`], which is the truth; [`Hints`] only says when it is worth a call.

mod exact;
mod glob;
mod pods;
mod rotated;
mod trouble;

mod seen;
mod walk;

mod scan;

mod flood;
mod hints;
pub mod kube;

#[cfg(test)]
mod tests;

pub use self::glob::{DEFAULT_EXCLUDE, DiscoverError, check_exclude, check_glob, matches};
pub use self::hints::{Hint, Hints};
pub use self::pods::Pod;
pub use self::rotated::{Age, age};
pub use self::scan::{Options, Scanner, SourceGlobs, WALK_AGE_MAX};
pub use self::seen::{Changes, Found, Node, Renamed};

//! Which files exist: globs, with notify as a hint.
//!
//! May touch: directory reads, notify. Must not: open log files; decide offsets.

//! Reads and replaces the state file: versioned, checksummed.
//!
//! May touch: the state folder, through `Files`. Must not: hold policy: when to save is app's.

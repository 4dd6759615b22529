//! The commands and their flags.
//!
//! May touch: the terminal, the other rooms through app. Must not: contain logic that a room could own.

//! YAML to checked options of each room; all mistakes at once, with their place.
//!
//! May touch: the configuration file, the environment. Must not: start anything; be imported by a
//! room.
//! Start at [`load()`]: bytes become a tree with places (`raw`), values take in the environment
//! (`expand`), `check` walks the tree, and `report` shows what it found.

mod annotations;
mod options;

mod flags;
mod load;

mod expand;
mod raw;
mod syntax;

mod cases;
mod check;
mod format;
mod keys;
mod kubernetes;
mod loki;
mod multiline;
mod names;
mod patterns;
mod rules;
mod section;
mod sources;
mod values;

mod report;
mod secret;

pub use self::annotations::{Annotation, Asks};
pub use self::cases::{Case, Cases, Expected, load_cases};
pub use self::flags::Flags;
pub use self::load::{Loaded, env, load};
pub use self::options::{
    Api, Batch, Config, DEAD_LETTERS_BYTES_MIN, DeadLetters, FILE_BYTES_MAX, Guard, IN_FLIGHT_MIN,
    Input, Limits, Memory, Place, Pods, READER_BYTES, READERS_MAX, Source, Start,
};
pub use self::report::{Problem, Report, Severity};

#[cfg(test)]
mod tests;

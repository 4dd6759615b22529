//! Groups entries by stream, encodes them once, and seals full or old batches.
//!
//! May touch: its arguments, with `now` given. Must not: read a clock; drop without a `Reason`.

mod sealed;

pub use self::sealed::Sealed;

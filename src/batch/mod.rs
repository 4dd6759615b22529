//! Groups entries by stream, encodes them once, and seals full or old batches.
//!
//! May touch: its arguments, with `now` given. Must not: read a clock; drop without a `Reason`.

mod batcher;
mod closed;
mod open;
mod sealed;
mod streams;

#[cfg(test)]
mod tests;

pub use self::batcher::{Batcher, Options, Pushed};
pub use self::closed::{Closed, Packer};
pub use self::open::Piece;
pub use self::sealed::Sealed;
pub use self::streams::{Base, Found, StreamId};

//! What was noticed about a line, as a small set.

use crate::model::Flag;

/// A set of [`Flag`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// Adds `flag`.
    pub fn set(&mut self, flag: Flag) {
        self.0 |= bit(flag);
    }

    /// Whether `flag` is in the set.
    #[must_use]
    pub fn contains(self, flag: Flag) -> bool {
        self.0 & bit(flag) != 0
    }

    /// Whether nothing was noticed, as on most lines.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The flags of the set, in the order of [`Flag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |&flag| self.contains(flag))
    }
}

fn bit(flag: Flag) -> u16 {
    1 << flag as u16
}

const _: () = assert!(Flag::ALL.len() <= 16, "every flag has a bit");

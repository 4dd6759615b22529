//! Decisions, one after the other: by chance, or every one of them in turn.

/// Says which of several ways a thing goes.
#[derive(Debug)]
pub(crate) enum Choices {
    /// Any.
    Chance(fastrand::Rng),
    /// The ways taken so far, each of how many; what is not listed yet goes the first way.
    All {
        /// By place: the way, and of how many.
        path: Vec<(usize, usize)>,
        /// The place of the next decision.
        at: usize,
    },
}

impl Choices {
    /// One of `0..of`.
    pub(crate) fn choose(&mut self, of: usize) -> usize {
        match self {
            Self::Chance(rng) => rng.usize(0..of),
            Self::All { path, at } => {
                if path.len() == *at {
                    path.push((0, of));
                }
                *at += 1;
                path[*at - 1].0
            }
        }
    }

    /// The next way through all decisions; `None` when each was taken. To be called when one way
    /// has come to its end.
    pub(crate) fn next(self) -> Option<Self> {
        let Self::All { mut path, .. } = self else { return None };
        while path.last().is_some_and(|(way, of)| way + 1 == *of) {
            path.pop();
        }
        path.last_mut()?.0 += 1;
        Some(Self::All { path, at: 0 })
    }

    /// All ways, from the first on.
    pub(crate) fn all() -> Self {
        Self::All { path: Vec::new(), at: 0 }
    }
}

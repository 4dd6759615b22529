//! Which lines a step is for.

use super::{Run, Source};
use crate::parse::level::level;
use crate::parse::rule::{Level, Numbers, Order};

/// A compiled condition; the cases are those of `rule::Condition`.
#[derive(Debug)]
pub(in crate::parse) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Field(Source, Test),
}

/// What is asked of a value; the cases are those of `rule::Test`.
#[derive(Debug)]
pub(in crate::parse) enum Test {
    Exists(bool),
    Is(Vec<Box<str>>),
    Compares(Order, f64),
    /// The number of a pattern.
    Matches(usize),
    Contains(Box<str>),
    AtLeast(Level),
}

impl Condition {
    pub(super) fn holds(&self, run: &Run<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(run)),
            Self::Any(any) => any.iter().any(|one| one.holds(run)),
            Self::Not(not) => !not.holds(run),
            Self::Field(source, test) => test.holds(*source, run),
        }
    }
}

impl Test {
    fn holds(&self, source: Source, run: &Run<'_>) -> bool {
        if let Self::Compares(order, bound) = self {
            return run.number(source).is_some_and(|number| order.holds(number, *bound));
        }
        let text = run.source(source);
        match self {
            Self::Exists(wanted) => text.is_some() == *wanted,
            Self::Is(texts) => text.is_some_and(|text| texts.iter().any(|is| **is == *text)),
            Self::Matches(pattern) => text.is_some_and(|text| run.matches(*pattern, text)),
            Self::Contains(part) => text.is_some_and(|text| text.contains(&**part)),
            Self::AtLeast(least) => {
                let level = text.and_then(|text| level(text, Numbers::Auto));
                level.is_some_and(|level| *least <= level)
            }
            Self::Compares(..) => false,
        }
    }
}

impl Order {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}

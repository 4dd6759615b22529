//! Rules that do more than name labels, metadata and the time: steps, done from top to bottom.
//!
//! A step reads and writes the fields of the line (`Picked`), what becomes of it so far (`Run`), and
//! its own bounded state (`State`). The fast way of plans without steps is in `values.rs`.

mod compile;
mod condition;
mod limit;
mod logfmt;
mod members;
mod observe;
mod run;
mod sample;
mod template;

use std::ops::Range;

use hashbrown::HashMap;

use self::condition::Condition;
use self::observe::Observe;
use self::sample::Share;
use self::template::Template;
use super::plan::Choice;
use super::rule::Numbers;

pub(super) use self::compile::is_plain;
pub use self::compile::level_fields;
pub(super) use self::limit::Pace;
pub(super) use self::run::{Flow, Run, Scratch, State};

/// One thing that is done with a line. Numbers of slots are those of `Wanted`, of patterns those of
/// `Plan::patterns`, of outputs those of [`Outputs`].
#[derive(Debug)]
pub(super) enum Step {
    /// An output takes a value, if it has none yet.
    Take { output: usize, choice: Choice, nested: bool },
    /// Members of the object in a slot become metadata.
    Members { slot: usize, members: Members },
    /// The line's time is read, from some of `Plan::times`.
    Time(Range<usize>),
    /// A field is made of others.
    Set { slot: usize, template: Template },
    /// A field's value is replaced by another.
    Map { slot: usize, map: HashMap<Box<str>, Box<str>> },
    /// A field is written in small letters.
    Lowercase { slot: usize },
    /// A field is made that says the level.
    Level { from: Vec<Source>, numbers: Numbers, slot: usize },
    /// Things are taken out by the redactor of this number; of all places if none are named.
    Redact { redactor: usize, places: Vec<Source> },
    /// The groups of a pattern become fields: number of the group, slot.
    Regex { from: Source, pattern: usize, groups: Vec<(usize, usize)> },
    /// What a pattern matches is written anew.
    Replace { field: Source, pattern: usize, with: String },
    /// Another text is sent.
    Line(Template),
    /// The object in the slot is sent as `key=value` pairs.
    Logfmt { slot: usize },
    /// The line is not sent.
    Drop(Condition),
    /// Of some lines only a share is sent.
    Sample(Share),
    /// Too many lines are not sent, or later. The state is that of this number.
    Limit { pace: usize, by: Option<Source>, wait: bool },
    /// A metric hears of the line.
    Observe(Observe),
    /// The line is of another tenant: by the value in a slot, as it is numbered in `Entry::tenant`.
    Tenant { slot: Option<usize>, map: HashMap<Box<str>, usize>, default: Option<usize> },
    /// Steps for some lines.
    When { test: Condition, then: Vec<Step>, otherwise: Vec<Step> },
}

/// Where a step finds a text or number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A field.
    Slot(usize),
    /// What will be sent as the line.
    Line,
    /// Its length in bytes.
    Length,
    /// How old it is, in seconds.
    Age,
}

/// Members of an object, by the two ends of their names.
#[derive(Debug)]
pub(super) struct Members {
    prefix: String,
    suffix: String,
    /// What is put before their names in metadata.
    named: String,
}

/// Where the values of [`Step::Take`] go.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    /// The name of each, and whether it was meant as a label.
    names: Vec<(String, bool)>,
    /// By number: the place in `Plan::outputs`; `None` when it is shadowed by a label.
    places: Vec<Option<usize>>,
}

impl Outputs {
    fn number(&mut self, name: &str, is_label: bool) -> usize {
        let is_it = |(other, label): &(String, bool)| other == name && *label == is_label;
        self.names.iter().position(is_it).unwrap_or_else(|| {
            self.names.push((name.to_owned(), is_label));
            self.names.len() - 1
        })
    }

    /// All labels and metadata are known: `place` says where a name is, if it is anywhere.
    pub(super) fn resolve(&mut self, place: impl Fn(&str, bool) -> Option<usize>) {
        self.places = self.names.iter().map(|(name, is_label)| place(name, *is_label)).collect();
    }
}

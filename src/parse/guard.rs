//! Counts the distinct values of each label of a source, and takes away the labels that explode.

use std::time::Duration;

use hashbrown::HashSet;
use xxhash_rust::xxh3::xxh3_64;

use super::plan::Plan;
use crate::model::Now;

/// Keeps labels with too many values out of a source's streams.
///
/// Ask [`Guard::admit`] once for every stream in every [`Guard::epoch`], so that the values of
/// long-lived streams count in each window. Memory: at most `guard.values_max` hashes a label.
#[derive(Debug)]
pub struct Guard {
    labels: Vec<Counted>,
    /// By position in `Plan::label_names`, for `Parser::set_demoted`.
    demoted: Vec<bool>,
    /// Most distinct values in a window; 0 is no guard.
    values_max: usize,
    per: Duration,
    /// When the window began.
    since: Duration,
    epoch: u64,
}

#[derive(Debug)]
struct Counted {
    name: String,
    /// Hashes of the values in this window; empty when demoted.
    values: HashSet<u64>,
}

/// Whether a stream may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Admit {
    /// It may.
    Yes,
    /// It may, as the last: from now on give [`Guard::flags`] to the source's parsers.
    Demote(Demotion),
}

/// A label that has become structured metadata: the matter of a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demotion {
    /// The label.
    pub label: String,
    /// How many distinct values it had within `guard.per`.
    pub count: usize,
    /// The value that was one too many.
    pub example: String,
}

impl Guard {
    /// A guard for the labels of `plan`.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let names = plan.label_names().iter();
        Self {
            labels: names
                .map(|name| Counted { name: name.clone(), values: HashSet::new() })
                .collect(),
            demoted: vec![false; plan.label_names().len()],
            values_max: usize::try_from(plan.guard_values).unwrap_or(usize::MAX),
            per: plan.guard_per,
            since: Duration::ZERO,
            epoch: 0,
        }
    }

    /// Takes the decisions of an earlier run; labels that the rules no longer have are passed over.
    pub fn restore(&mut self, labels: &[String]) {
        for (label, demoted) in self.labels.iter().zip(&mut self.demoted) {
            *demoted |= labels.contains(&label.name);
        }
    }

    /// The number of the window `now` is in. When it changes, streams have to be admitted again.
    pub fn epoch(&mut self, now: Now) -> u64 {
        if self.per <= now.mono.saturating_sub(self.since) {
            self.since = now.mono;
            self.epoch += 1;
            for label in &mut self.labels {
                label.values.clear();
            }
        }
        self.epoch
    }

    /// Counts the values of a stream, given as in `Entry::labels`. At most one label is demoted at
    /// a time.
    pub fn admit(&mut self, labels: &[&str], now: Now) -> Admit {
        if self.values_max == 0 {
            return Admit::Yes;
        }
        self.epoch(now);
        let mut demote = None;
        for (idx, (counted, value)) in self.labels.iter_mut().zip(labels).enumerate() {
            if self.demoted[idx] || value.is_empty() {
                continue;
            }
            counted.values.insert(xxh3_64(value.as_bytes()));
            if self.values_max < counted.values.len() && demote.is_none() {
                demote = Some((idx, (*value).to_owned()));
            }
        }
        match demote {
            Some((idx, example)) => Admit::Demote(self.demote(idx, example)),
            None => Admit::Yes,
        }
    }

    /// How many distinct values a label had in this window; `None` if it is no label, or demoted,
    /// or there is no guard.
    #[must_use]
    pub fn values(&self, label: &str) -> Option<usize> {
        self.idx(label).map(|idx| self.labels[idx].values.len())
    }

    /// Takes a label away whatever its count, because Loki wants fewer streams; `None` as in
    /// [`Guard::values`].
    pub fn take_away(&mut self, label: &str, example: &str) -> Option<Demotion> {
        let idx = self.idx(label)?;
        Some(self.demote(idx, example.to_owned()))
    }

    fn idx(&self, label: &str) -> Option<usize> {
        let idx = self.labels.iter().position(|counted| counted.name == label)?;
        (self.values_max != 0 && !self.demoted[idx]).then_some(idx)
    }

    fn demote(&mut self, idx: usize, example: String) -> Demotion {
        self.demoted[idx] = true;
        let counted = &mut self.labels[idx];
        let count = std::mem::take(&mut counted.values).len();
        Demotion { label: counted.name.clone(), count, example }
    }

    /// Which labels are demoted, by position in [`Plan::label_names`].
    #[must_use]
    pub fn flags(&self) -> &[bool] {
        &self.demoted
    }

    /// The names of the demoted labels, for the checkpoint.
    #[must_use]
    pub fn demoted(&self) -> Vec<String> {
        let labels = self.labels.iter().zip(&self.demoted);
        labels.filter(|(_, demoted)| **demoted).map(|(label, _)| label.name.clone()).collect()
    }
}

//! Does the steps of a plan with one line.

use std::borrow::Cow;
use std::mem::take;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::sample::Share;
use super::template::Made;
use super::{Members, Outputs, Source, Step, logfmt};
use crate::model::{FileOffset, Now, ORIGINAL_TIMESTAMP, Observation, Reason};
use crate::parse::fields::{Found, Picked, Place};
use crate::parse::json::looks_like_object;
use crate::parse::level::level;
use crate::parse::plan::{Choice, Plan};
use crate::parse::redact::Redactor;
use crate::parse::timestamp::{Reading, Times};
use crate::parse::values::{Matcher, TRUNCATED_FROM};

/// Names in metadata that are ours: a member that is called so cannot pass for one.
const OURS: [&str; 3] = [SAMPLE_RATE, TRUNCATED_FROM, ORIGINAL_TIMESTAMP];

/// The metadata name of the share that a line is the rest of.
const SAMPLE_RATE: &str = "sample_rate";

/// What a list of steps comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::parse) enum Flow {
    /// The line goes on.
    On,
    /// It is not sent.
    Drop(Reason),
    /// It has to come again at this time since start.
    NotBefore(Duration),
}

/// What steps remember from line to line.
#[derive(Debug)]
pub(in crate::parse) struct State {
    pub(in crate::parse) matchers: Vec<Matcher>,
    pub(in crate::parse) redactors: Vec<Redactor>,
    pub(in crate::parse) times: Times,
    /// Of each limit, what the line that comes again has paid.
    pub(in crate::parse) paid: Vec<Option<u64>>,
    /// What the line says to metrics: it counts when the line is taken.
    pub(in crate::parse) seen: Vec<Observation>,
}

/// What a line becomes; the memory is used again for the next one.
#[derive(Debug, Default)]
pub(in crate::parse) struct Scratch {
    /// By place in `Plan::outputs`.
    pub(in crate::parse) outputs: Vec<Option<Found>>,
    /// More metadata: names and values.
    pub(in crate::parse) pairs: Vec<(Found, Found)>,
    draft: String,
}

impl Scratch {
    /// Forgets the line before.
    pub(in crate::parse) fn clear(&mut self, outputs: usize) {
        self.outputs.clear();
        self.outputs.resize(outputs, None);
        self.pairs.clear();
    }
}

/// A line on its way through the steps.
#[derive(Debug)]
pub(in crate::parse) struct Run<'r> {
    pub(in crate::parse) plan: &'r Plan,
    /// The line as it was read.
    pub(in crate::parse) text: &'r str,
    /// Where it begins, for chance.
    pub(in crate::parse) at: FileOffset,
    pub(in crate::parse) now: Now,
    pub(in crate::parse) picked: &'r mut Picked,
    pub(in crate::parse) scratch: &'r mut Scratch,
    pub(in crate::parse) state: &'r mut State,
    /// What is sent in place of `text`.
    pub(in crate::parse) line: Option<Found>,
    /// The line's own time, as far as it is known.
    pub(in crate::parse) time: Option<Reading>,
    /// Whose it is, see `Entry::tenant`.
    pub(in crate::parse) tenant: usize,
}

impl Run<'_> {
    /// Does `steps`, until one of them ends the line's way.
    pub(in crate::parse) fn steps(&mut self, steps: &[Step]) -> Flow {
        for step in steps {
            let flow = self.step(step);
            if flow != Flow::On {
                return flow;
            }
        }
        Flow::On
    }

    fn step(&mut self, step: &Step) -> Flow {
        match step {
            Step::Take { output, choice, nested } => self.take(*output, choice, *nested),
            Step::Members { slot, members } => self.members(*slot, members),
            Step::Time(times) => self.read_time(times.clone()),
            Step::Set { slot, template } => {
                let made = self.draft(|run, out| template.write(run, out) != Made::Nothing);
                if let Some(made) = made {
                    self.picked.found[*slot] = Some(made);
                }
            }
            Step::Map { slot, map } => {
                let word = self.slot(*slot).and_then(|text| map.get(text));
                if let Some(word) = word {
                    self.picked.found[*slot] = Some(self.picked.make(word));
                }
            }
            Step::Lowercase { slot } => self.lowercase(*slot),
            Step::Level { from, numbers, slot } => {
                let found = from.iter().find_map(|from| level(self.source(*from)?, *numbers));
                if let Some(level) = found {
                    self.picked.found[*slot] = Some(self.picked.make(level.name()));
                }
            }
            Step::Redact { redactor, places } => self.redact(*redactor, places),
            Step::Regex { from, pattern, groups } => self.captures(*from, *pattern, groups),
            Step::Replace { field, pattern, with } => self.replace(*field, *pattern, with),
            Step::Line(template) => {
                // A line of which nothing would be left stays as it is.
                let made = self.draft(|run, out| template.write(run, out) == Made::Field);
                self.line = made.or(self.line);
            }
            Step::Logfmt { slot } => self.logfmt(*slot),
            Step::Drop(test) if test.holds(self) => return Flow::Drop(Reason::DroppedByRule),
            Step::Drop(_) => {}
            Step::Sample(share) => return self.sample(share),
            Step::Limit { pace, by, wait } => return self.limit(*pace, *by, *wait),
            Step::Observe(observe) => {
                let seen = observe.read(self);
                self.state.seen.extend(seen);
            }
            Step::Tenant { slot, map, default } => {
                let named = slot.and_then(|slot| map.get(self.slot(slot)?));
                self.tenant = named.or(default.as_ref()).copied().unwrap_or(self.tenant);
            }
            Step::When { test, then, otherwise } => {
                let steps = if test.holds(self) { then } else { otherwise };
                return self.steps(steps);
            }
        }
        Flow::On
    }

    /// The text of a field, if it has one.
    fn slot(&self, slot: usize) -> Option<&str> {
        let found = self.picked.found[slot]?;
        Some(self.picked.get(found, self.text)).filter(|text| !text.is_empty())
    }

    fn found(&self, source: Source) -> Option<Found> {
        match source {
            Source::Slot(slot) => self.picked.found[slot],
            Source::Line => Some(self.line.unwrap_or_else(|| Found::whole(self.text))),
            Source::Length | Source::Age => None,
        }
    }

    /// The text of `source`, if it has one.
    pub(super) fn source(&self, source: Source) -> Option<&str> {
        let found = self.found(source)?;
        Some(self.picked.get(found, self.text)).filter(|text| !text.is_empty())
    }

    /// `source` as a number, if it is one.
    pub(super) fn number(&self, source: Source) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a length, and an age to the nanosecond")]
        match source {
            Source::Length => Some(self.source(Source::Line)?.len() as f64),
            Source::Age => Some(self.now.wall.0.saturating_sub(self.time?.time.0) as f64 / 1e9),
            Source::Slot(_) | Source::Line => self.source(source)?.trim().parse().ok(),
        }
    }

    /// Whether a pattern matches `text`.
    pub(super) fn matches(&self, pattern: usize, text: &str) -> bool {
        self.state.matchers[pattern].is_match(text)
    }

    fn take(&mut self, output: usize, choice: &Choice, nested: bool) {
        let Some(place) = self.plan.places.place(output) else { return };
        if self.scratch.outputs[place].is_none() {
            self.scratch.outputs[place] = self.choose(choice, nested);
        }
    }

    fn choose(&mut self, choice: &Choice, nested: bool) -> Option<Found> {
        let found = choice.slots.iter().find_map(|slot| {
            let found = self.picked.found[*slot].filter(|found| nested || !found.nested)?;
            self.refine(choice, found)
        });
        let word = || choice.default.as_ref().map(|word| &self.plan.words[word.clone()]);
        found.or_else(|| word().map(|word| self.picked.make(word)))
    }

    /// What a choice makes of a value, if anything is left of it.
    fn refine(&mut self, choice: &Choice, found: Found) -> Option<Found> {
        let is_value = |found: &Found| found.start < found.end;
        let mut found = Some(found).filter(is_value)?;
        if let Some(pattern) = choice.pattern {
            let text = self.picked.get(found, self.text);
            found = found.part(self.state.matchers[pattern].find(text)?);
        }
        if !choice.map.is_empty()
            && let Some(word) = choice.map.get(self.picked.get(found, self.text))
        {
            found = self.picked.make(&self.plan.words[word.clone()]);
        }
        Some(found).filter(is_value)
    }

    fn members(&mut self, slot: usize, members: &Members) {
        let Some(object) = self.picked.found[slot].filter(|found| found.nested) else { return };
        let plan = self.plan;
        // It may lie in the buffer that names and values are written to.
        let text = self.picked.get(object, self.text).to_owned();
        members.each(&text, |name, value| {
            let Self { picked, scratch, .. } = self;
            let mut pairs = scratch.pairs.iter();
            let is_there = pairs.any(|(other, _)| picked.get(*other, "") == name);
            if !is_there && !OURS.contains(&name) && !plan.has_name(name) {
                let name = picked.make(name);
                scratch.pairs.push((name, picked.make(value)));
            }
        });
    }

    /// Reads the time from some of the plan's places, if it is not known yet.
    fn read_time(&mut self, times: std::ops::Range<usize>) {
        let reading = self.plan.times[times].iter().find_map(|time| {
            let text = self.picked.scalar(time.slot, self.text)?;
            time.read(&mut self.state.times, text, self.now)
        });
        self.time = reading.or(self.time);
    }

    /// Reads the time of a line that goes no further: those of others may depend on it.
    pub(in crate::parse) fn read_time_in(&mut self, steps: &[Step]) {
        for step in steps {
            if let Step::Time(times) = step {
                self.read_time(times.clone());
            }
        }
    }

    /// Puts into the buffer of what was made what `write` writes, if that is to be used.
    fn draft(&mut self, write: impl FnOnce(&Self, &mut String) -> bool) -> Option<Found> {
        let mut draft = take(&mut self.scratch.draft);
        draft.clear();
        let made = write(self, &mut draft).then(|| self.picked.make(&draft));
        self.scratch.draft = draft;
        made
    }

    fn lowercase(&mut self, slot: usize) {
        if !self.slot(slot).is_some_and(|text| text.chars().any(char::is_uppercase)) {
            return;
        }
        let made = self.draft(|run, out| {
            out.extend(run.slot(slot).unwrap_or("").chars().flat_map(char::to_lowercase));
            true
        });
        self.picked.found[slot] = made;
    }

    /// Takes out what a redactor finds, of some places or of all that leaves.
    fn redact(&mut self, redactor: usize, places: &[Source]) {
        for place in places {
            if let Some(redacted) = self.redacted(redactor, self.found(*place)) {
                match place {
                    Source::Slot(slot) => self.picked.found[*slot] = Some(redacted),
                    Source::Line => self.line = Some(redacted),
                    Source::Length | Source::Age => {}
                }
            }
        }
        if !places.is_empty() {
            return;
        }
        let line = self.redacted(redactor, self.found(Source::Line));
        // A value of a JSON line has nothing that the line has not, if it is written there as it is.
        let is_clean = line.or(self.line).is_none() && looks_like_object(self.text);
        self.line = line.or(self.line);
        let may_have = |found: &Found| !is_clean || found.place == Place::Made || found.nested;
        for slot in 0..self.picked.found.len() {
            let found = self.picked.found[slot].filter(may_have);
            self.picked.found[slot] = self.redacted(redactor, found).or(self.picked.found[slot]);
        }
        for idx in 0..self.scratch.outputs.len() {
            let found = self.scratch.outputs[idx].filter(may_have);
            let redacted = self.redacted(redactor, found);
            self.scratch.outputs[idx] = redacted.or(self.scratch.outputs[idx]);
        }
        for idx in 0..self.scratch.pairs.len() {
            let redacted = self.redacted(redactor, Some(self.scratch.pairs[idx].1));
            self.scratch.pairs[idx].1 = redacted.unwrap_or(self.scratch.pairs[idx].1);
        }
    }

    /// What is left of `found`, if something was taken out.
    fn redacted(&mut self, redactor: usize, found: Option<Found>) -> Option<Found> {
        let found = found?;
        let text = self.picked.get(found, self.text);
        let is_json = found.nested || looks_like_object(text);
        let Cow::Owned(text) = self.state.redactors[redactor].redact(text, is_json) else {
            return None;
        };
        Some(Found { nested: found.nested, ..self.picked.make(&text) })
    }

    fn captures(&mut self, from: Source, pattern: usize, groups: &[(usize, usize)]) {
        let Some(found) = self.found(from) else { return };
        let text = self.picked.get(found, self.text);
        let Some(locations) = self.state.matchers[pattern].captures(text) else { return };
        for &(group, slot) in groups {
            if let Some((start, end)) = locations.get(group) {
                self.picked.found[slot] = Some(Found { nested: false, ..found.part(start..end) });
            }
        }
    }

    fn replace(&mut self, field: Source, pattern: usize, with: &str) {
        let Some(text) = self.source(field) else { return };
        let Cow::Owned(text) = self.state.matchers[pattern].replace_all(text, with) else { return };
        let made = self.picked.make(&text);
        match field {
            Source::Slot(slot) => {
                let nested = self.picked.found[slot].is_some_and(|found| found.nested);
                self.picked.found[slot] = Some(Found { nested, ..made });
            }
            Source::Line => self.line = Some(made),
            Source::Length | Source::Age => {}
        }
    }

    fn logfmt(&mut self, slot: usize) {
        let made =
            self.draft(|run, out| run.slot(slot).is_some_and(|object| logfmt::write(object, out)));
        self.line = made.or(self.line);
    }

    fn sample(&mut self, share: &Share) -> Flow {
        if share.always.holds(self) {
            return Flow::On;
        }
        let is_in = match share.by.and_then(|by| self.source(by)) {
            Some(value) => share.has(value),
            None => share.has_line(self.text, self.at.0),
        };
        if !is_in {
            return Flow::Drop(Reason::Sampled);
        }
        let name = self.picked.make(SAMPLE_RATE);
        self.scratch.pairs.push((name, self.picked.make(&share.rate)));
        Flow::On
    }

    fn limit(&mut self, pace: usize, by: Option<Source>, wait: bool) -> Flow {
        let key = by.and_then(|by| self.source(by)).map(|value| xxh3_64(value.as_bytes()));
        match self.plan.limits[pace].take(key, &mut self.state.paid[pace], self.now) {
            Ok(()) => Flow::On,
            Err(at) if wait => Flow::NotBefore(at),
            Err(_) => Flow::Drop(Reason::RateLimited),
        }
    }
}

impl Outputs {
    fn place(&self, output: usize) -> Option<usize> {
        self.places[output]
    }
}

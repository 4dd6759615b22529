//! Makes the entry of a line.

use std::mem::take;
use std::ops::Range;

use super::fields::{Found, Picked};
use super::finder::Whole;
use super::flags::Flags;
use super::options::{self, Content};
use super::parser::Verdict;
use super::plan::Plan;
use super::stamp::{self, LineTime, Missing};
use super::steps::{Flow, Run, Scratch, State};
use super::timestamp::{Reading, Times};
use super::values::{Fields, Matcher, TRUNCATED_FROM, Values, Written};
use super::wrapper::{Inner, OUTPUT_NAMES};
use super::{ansi, json, logfmt};
use crate::model::{
    Entry, Flag, Now, ORIGINAL_TIMESTAMP, Observation, Origin, Pair, Reason, Stamp, UnixNanos,
};

/// The name of a line's output among what says where it comes from.
const STREAM: &str = "stream";

/// No locks, and after the first lines no allocation, except for values
/// that have to be cleaned, and in some steps.
#[derive(Debug)]
pub(super) struct Maker {
    missing: Missing,
    demoted: Vec<bool>,
    picker: json::Picker,
    state: State,
    /// What the lines that were taken have said to metrics.
    observed: Vec<Observation>,
    /// Some rule has an effect beside its line.
    is_stateful: bool,
    /// The texts of `Plan::origin`, one behind the other, and where each of them is.
    origin: (String, Vec<Range<usize>>),

    // Scratch, meaningless between lines.
    stripped: String,
    picked: Picked,
    stepped: Scratch,
    written: Written,
    labels: Vec<&'static str>,
    metadata: Vec<Pair<'static>>,
}

/// What the steps of a plan have come to, or what stands for that where there are none.
struct Stepped {
    flow: Flow,
    /// The time of the line that its fields say.
    time: Option<Reading>,
    /// What is sent in place of the line.
    line: Option<Found>,
    /// Whose it is, see `Entry::tenant`.
    tenant: usize,
}

impl Maker {
    pub(super) fn new(plan: &Plan, missing: Missing) -> Self {
        let matchers = Matcher::all(plan);
        let missing = match plan.missing {
            None | Some(options::Missing::Drop) => missing,
            Some(options::Missing::Previous) => Missing::Follows,
            Some(options::Missing::ReadTime) => Missing::ReadTime,
        };
        let paid = vec![None; plan.limits.len()];
        Self {
            missing,
            demoted: vec![false; plan.label_names().len()],
            picker: json::Picker::new(),
            state: State {
                matchers,
                redactors: plan.redactors.clone(),
                times: Times::new(),
                paid,
                seen: Vec::new(),
            },
            observed: Vec::new(),
            is_stateful: !plan.limits.is_empty() || !plan.metrics.is_empty(),
            origin: (String::new(), vec![0..0; plan.origin.len()]),
            stripped: String::new(),
            picked: Picked::default(),
            stepped: Scratch::default(),
            written: Written::default(),
            labels: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// The entry of a line, or why there is none.
    pub(super) fn make<R>(
        &mut self,
        plan: &Plan,
        whole: &Whole<'_>,
        stamp: &mut Stamp,
        now: Now,
        flags: &mut Flags,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> R {
        if plan.strip_ansi {
            return self.make_stripped(plan, whole, stamp, now, flags, then);
        }
        self.make_plain(plan, whole, stamp, now, flags, then)
    }

    #[inline(never)]
    fn make_stripped<R>(
        &mut self,
        plan: &Plan,
        whole: &Whole<'_>,
        stamp: &mut Stamp,
        now: Now,
        flags: &mut Flags,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> R {
        let mut stripped = take(&mut self.stripped);
        let is_stripped = ansi::strip(whole.inner.text, &mut stripped);
        let text = if is_stripped { &*stripped } else { whole.inner.text };
        let whole = Whole { inner: Inner { text, ..whole.inner }, ..*whole };
        let result = self.make_plain(plan, &whole, stamp, now, flags, then);
        self.stripped = stripped;
        result
    }

    fn make_plain<R>(
        &mut self,
        plan: &Plan,
        whole: &Whole<'_>,
        stamp: &mut Stamp,
        now: Now,
        flags: &mut Flags,
        then: impl FnOnce(Verdict<'_>) -> R,
    ) -> R {
        let inner = &whole.inner;
        self.pick(plan, inner, whole.truncated_from.is_some(), flags);

        let Stepped { flow, time, line, tenant } = if plan.steps.is_empty() {
            Stepped { flow: Flow::On, time: self.time(plan, inner, now), line: None, tenant: 0 }
        } else {
            self.steps(plan, whole, now)
        };
        if let Flow::NotBefore(at) = flow {
            return then(Verdict::NotBefore(at));
        }
        let raw = raw_stamp(time.or(inner.time), flags);
        if raw.is_none() && plan.missing == Some(options::Missing::Drop) {
            let by_rule = if let Flow::Drop(reason) = flow { Some(reason) } else { None };
            return then(Verdict::Drop(by_rule.unwrap_or(Reason::NoTime)));
        }
        let oldest = if plan.move_old { now.wall.minus(plan.age) } else { UnixNanos(i64::MIN) };
        let LineTime { time, moved_from } = stamp::advance(stamp, raw, oldest, self.missing, now);
        if let Flow::Drop(reason) = flow {
            return then(Verdict::Drop(reason));
        }
        if let Some(from) = moved_from {
            flags.set(Flag::MovedIntoWindow);
            if plan.drop_future && now.wall < from {
                return then(Verdict::Drop(Reason::InFuture));
            }
        }
        if time < now.wall.minus(plan.age) {
            return then(Verdict::Drop(Reason::TooOld));
        }

        let (labels, metadata) = (take(&mut self.labels), take(&mut self.metadata));
        let mut values = Values { labels, metadata, metadata_bytes: 0 };
        let written = &mut self.written;
        written.clear();
        let fields = Fields { text: inner.text, picked: &self.picked, plan };
        if plan.steps.is_empty() {
            values.collect(&fields, &self.demoted, &mut self.state.matchers, written, flags);
        } else {
            values.collect_made(&fields, &self.stepped, &self.demoted, written, flags);
        }
        let (line, truncated_from) = match line {
            None => (inner.text, whole.truncated_from),
            Some(line) => cut(self.picked.get(line, inner.text), plan, whole, flags),
        };
        if let Some(len) = truncated_from {
            values.add_note(TRUNCATED_FROM, format_args!("{len}"), written);
        }
        if let Some(raw) = moved_from {
            values.add_note(ORIGINAL_TIMESTAMP, format_args!("{raw}"), written);
        }
        values.take(written);

        let Values { labels, metadata, .. } = values;
        let entry = Entry { time, line, labels: &labels, metadata: &metadata, tenant };
        let result = then(Verdict::Emit(entry));
        self.labels = recycle(labels);
        self.metadata = recycle(metadata);
        result
    }

    /// Picks the wanted fields. Of a line that was cut nobody expects that it ends as it should.
    #[inline(always)]
    fn pick(&mut self, plan: &Plan, inner: &Inner<'_>, cut: bool, flags: &mut Flags) {
        let Self { picker, picked, .. } = self;
        match &plan.format.content {
            _ if inner.unfit => {
                flags.set(Flag::NotInFormat);
                picked.clear(plan.wanted.slots());
            }
            Content::Text => picked.clear(plan.wanted.slots()),
            Content::Logfmt => {
                if !logfmt::pick(inner.text, &plan.wanted, picked) && !cut {
                    flags.set(Flag::NotInFormat);
                }
            }
            Content::Regex(_) => {
                if !self.pick_groups(plan, inner.text) && !cut {
                    flags.set(Flag::NotInFormat);
                }
            }
            Content::Auto if !json::looks_like_object(inner.text) => {
                picked.clear(plan.wanted.slots());
            }
            Content::Json | Content::Auto => {
                if !picker.pick(inner.text, &plan.wanted, picked) && !cut {
                    flags.set(Flag::NotJson);
                }
            }
        }
        if plan.wants_more {
            self.pick_more(plan, inner);
        }
    }

    /// Picks the groups of the format's pattern. False when it does not match.
    #[inline(never)]
    fn pick_groups(&mut self, plan: &Plan, text: &str) -> bool {
        self.picked.clear(plan.wanted.slots());
        let Some((pattern, groups)) = &plan.groups else { return true };
        let Some(locations) = self.state.matchers[*pattern].captures(text) else { return false };
        for &(group, slot) in groups {
            let found = locations.get(group);
            let part = |(start, end)| Found::whole(text).part(start..end);
            self.picked.found[slot] = found.map(part);
        }
        true
    }

    /// Adds what is not in the line: where it comes from, and the line itself.
    #[inline(never)]
    fn pick_more(&mut self, plan: &Plan, inner: &Inner<'_>) {
        let (texts, places) = &self.origin;
        for ((name, slot), place) in plan.origin.iter().zip(places) {
            let text = match inner.out {
                Some(out) if name == STREAM => OUTPUT_NAMES[out],
                _ => &texts[place.clone()],
            };
            if !text.is_empty() {
                self.picked.found[*slot] = Some(self.picked.make(text));
            }
        }
        if let Some(slot) = plan.whole {
            self.picked.found[slot] = Some(Found { nested: true, ..Found::whole(inner.text) });
        }
    }

    /// The time that the first of the rules' fields says that can be read.
    #[inline(always)]
    fn time(&mut self, plan: &Plan, inner: &Inner<'_>, now: Now) -> Option<Reading> {
        plan.times.iter().find_map(|time| {
            let text = self.picked.scalar(time.slot, inner.text)?;
            time.read(&mut self.state.times, text, now)
        })
    }

    #[inline(never)]
    fn steps(&mut self, plan: &Plan, whole: &Whole<'_>, now: Now) -> Stepped {
        self.stepped.clear(plan.outputs.len());
        self.state.seen.clear();
        let mut run = Run {
            plan,
            text: whole.inner.text,
            at: whole.at,
            now,
            picked: &mut self.picked,
            scratch: &mut self.stepped,
            state: &mut self.state,
            line: None,
            time: whole.inner.time,
            tenant: 0,
        };
        let flow = run.steps(&plan.steps);
        if matches!(flow, Flow::Drop(_)) {
            // Lines without a time of their own take that of the line before, sent or not.
            run.read_time_in(&plan.steps);
        }
        let Run { line, time, tenant, .. } = run;
        Stepped { flow, time, line, tenant }
    }

    /// The last line was taken.
    #[inline]
    pub(super) fn taken(&mut self) {
        if self.is_stateful {
            self.state.paid.fill(None);
            self.observed.append(&mut self.state.seen);
        }
    }

    pub(super) fn observed(&mut self) -> std::vec::Drain<'_, Observation> {
        self.observed.drain(..)
    }

    pub(super) fn set_demoted(&mut self, demoted: &[bool]) {
        self.demoted.copy_from_slice(demoted);
    }

    /// Lines from somewhere else follow.
    pub(super) fn set_origin(&mut self, plan: &Plan, origin: &Origin) {
        let (texts, places) = &mut self.origin;
        texts.clear();
        for ((name, _), place) in plan.origin.iter().zip(places) {
            let start = texts.len();
            texts.push_str(origin.get(name).unwrap_or_default());
            *place = start..texts.len();
        }
    }
}

/// The raw stamp of a line of which this was read.
#[inline(always)]
fn raw_stamp(reading: Option<Reading>, flags: &mut Flags) -> Option<UnixNanos> {
    let Some(reading) = reading else {
        flags.set(Flag::NoTimestamp);
        return None;
    };
    if reading.clamped {
        flags.set(Flag::TimestampClamped);
    }
    Some(reading.time)
}

/// A line that was made, which may be longer than what may be sent, and its length if it is.
fn cut<'a>(
    line: &'a str,
    plan: &Plan,
    whole: &Whole<'_>,
    flags: &mut Flags,
) -> (&'a str, Option<u64>) {
    if line.len() <= plan.line_bytes {
        return (line, whole.truncated_from);
    }
    flags.set(Flag::Truncated);
    let len = whole.truncated_from.unwrap_or(line.len() as u64);
    (&line[..line.floor_char_boundary(plan.line_bytes)], Some(len))
}

/// The same memory for another lifetime: collecting an emptied vector into one of the same layout
/// allocates nothing.
fn recycle<T, U>(mut vec: Vec<T>) -> Vec<U> {
    vec.clear();
    vec.into_iter().map(|_| unreachable!("BUG: the vector was emptied")).collect()
}
